import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { functionFiles, identifier, literal, statement } from '../db/sql.ts'
import { codeOf, messageOf } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { schemaRow, trustOf } from '../observe/trust.ts'
import { lookAtRole, type RoleFacts } from './facts.ts'
import { alterSystem, PROMOTING } from './grants.ts'
import { INSTALL_LOCK, requireSuperuser, setLocally, within } from './install.ts'
import { migrations } from './migrations.ts'
import type { Step } from './plan.ts'

const LIMIT_MS = 30_000
/** Who reads or changes what is to go is waited for so long. */
const LOCK_MS = 5_000

/** The row of `probe/remains`. */
const remainsRow = z.object({
  tables: z.array(z.string()),
  functions: z.array(z.object({ name: z.string(), signature: z.string() })),
  superuser: z.boolean(),
  members: z.array(z.string()),
  /** Other databases of the server in which something is the role's, or granted to it: citus-ha's schema, as a rule. */
  elsewhere: z.array(z.string()),
  held: z.array(z.object({ name: z.string(), setting: z.string() })),
})

const underWayRow = z.object({
  pid: z.number().nullable(),
  does: z.string(),
  role: z.string(),
  application: z.string(),
  client: z.string(),
})

export interface UninstallOrder {
  /** The role that goes, with what `install` granted it. */
  readonly role: string
  readonly keepRole: boolean
  /** All from which it goes: what the role may do on a server is taken from it where no other needs that. */
  readonly databases: readonly string[]
}

/** What one database of one server has of ours. Plain data. */
export interface Remains extends z.infer<typeof remainsRow>, RoleFacts {
  /** Why the schema is not ours, a line each; empty: it is, or there is none. */
  readonly untrusted: readonly string[]
  readonly underWay: readonly z.infer<typeof underWayRow>[]
  /** Rows of `pg_dist_authinfo` for the role: its password, for Citus's own connections. */
  readonly passwords: number
}

/** What is to be done on a server, and what stays there, a line each. */
export interface Removal {
  /** In the database: the schema, and what the role was granted there. */
  readonly steps: readonly Step[]
  /** Of the server as a whole, once no database has the schema any more. */
  readonly roleSteps: readonly Step[]
  readonly stays: readonly string[]
}

/** Looks, and changes nothing. */
export async function remainsOn(session: SessionLike, node: HostPort, role: string): Promise<Remains> {
  await requireSuperuser(session, node)
  const [schema] = await session.run(statement('probe/schema'), LIMIT_MS)
  const [remains] = await session.run(statement('probe/remains'), LIMIT_MS, [role])
  const [underWay] = await session.run(statement('probe/under-way'), LIMIT_MS)
  return {
    ...remainsRow.parse(remains?.[0]),
    ...(await lookAtRole(session, role)),
    untrusted: trustOf(schemaRow.parse(schema?.[0])).untrusted,
    underWay: z.array(underWayRow).parse(underWay),
    passwords: await passwordsOf(session, role),
  }
}

async function passwordsOf(session: SessionLike, role: string): Promise<number> {
  const [there] = await session.run(
    `SELECT to_regclass('pg_catalog.pg_dist_authinfo') IS NOT NULL AS there`,
    LIMIT_MS,
  )
  if (there?.[0]?.there !== true) return 0
  const count = 'SELECT count(*)::int AS rows FROM pg_dist_authinfo a WHERE a.rolename = $1::text'
  const [rows] = await session.run(count, LIMIT_MS, [role])
  return z.object({ rows: z.number() }).parse(rows?.[0]).rows
}

/**
 * What is removed, in its order. Pure. Each table and function by its name and with RESTRICT: the server itself refuses where
 * something of somebody else's is in the schema, or depends on what is.
 */
