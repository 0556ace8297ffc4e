import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { functionFiles, identifier, literal, statement } from '../db/sql.ts'
import { CitusHaError, untrustedSchema } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { HELD_SETTINGS } from '../model/retired.ts'
import { schemaRow, trustOf } from '../observe/trust.ts'
import { currentMigration, migrations } from './migrations.ts'

export interface InstallOrder {
  /** A role that is made if it is missing, and may do what citus-ha needs; null: no role is touched. */
  readonly role: string | null
  /** Whether the role may also promote, and make a server read-only: what a switchover needs beyond the ordinary. */
  readonly switchover: 'grant' | 'leave'
  /** Addresses that rows of a group may be given besides their own. */
  readonly allowed: readonly { readonly group: number; readonly address: HostPort }[]
}

export interface Installed {
  /** Numbers of the migrations that were applied; empty if the schema was up to date. */
  readonly applied: readonly number[]
  /** Functions that were not as in this program, and what was wrong with each, where no migration made all of them anew. */
  readonly mended: readonly string[]
}

const LIMIT_MS = 30_000
/** Against itself alone, and by superusers alone: anybody may take an advisory lock. */
const INSTALL_LOCK = 'LOCK TABLE pg_catalog.pg_namespace IN SHARE UPDATE EXCLUSIVE MODE'
/** Ours are plain tables of each node, and the schema is nobody's tenant, whatever is made of others' by default. */
const PLAIN = {
  'citus.use_citus_managed_tables': 'off',
  'citus.enable_schema_based_sharding': 'off',
  default_table_access_method: 'heap',
} as const

/** Older releases of Citus and PostgreSQL do not know them all. */
function setWhereKnown(name: string, value: string): string {
  return `SELECT pg_catalog.set_config(${literal(name)}, ${literal(value)}, true) WHERE pg_catalog.current_setting(${literal(name)}, true) IS NOT NULL`
}

/** The functions that the role is granted: all that anything but `install` calls. */
export const CALLABLE = [
  'node_identity()',
  'untranslate_messages()',
  'read_copy()',
  'take_change_lock()',
  'lock_copy(int[])',
  'fence(int[])',
  'cancel_metadata_sync()',
  'blockers(int)',
  'end_blockers(int)',
  'own_shards()',
  'lock_shards()',
  'lock_other_tables()',
  'open_transactions(timestamptz)',
  'end_open_transactions(timestamptz)',
  'held_transactions()',
  'end_held_transactions()',
  'other_sessions(jsonb)',
  'end_other_sessions(jsonb)',
  'writing_sessions()',
  'end_writing_sessions()',
  'end_citus_backends()',
  'hold_recovery()',
  'end_maintenance_daemons()',
  'cancel_maintenance_daemons()',
  'retire(jsonb)',
  'recover_citus_transactions()',
  'may_have_address(int, text, int)',
  'in_time(int)',
  'rewrite(int, bigint, jsonb, int[])',
  'guard_transactions(int[])',
  'record_lineage(jsonb)',
  'record_positions(jsonb)',
  'record_vouched(jsonb, jsonb, text)',
  'decide(jsonb)',
  'register_secondary(jsonb)',
  'forget_node(text, int, text)',
  'forget_stale_remedies()',
  'intend(jsonb)',
  'forget_intents(int[], text)',
  'take_over_intent(int, text, text)',
  'pause_changes(int, text, text)',
  'resume_changes(int)',
  'take_lead()',
]

/**
 * Brings the schema `citus_ha` of one database on one writable node up to date, in one transaction. Again:
 * nothing is done. The session has to be a superuser's.
 * @throws CitusHaError where the database is ahead of this program, or a schema of that name is somebody else's; what the
 *   server says otherwise
 */
export async function install(session: SessionLike, node: HostPort, order: InstallOrder): Promise<Installed> {
  // Every node is installed by itself, so Citus must not spread the DDL; and a node whose standby is gone
  // must not hang on it.
  await session.run(
    [
      'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE',
      'SET LOCAL citus.enable_ddl_propagation = off',
      ...Object.entries(PLAIN).map(([name, value]) => setWhereKnown(name, value)),
      'SET LOCAL synchronous_commit = local',
      // An index that is built in parallel takes files, however small it is.
      'SET LOCAL temp_file_limit = -1',
      `SET LOCAL lock_timeout = ${LIMIT_MS / 2}`,
      INSTALL_LOCK,
    ].join('; '),
    LIMIT_MS,
  )
  try {
    const drift = await requireOurs(session, node)
    const present = drift === null ? 0 : await appliedMigration(session)
    const needed = currentMigration()
    if (present > needed) {
      throw new CitusHaError(
        'configuration',
        `the schema citus_ha is at migration ${present}, this citus-ha knows ${needed}: upgrade citus-ha`,
      )
    }
    const missing = migrations().filter((migration) => migration.number > present)
    for (const { number, name, sql } of missing) {
      const record = `INSERT INTO citus_ha.migration (number, name) VALUES (${literal(number)}, ${literal(name)})`
      await session.run(`${sql}; ${record}`, LIMIT_MS)
    }
    if (missing.length > 0 || (drift ?? []).length > 0) await replaceFunctions(session)
    for (const sql of [
      ...(order.role === null ? [] : await grants(session, order.role)),
      ...(await switchoverGrants(session, order)),
      ...allow(order),
    ]) {
      await session.run(sql, LIMIT_MS)
    }
    await session.run('COMMIT', LIMIT_MS)
    return {
      applied: missing.map((migration) => migration.number),
      mended: missing.length > 0 ? [] : (drift ?? []),
    }
  } catch (error) {
    if (session.alive) await session.run('ROLLBACK', LIMIT_MS)
    throw error
  }
}

