import { createHash } from 'node:crypto'

/**
 * The name of a participant's prepared transaction:
 * `citus_ha_<cluster>_<database>_<coordinator timeline>_<epoch>_<random>_<n>`, under PostgreSQL's 200 bytes.
 * Citus's own recovery looks at `citus_<digits>_…` only and leaves these alone (`transaction_recovery.c`).
 */
export interface Gid {
  readonly cluster: string
  readonly database: string
  readonly timeline: number
  readonly epoch: number
  readonly random: string
  readonly participant: number
}

const SLUG_LIMIT = 60

/** A database's name in a gid: letters, digits and dashes as they are, anything else as `.hex`. */
export function databaseSlug(database: string): string {
  const escaped = [...Buffer.from(database, 'utf8')]
    .map((byte) => String.fromCharCode(byte))
    .map((char) =>
      /[A-Za-z0-9-]/.test(char) ? char : `.${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
    .join('')
  if (escaped.length <= SLUG_LIMIT) return escaped
  return `${escaped.slice(0, SLUG_LIMIT - 17)}.${createHash('sha256').update(database).digest('hex').slice(0, 16)}`
}

export function formatGid(gid: Gid): string {
  const { cluster, database, timeline, epoch, random, participant } = gid
  return ['citus_ha', cluster, databaseSlug(database), timeline, epoch, random, participant].join('_')
}

/**
 * Reads a gid of this cluster and database, matched whole.
 * @returns null for anybody else's: another cluster's, another database's, Citus's own
 */
export function parseGid(text: string, cluster: string, database: string): Gid | null {
  const prefix = `citus_ha_${cluster}_${databaseSlug(database)}_`
  if (!text.startsWith(prefix)) return null
  const match = /^(\d{1,10})_(\d{1,15})_([0-9a-f]{8})_(\d{1,4})$/.exec(text.slice(prefix.length))
  if (!match) return null
  const [, timeline, epoch, random, participant] = match
  return {
    cluster,
    database,
    timeline: Number(timeline),
    epoch: Number(epoch),
    random: random ?? '',
    participant: Number(participant),
  }
}
