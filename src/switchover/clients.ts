import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { identifier, literal, statement } from '../db/sql.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { refusal } from '../model/refusal.ts'
import { psqlAsSuperuser, shellWord } from '../model/shell.ts'

const ANSWER_MS = 5000
/** What a client prepares it also ends, within milliseconds as a rule. */
const PREPARED_MS = 1000
const POLL_MS = 50
/** So many tables are named. */
const NAMED = 5

const clientsRow = z.object({
  overriding: z.array(z.object({ role: z.string().nullable(), database: z.string().nullable() })),
  subscriptions: z.array(z.object({ name: z.string(), database: z.string() })),
  prepared: z.array(z.object({ gid: z.string(), owner: z.string(), database: z.string() })),
  closed: z.array(z.object({ name: z.string(), citus: z.boolean() })),
  unlogged: z.array(z.string()),
})

export type Clients = z.infer<typeof clientsRow>

/**
 * What would write on an old primary that is read-only by default, and can't be waited for.
 * @param session of that primary, in any database
 * @throws what the driver or the server says
 */
export async function readClients(session: SessionLike): Promise<Clients> {
  const until = performance.now() + PREPARED_MS
  // Else shards are not seen.
  await session.run('SET citus.override_table_visibility = off', ANSWER_MS)
  for (;;) {
    const [rows] = await session.run(statement('switchover/clients'), ANSWER_MS)
    const seen = clientsRow.parse(rows?.[0])
    if (seen.prepared.length === 0 || performance.now() >= until) return seen
    await pause(POLL_MS)
  }
}

interface Judged {
  readonly refusals: readonly string[]
  readonly warnings: readonly string[]
}

/**
 * A database of an old primary that this role can't look into. Pure.
 * @param why of the role, as `has no right to connect`
 * @param hasDaemon Citus's daemon runs there: somebody has used Citus in it since the server was started
 */
export function judgeUnseen(node: HostPort, database: string, why: string, hasDaemon: boolean): Judged {
  const at = `${formatAddress(node)}: database ${shellWord(database)}`
  if (!hasDaemon)
    return {
      refusals: [],
      warnings: [
        `${at}: this role ${why}, so it is not known whether it has Citus (Citus’s daemon does not run there); its clients are waited for like all others`,
      ],
    }
  const next = `citus-ha install --user postgres   # with ${shellWord(database)} under "databases" of the configuration, and a line for it in pg_hba.conf there`
  return { refusals: [refusal(`${at} also has Citus, and this role ${why}`, next)], warnings: [] }
}

/** What of it refuses a switchover, a line each with what is to be done; and what is only worth knowing. Pure. */
export function judgeClients(
  node: HostPort,
  { overriding, subscriptions, prepared, closed, unlogged }: Clients,
): Judged {
  const at = formatAddress(node)
  const unseen = closed.map(({ name, citus }) => judgeUnseen(node, name, 'has no right to connect', citus))
  return {
    refusals: [
      ...overriding.map(({ role, database }) => {
        const whose =
          role === null
            ? `DATABASE ${identifier(database ?? '')}`
            : `ROLE ${identifier(role)}${database === null ? '' : ` IN DATABASE ${identifier(database)}`}`
        return refusal(
          `${at}: a setting would let it continue to write there (default_transaction_read_only = off)`,
          psqlAsSuperuser(node, database ?? 'postgres', `ALTER ${whose} RESET default_transaction_read_only`),
        )
      }),
      ...subscriptions.map(({ name, database }) =>
        refusal(
          `${at}, database ${shellWord(database)}: the subscription ${shellWord(name)} would continue to write there`,
          `${psqlAsSuperuser(node, database, `ALTER SUBSCRIPTION ${identifier(name)} DISABLE`)}   # and ENABLE on the new primary`,
        ),
      ),
      ...prepared.map(({ gid, owner, database }) =>
        refusal(
          `${at}, database ${shellWord(database)}: ${shellWord(owner)} has prepared ${literal(gid)}, which could be committed there afterwards`,
          `${psqlAsSuperuser(node, database, `ROLLBACK PREPARED ${literal(gid)}`)}   # or COMMIT PREPARED: ${shellWord(owner)} decides`,
        ),
      ),
      ...unseen.flatMap(({ refusals }) => refusals),
    ],
    warnings: [
      ...unseen.flatMap(({ warnings }) => warnings),
      ...(unlogged.length === 0
        ? []
        : [
            `${at}: unlogged tables are empty on every standby (${unlogged.slice(0, NAMED).join(', ')}${unlogged.length > NAMED ? `, and ${unlogged.length - NAMED} more` : ''}): to keep their rows, run ALTER TABLE … SET LOGGED before`,
          ]),
    ],
  }
}