const IS_SUPERUSER = 'SELECT r.rolsuper AS superuser FROM pg_roles r WHERE r.rolname = current_user'

/**
 * What a superuser calls in a schema runs as a superuser. One of the name of ours is trusted by its owners and its content.
 * @returns how its functions differ from ours; null where it is not there
 */
async function requireOurs(session: SessionLike, node: HostPort): Promise<readonly string[] | null> {
  const [who] = await session.run(IS_SUPERUSER, LIMIT_MS)
  if (who?.[0]?.superuser !== true) {
    const why = 'this session is no superuser’s; is a role set for it by ALTER DATABASE or ALTER ROLE?'
    throw new CitusHaError('configuration', `${formatAddress(node)}: ${why}`)
  }
  const [rows] = await session.run(statement('probe/schema'), LIMIT_MS)
  const facts = schemaRow.parse(rows?.[0])
  const { untrusted, drift } = trustOf(facts)
  if (untrusted.length > 0) throw new CitusHaError('configuration', untrustedSchema(node, untrusted))
  return facts.owner === null ? null : drift
}

async function appliedMigration(session: SessionLike): Promise<number> {
  const [there] = await session.run(`SELECT to_regclass('citus_ha.migration') IS NOT NULL AS there`, LIMIT_MS)
  if (there?.[0]?.there !== true) return 0
  const [rows] = await session.run('SELECT max(number) AS number FROM citus_ha.migration', LIMIT_MS)
  return z.object({ number: z.number().int() }).parse(rows?.[0]).number
}

/** Whoever may use the schema may call what is new in it: an upgrade does not ask for the role again. */
async function replaceFunctions(session: SessionLike): Promise<void> {
  for (const sql of functionFiles()) await session.run(sql, LIMIT_MS)
  await session.run('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA citus_ha FROM PUBLIC', LIMIT_MS)
  const [roles] = await session.run(USERS, LIMIT_MS)
  for (const row of roles ?? []) {
    const { role } = z.object({ role: z.string() }).parse(row)
    for (const sql of schemaGrants(role)) await session.run(sql, LIMIT_MS)
  }
}

const USERS = `SELECT r.rolname::text AS role
  FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a JOIN pg_roles r ON r.oid = a.grantee
 WHERE n.nspname = 'citus_ha' AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner`

function schemaGrants(role: string): string[] {
  const name = identifier(role)
  return [
    `GRANT USAGE ON SCHEMA citus_ha TO ${name}`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA citus_ha TO ${name}`,
    `GRANT EXECUTE ON FUNCTION ${CALLABLE.map((callable) => `citus_ha.${callable}`).join(', ')} TO ${name}`,
  ]
}

async function grants(session: SessionLike, role: string): Promise<string[]> {
  const name = identifier(role)
  const [found] = await session.run(`SELECT FROM pg_roles WHERE rolname = ${literal(role)}`, LIMIT_MS)
  return [
    ...(found?.length === 1 ? [] : [`CREATE ROLE ${name} LOGIN`]),
    `GRANT pg_read_all_stats TO ${name}`,
    ...(await missingGrants(session, role)),
    ...schemaGrants(role),
  ]
}

/** Where PUBLIC may not connect; and where connections are kept back, which a failover uses up (PostgreSQL 16). */
async function missingGrants(session: SessionLike, role: string): Promise<string[]> {
  const [rows] = await session.run(
    `SELECT current_database()::text AS database,
            EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'pg_use_reserved_connections') AS reserves,
            coalesce((SELECT has_database_privilege(r.oid, current_database(), 'CONNECT')
                        FROM pg_roles r WHERE r.rolname = ${literal(role)}), false) AS connects`,
    LIMIT_MS,
  )
  const found = z
    .object({ database: z.string(), reserves: z.boolean(), connects: z.boolean() })
    .parse(rows?.[0])
  return [
    ...(found.connects
      ? []
      : [`GRANT CONNECT ON DATABASE ${identifier(found.database)} TO ${identifier(role)}`]),
    ...(found.reserves ? [`GRANT pg_use_reserved_connections TO ${identifier(role)}`] : []),
  ]
}

/** What `install --switchover` grants, for people; parameters only from PostgreSQL 15 on, and those of Citus that it has. */
export const SWITCHOVER_GRANTS = [
  'EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, int)',
  'EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()',
  ...HELD_SETTINGS.map(({ name }) => `ALTER SYSTEM ON PARAMETER ${name}`),
]

async function switchoverGrants(session: SessionLike, { role, switchover }: InstallOrder): Promise<string[]> {
  if (role === null || switchover === 'leave') return []
  const [server] = await session.run(`SELECT current_setting('server_version_num')::int AS version`, LIMIT_MS)
  const parameters = Number(server?.[0]?.version) >= 150_000
  const [rows] = parameters ? await session.run(statement('switchover/may-alter'), LIMIT_MS) : []
  const known = rows?.map(({ name }) => `ALTER SYSTEM ON PARAMETER ${name}`) ?? []
  return SWITCHOVER_GRANTS.filter((what) => !what.startsWith('ALTER SYSTEM') || known.includes(what)).map(
    (what) => `GRANT ${what} TO ${identifier(role)}`,
  )
}

function allow({ allowed }: InstallOrder): string[] {
  return allowed.map(
    ({ group, address }) =>
      `INSERT INTO citus_ha.allowed_address VALUES (${literal(group)}, ${literal(address.host)}, ${literal(address.port)}) ON CONFLICT DO NOTHING`,
  )
}
