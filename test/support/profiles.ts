import type { Cluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'

/** Where somebody has set it; a later one wins over an earlier one. */
export const LEVELS = ['server', 'database', 'role'] as const
export type Level = (typeof LEVELS)[number]

/** Settings that somebody has for reasons of his own. */
export interface Profile {
  readonly name: string
  readonly settings: Readonly<Record<string, string>>
  /** On all primaries at all of these; absent: at all that there are. */
  readonly at?: readonly Level[]
  /** Nobody can read from a standby through Citus: it gets no row, and doctor finds an error. */
  readonly standbys?: 'unreadable'
}

/** One line each. Those of different settings share a cluster, and are told apart when something fails. */
export const PROFILES: readonly Profile[] = [
  // Citus's own statement fails there: cannot use serializable mode in a hot standby.
  {
    name: 'serializable',
    settings: { default_transaction_isolation: 'serializable' },
    standbys: 'unreadable',
  },
  { name: 'repeatable read', settings: { default_transaction_isolation: 'repeatable read' } },
  { name: 'deferrable', settings: { default_transaction_deferrable: 'on' } },
  {
    name: 'backslashes escape',
    settings: { standard_conforming_strings: 'off', escape_string_warning: 'on' },
  },
  { name: 'no backslash quotes', settings: { backslash_quote: 'off' } },
  { name: 'SQL dates', settings: { DateStyle: 'SQL, DMY' } },
  { name: 'German dates', settings: { DateStyle: 'German' } },
  { name: 'PostgreSQL dates', settings: { DateStyle: 'Postgres, YMD' } },
  { name: 'India', settings: { TimeZone: 'Asia/Kolkata' } },
  { name: 'Jakarta', settings: { TimeZone: 'Asia/Jakarta' } },
  { name: 'Shanghai', settings: { TimeZone: 'Asia/Shanghai' } },
  { name: 'abbreviations of India', settings: { timezone_abbreviations: 'India' } },
  { name: 'ISO intervals', settings: { IntervalStyle: 'iso_8601' } },
  { name: 'SQL intervals', settings: { IntervalStyle: 'sql_standard' } },
  { name: 'escaped bytes', settings: { bytea_output: 'escape' } },
  { name: 'Latin-1 clients', settings: { client_encoding: 'LATIN1' } },
  { name: 'ASCII clients', settings: { client_encoding: 'SQL_ASCII' } },
  {
    name: 'other numbers',
    settings: { extra_float_digits: '-15', lc_numeric: 'C.UTF-8', lc_monetary: 'C.UTF-8' },
  },
  { name: 'messages of a locale', settings: { lc_messages: 'C.UTF-8', lc_time: 'C.UTF-8' } },
  { name: 'quiet', settings: { client_min_messages: 'error' } },
  { name: 'loud', settings: { client_min_messages: 'debug1', log_min_messages: 'debug1' } },
  { name: 'short statements', settings: { statement_timeout: '1s' } },
  { name: 'short waits', settings: { lock_timeout: '1ms' } },
  { name: 'impatient with transactions', settings: { idle_in_transaction_session_timeout: '20ms' } },
  { name: 'impatient with sessions', settings: { idle_session_timeout: '20ms' } },
  { name: 'impatient with deadlocks', settings: { deadlock_timeout: '10s' } },
  { name: 'hidden rows', settings: { row_security: 'off' } },
  { name: 'a search path', settings: { search_path: 'nowhere' } },
  { name: 'no search path', settings: { search_path: '' } },
  { name: 'a replica’s sessions', settings: { session_replication_role: 'replica' } },
  { name: 'a local’s sessions', settings: { session_replication_role: 'local' } },
  { name: 'everything quoted', settings: { quote_all_identifiers: 'on' } },
  { name: 'NULL equals', settings: { transform_null_equals: 'on' } },
  { name: 'no NULL in arrays', settings: { array_nulls: 'off' } },
  { name: 'bodies unchecked', settings: { check_function_bodies: 'off' } },
  { name: 'plans of each call', settings: { plan_cache_mode: 'force_custom_plan' } },
  { name: 'plans of all calls', settings: { plan_cache_mode: 'force_generic_plan' } },
  { name: 'compiled', settings: { jit: 'on', jit_above_cost: '0' } },
  { name: 'commits unwaited for', settings: { synchronous_commit: 'off' } },
  { name: 'commits applied', settings: { synchronous_commit: 'remote_apply' } },
  {
    name: 'everything logged',
    settings: { log_statement: 'all', log_duration: 'on', log_min_duration_statement: '0' },
  },
  { name: 'activity untold', settings: { track_activities: 'off' } },
  { name: 'nothing counted', settings: { track_counts: 'off', track_io_timing: 'on' } },
  {
    name: 'no scans',
    settings: { enable_seqscan: 'off', enable_indexscan: 'off', enable_bitmapscan: 'off' },
  },
  {
    name: 'parallel',
    settings: { parallel_setup_cost: '0', min_parallel_table_scan_size: '0' },
  },
  { name: 'little memory', settings: { work_mem: '64kB', temp_file_limit: '0', max_stack_depth: '100kB' } },
  {
    name: 'strict PL/pgSQL',
    settings: { 'plpgsql.extra_errors': 'all', 'plpgsql.variable_conflict': 'use_column' },
  },
  { name: 'old passwords', settings: { password_encryption: 'md5' } },
  { name: 'system tables open', settings: { allow_system_table_mods: 'on' } },
  { name: 'tables elsewhere', settings: { default_tablespace: 'elsewhere', temp_tablespaces: 'elsewhere' } },
  { name: 'columnar', settings: { default_table_access_method: 'columnar' } },
  { name: 'compressed', settings: { default_toast_compression: 'lz4' } },
  { name: 'managed tables', settings: { 'citus.use_citus_managed_tables': 'on' } },
  { name: 'tenants by schema', settings: { 'citus.enable_schema_based_sharding': 'on' } },
  {
    name: 'no DDL propagation',
    settings: { 'citus.enable_ddl_propagation': 'off', 'citus.enable_create_role_propagation': 'off' },
  },
  { name: 'metadata synced piece by piece', settings: { 'citus.metadata_sync_mode': 'nontransactional' } },
  { name: 'one shard at a time', settings: { 'citus.multi_shard_modify_mode': 'sequential' } },
  { name: 'impatient between nodes', settings: { 'citus.node_connection_timeout': '500' } },
  { name: 'round robin', settings: { 'citus.task_assignment_policy': 'round-robin' } },
  {
    name: 'one connection',
    settings: { 'citus.max_adaptive_executor_pool_size': '1', 'citus.max_shared_pool_size': '2' },
  },
  { name: 'versions unchecked', settings: { 'citus.enable_version_checks': 'off' } },
  {
    name: 'shards shown',
    settings: { 'citus.override_table_visibility': 'off', 'citus.show_shards_for_app_name_prefixes': '*' },
  },
  {
    name: 'remote statements told',
    settings: { 'citus.log_remote_commands': 'on', 'citus.explain_all_tasks': 'on' },
  },
  { name: 'Citus’s metadata untouchable', settings: { 'citus.enable_metadata_sync': 'off' } },
]

/** Profiles that can be tried together: no two of a pack have a setting in common. */
export function packs(profiles: readonly Profile[]): Profile[][] {
  const made: Profile[][] = []
  for (const profile of profiles) {
    const pack = made.find((each) => each.every((other) => !clash(other, profile)))
    if (pack) pack.push(profile)
    else made.push([profile])
  }
  return made
}

function clash(one: Profile, other: Profile): boolean {
  return Object.keys(one.settings).some((name) => name in other.settings)
}

/** Its name and where it is set. */
export function describeProfile({ name, settings, at = LEVELS }: Profile): string {
  const all = Object.entries(settings).map(([setting, value]) => `${setting} = ${value}`)
  return `${name} (${all.join(', ')}; ${at.join(', ')})`
}

/** The roles of which sessions come: ours, and the superuser who installs and as whom Citus works. */
const ROLES = ['citus_ha', 'postgres']
/** As whom clients write. */
export const CLIENT = 'somebody'

/**
 * Has the settings on every primary of the cluster, and those of the server on every standby; a setting that this PostgreSQL
 * or Citus does not know is left out.
 */
export async function apply(cluster: Cluster, profiles: readonly Profile[]): Promise<void> {
  const primaries = [cluster.coordinator, ...cluster.workers.map(({ primary }) => primary)]
  for (const server of primaries) await prepare(server)
  const [known, ownOnly] = await knownSettings(cluster.coordinator, cluster.database)
  for (const { settings, at = LEVELS } of profiles) {
    const taken = Object.entries(settings).filter(([name]) => known.has(name.toLowerCase()))
    const ofSession = taken.filter(([name]) => !ownOnly.has(name.toLowerCase()))
    const wheres = [
      ...(at.includes('database') ? [`DATABASE "${cluster.database}"`] : []),
      ...(at.includes('role') ? ROLES.map((role) => `ROLE ${role}`) : []),
    ]
    for (const server of primaries)
      for (const where of wheres)
        for (const [name, value] of ofSession) await alter(server, `ALTER ${where} SET ${name} = '${value}'`)
    if (at.includes('server'))
      for (const server of cluster.servers) await server.configure(Object.fromEntries(taken))
  }
}

/** Roles and a tablespace that the settings name, and a role of clients that has none of them. */
async function prepare(server: Server): Promise<void> {
  await alter(server, 'CREATE ROLE citus_ha LOGIN')
  await alter(server, `CREATE ROLE ${CLIENT} LOGIN SUPERUSER`)
  const session = await server.connect({ database: 'postgres' })
  try {
    await session.query('SET allow_in_place_tablespaces = on')
    await session.query(`CREATE TABLESPACE elsewhere LOCATION ''`)
  } finally {
    await session.end()
  }
}

/** As it is: Citus does not spread it. */
async function alter(server: Server, sql: string): Promise<void> {
  await server.query(`SET citus.enable_ddl_propagation = off; ${sql}`, [], { database: 'postgres' })
}

/** @returns all, and those that are the server's alone */
async function knownSettings(server: Server, database: string): Promise<[Set<string>, Set<string>]> {
  const sql = `LOAD 'plpgsql'; SELECT lower(name) AS name, context FROM pg_settings`
  const rows = await server.query<{ name: string; context: string }>(sql, [], { database })
  const ofServer = rows.filter(
    ({ context }) => !['user', 'superuser', 'backend', 'superuser-backend'].includes(context),
  )
  return [new Set(rows.map(({ name }) => name)), new Set(ofServer.map(({ name }) => name))]
}
