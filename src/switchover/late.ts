import type { SessionLike } from '../db/pg.ts'
import { literal, statement } from '../db/sql.ts'
import { formatAddress } from '../model/node.ts'
import type { Move } from './check.ts'

const LIMIT_MS = 5000

/** What an old primary had committed when its successor was to replay it for the last time. */
export interface Mark {
  /** A `txid_snapshot`, as text. */
  readonly snapshot: string
  /** The transaction, our own, up to whose commit it is replayed. */
  readonly own: string
}

/**
 * How many transactions were committed on an old primary after the mark: its successor does not have them. Sessions that say
 * READ WRITE for themselves are not kept from everything, and autovacuum writes as well.
 * @throws what the driver or the server says
 */
export async function writtenSince(old: SessionLike, { snapshot, own }: Mark): Promise<number> {
  const sql = statement('switchover/late').replaceAll('$1', literal(snapshot)).replaceAll('$2', literal(own))
  const [rows] = await old.run(sql, LIMIT_MS)
  return Number(rows?.[0]?.late)
}

/** Where that could not be counted. */
export function describeUncounted({ group, from, to }: Move): string {
  const [was, is] = [formatAddress(from.address), formatAddress(to.address)]
  return `group ${group}: it could not be checked whether transactions were committed on ${was} after ${is} had taken over, and ${is} would not have them: data loss is possible; look for them on ${was} before you run pg_rewind there`
}

export function describeLate({ group, from, to }: Move, late: number): string {
  const [was, is] = [formatAddress(from.address), formatAddress(to.address)]
  const many = late === 1 ? 'a transaction was' : `${late} transactions were`
  return `group ${group}: ${many} committed on ${was} after ${is} had taken over, by sessions that set READ WRITE, or by VACUUM, ANALYZE or autovacuum, and ${is} does not have them: data loss is possible; look for them on ${was} before you run pg_rewind there`
}
