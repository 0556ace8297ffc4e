import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { identifier, literal, statement } from '../db/sql.ts'
import type { Catalog } from '../model/catalog.ts'
import { ask, commandOf } from '../model/next-step.ts'
import { formatAddress, type HostPort, isLoopback } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'
import { refusal } from '../model/refusal.ts'
import { instanceAt } from '../model/servers.ts'
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
  closed: z.array(z.string()),
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

export interface Judged {
  readonly refusals: readonly string[]
  readonly warnings: readonly string[]
}

/** Whether the coordinator's rows, in its database of the same name, name a server, or may. */
export type Named = 'yes' | 'no' | 'no such database' | 'unknown'

/**
 * Whether the coordinator's rows in another database name a server; or may, since nobody was asked at an address of theirs. Its
 * own row there is often called localhost. Pure.
 * @param nodes of a survey of a database that is switched
 */
export function namedIn(
  rows: Catalog,
  from: Answered,
  coordinator: Answered,
  nodes: readonly Observation[],
): 'yes' | 'no' {
  const isNamed = rows.some(({ address }) => {
    const isItself = isLoopback(address) && address.port === coordinator.address.port
    const instance = isItself ? coordinator.instance : instanceAt(nodes, formatAddress(address))
    return instance === null || instance === from.instance
  })
  return isNamed ? 'yes' : 'no'
}

/** Whether what was seen in a database does not decide by itself: a worker without metadata has no rows of its own. */
export function needsCoordinator(here: Observation): boolean {
  if (here.kind === 'answered') return here.citus !== null && here.citus.catalog.length === 0
  return whyUnseen(here) !== null
}

/**
 * Another database of an old primary: with Citus it has to be switched too. Pure.
 * @param here what a look into it gave
 * @param named looked at where `needsCoordinator` says so
 */
export function judgeDatabase(
  { address, citusDatabases }: Answered,
  database: string,
  here: Observation,
  named: Named,
): Judged {
  const at = `${formatAddress(address)}: database ${shellWord(database)}`
  const refused = (why: string, next: string): Judged => ({ refusals: [refusal(why, next)], warnings: [] })
  const listed = `citus-ha config check   # once ${shellWord(database)} is under "databases" of the configuration`
  if (here.kind === 'answered') {
    if (here.citus === null) return NOTHING
    if (here.citus.catalog.length > 0 || named === 'yes')
      return refused(`${at} also has Citus but would not be switched`, listed)
    if (named === 'no such database') return NOTHING
  } else if (here.cause === 'no-database') return NOTHING
  const why = whyUnseen(here)
  if (why === null)
    return refused(`${at} cannot be read (${causeOf(here)})`, commandOf(ask(address, database)))
  if (named === 'no') return NOTHING
  if (named === 'yes' || citusDatabases.includes(database))
    return refused(
      `${at} also has Citus, and ${why}`,
      here.kind === 'answered'
        ? listed
        : `citus-ha install --user postgres   # with ${shellWord(database)} under "databases" of the configuration${here.cause === 'auth' ? ', and a line for it in pg_hba.conf there' : ''}`,
    )
  return {
    refusals: [],
    warnings: [
      `${at}: ${why}, so it is not known whether it is to be switched too (Citus’s daemon does not run there); its clients are waited for like all others`,
    ],
  }
}

const NOTHING: Judged = { refusals: [], warnings: [] }

const causeOf = (node: Observation) => (node.kind === 'answered' ? '' : node.cause)

/** null: it may be seen by asking again. */
function whyUnseen(here: Observation): string | null {
  if (here.kind === 'answered')
    return 'its pg_dist_node is empty, and that of the coordinator’s database of this name cannot be read'
  if (here.cause === 'privilege') return 'this role has no right to connect'
  return here.cause === 'auth' ? `this role is not let in (${here.detail})` : null
}

/** What of it refuses a switchover, a line each with what is to be done; and what is only worth knowing. Pure. */
export function judgeClients(
  node: HostPort,
  { overriding, subscriptions, prepared, unlogged }: Omit<Clients, 'closed'>,
): Judged {
  const at = formatAddress(node)
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
    ],
    warnings: [
      ...(unlogged.length === 0
        ? []
        : [
            `${at}: unlogged tables are empty on every standby (${unlogged.slice(0, NAMED).join(', ')}${unlogged.length > NAMED ? `, and ${unlogged.length - NAMED} more` : ''}): to keep their rows, run ALTER TABLE … SET LOGGED before`,
          ]),
    ],
  }
}