export function planUninstall(remains: Remains, { role, keepRole, databases }: UninstallOrder): Removal {
  const stays: string[] = []
  const steps: Step[] = []
  const schema = remains.present ? schemaStep(remains) : null
  if (schema !== null) {
    if (typeof schema === 'string') stays.push(`schema citus_ha: ${schema}`)
    else steps.push(schema)
  }
  for (const other of remains.users.filter((user) => user !== role))
    stays.push(`role ${other}: it may use the schema too; citus-ha uninstall --role ${other} removes it`)
  if (!remains.role) return { steps, roleSteps: [], stays }
  const name = identifier(role)
  const revoke = (what: string): Step => ({
    kind: 'grant',
    what,
    done: `revoked from ${role}`,
    sql: [`REVOKE ${what} FROM ${name}`],
  })
  // What a superuser may do is none of ours to take.
  if (remains.superuser) return { steps, roleSteps: [], stays: [...stays, `role ${role}: it is a superuser`] }
  const { promoting, connect_granted: connects, database, parameters } = remains
  steps.push(
    ...PROMOTING.filter((each) => promoting.includes(each.name)).map(({ what }) => revoke(what)),
    ...(connects ? [revoke(`CONNECT ON DATABASE ${identifier(database)}`)] : []),
  )
  const elsewhere = remains.elsewhere.filter((name) => !databases.includes(name))
  if (elsewhere.length > 0) {
    const where = `database${elsewhere.length === 1 ? '' : 's'} ${elsewhere.join(', ')}`
    stays.push(`role ${role}: it is used in ${where}, too: it keeps its privileges on the server`)
  }
  const grants = [
    ...(remains.statistics ? [revoke('pg_read_all_stats')] : []),
    ...(remains.reserved ? [revoke('pg_use_reserved_connections')] : []),
    ...(parameters ?? []).filter(({ granted }) => granted).map((each) => revoke(alterSystem(each.name))),
  ]
  const roleSteps = elsewhere.length > 0 ? [] : grants
  if (keepRole) return { steps, roleSteps, stays }
  if (remains.members.length > 0) {
    const why = `role ${role}: it has members, which would lose its privileges: ${remains.members.join(', ')}`
    return { steps, roleSteps, stays: [...stays, why] }
  }
  if (remains.passwords > 0) {
    const sql = [`DELETE FROM pg_dist_authinfo WHERE rolename = ${literal(role)}`]
    steps.push({ kind: 'password', what: `password of ${role} in pg_dist_authinfo`, done: 'removed', sql })
  }
  if (elsewhere.length > 0) return { steps, roleSteps, stays }
  const drop: Step = { kind: 'role', what: `role ${role}`, done: 'removed', sql: [`DROP ROLE ${name}`] }
  return { steps, roleSteps: [...roleSteps, drop], stays }
}

/** @returns why it stays, where it does */
function schemaStep({ untrusted, tables, functions }: Remains): Step | string {
  if (untrusted.length > 0) return `not made by citus-ha: ${untrusted.slice(0, 8).join('; ')}`
  const known = namesOfOurs()
  const strangers = [
    ...tables.filter((name) => !known.tables.has(name)).map((name) => `table ${name}`),
    ...functions
      .filter(({ name }) => !known.functions.has(name))
      .map(({ signature }) => `function ${signature}`),
  ]
  if (strangers.length > 0) return `it contains objects that citus-ha did not make: ${strangers.join(', ')}`
  const listed = (what: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`DROP ${what} ${names.join(', ')} RESTRICT`]
  return {
    kind: 'schema',
    what: `schema citus_ha, ${tables.length} tables and ${functions.length} functions,`,
    done: 'removed',
    sql: [
      ...listed(
        'FUNCTION',
        functions.map(({ signature }) => signature),
      ),
      ...listed(
        'TABLE',
        tables.map((name) => `citus_ha.${identifier(name)}`),
      ),
      'DROP SCHEMA citus_ha RESTRICT',
    ],
  }
}

/** Of every release: what a migration has dropped since may be there still. */
function namesOfOurs(): { readonly tables: ReadonlySet<string>; readonly functions: ReadonlySet<string> } {
  const text = [...migrations().map(({ sql }) => sql), ...functionFiles()].join('\n')
  const names = (pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([, name]) => name ?? ''))
  return {
    tables: names(/^CREATE TABLE citus_ha\.(\w+)/gm),
    functions: names(/^CREATE (?:OR REPLACE )?FUNCTION citus_ha\.(\w+)/gm),
  }
}

const BEGIN = [
  'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE',
  setLocally('citus.enable_ddl_propagation', 'off'),
  setLocally('synchronous_commit', 'local'),
  setLocally('lock_timeout', `${LOCK_MS}`),
].join('; ')

const BEGIN_ALONE = `${BEGIN}; ${INSTALL_LOCK}`

/** Removes what is in one database of one server, in one transaction. @returns what was done, and what stays after all */
export async function uninstall(
  session: SessionLike,
  node: HostPort,
  order: UninstallOrder,
): Promise<Removal> {
  return await within(session, BEGIN_ALONE, 'COMMIT', () => removeHere(session, node, order))
}

/** The same in a transaction that is open. */
export async function removeHere(
  session: SessionLike,
  node: HostPort,
  order: UninstallOrder,
): Promise<Removal> {
  const removal = planUninstall(await remainsOn(session, node, order.role), order)
  return await carriedOut(session, removal.steps, { ...removal, roleSteps: [] })
}

/** Removes the role of a server, or what it was granted. */
export async function removeRole(
  session: SessionLike,
  node: HostPort,
  order: UninstallOrder,
): Promise<Removal> {
  return await within(session, BEGIN, 'COMMIT', async () => {
    // By now it has gone from the other databases, where it could.
    const alone = { ...order, databases: [] }
    const { roleSteps, stays } = planUninstall(await remainsOn(session, node, order.role), alone)
    const ofRole = stays.filter((line) => line.startsWith('role '))
    return await carriedOut(session, roleSteps, { steps: [], roleSteps, stays: ofRole })
  })
}

/** Each step alone: one that the server refuses, since others depend on what is to go, is taken back and told of. */
async function carriedOut(session: SessionLike, steps: readonly Step[], removal: Removal): Promise<Removal> {
  const stays = [...removal.stays]
  const done: Step[] = []
  for (const step of steps) {
    await session.run('SAVEPOINT citus_ha_step', LIMIT_MS)
    try {
      for (const sql of step.sql) await session.run(sql, LIMIT_MS)
      done.push(step)
    } catch (error) {
      if (!session.alive || !STAYS.has(codeOf(error) ?? '')) throw error
      await session.run('ROLLBACK TO SAVEPOINT citus_ha_step', LIMIT_MS)
      stays.push(
        `${step.kind === 'role' ? 'role' : step.kind} ${step.what.replace(/^role |^schema |,$/g, '')}: ${reasonOf(error)}`,
      )
    }
  }
  const isRole = removal.roleSteps.length > 0
  return { steps: isRole ? [] : done, roleSteps: isRole ? done : [], stays }
}

/** dependent_objects_still_exist; object_in_use, of a role that is the session's own. Anything else is an error. */
const STAYS = new Set(['2BP01', '55006'])

function reasonOf(error: unknown): string {
  const { detail } = error as { readonly detail?: string }
  return [messageOf(error), ...(detail ?? '').split('\n')].filter((line) => line !== '').join('; ')
}

/** What keeps every watcher, change and install away until the transaction ends; of an older schema, what it has of it. */
const LOCKS = ['lead_lock', 'change_lock', 'epoch']

/**
 * Begins the coordinator's removal: from then on nobody leads, changes, fences or installs there.
 * @throws 55P03 where somebody does
 */
export async function holdCoordinator(session: SessionLike, idleMs: number): Promise<void> {
  await session.run(BEGIN_ALONE, LIMIT_MS)
  const names = LOCKS.map(literal).join(', ')
  const [rows] = await session.run(
    `SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'citus_ha' AND c.relkind = 'r' AND c.relname IN (${names})`,
    LIMIT_MS,
  )
  const tables = z.array(z.object({ name: z.string() })).parse(rows)
  for (const { name } of tables)
    await session.run(`LOCK TABLE citus_ha.${identifier(name)} IN EXCLUSIVE MODE NOWAIT`, LIMIT_MS)
  await session.run(setLocally('idle_in_transaction_session_timeout', `${idleMs}`), LIMIT_MS)
}

/** As `probe/under-way` says it: of several sessions one is enough to be named. */
const CONNECTED = 'is connected'

/** @returns why nothing is to be removed while that is so, a line each */
export function standsInTheWay(node: HostPort, remains: Remains, ownPids: readonly number[]): string[] {
  const where = formatAddress(node)
  const busy = remains.underWay
    .filter(({ pid }) => pid === null || !ownPids.includes(pid))
    .map(
      ({ pid, does, role, application, client }) =>
        `${where}: ${role}${pid === null ? '' : ` (${application || 'no application_name'} from ${client})`} ${does}${does === CONNECTED ? '' : ` (pid ${pid ?? 'none'})`}: stop it first`,
    )
  const held = remains.held.map(
    ({ name, setting }) =>
      `${where}: ${name} is ${setting} by ALTER SYSTEM, as a switchover sets it: ALTER SYSTEM RESET ${name}; SELECT pg_reload_conf()`,
  )
  return [...busy, ...held]
}
