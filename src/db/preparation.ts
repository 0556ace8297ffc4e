/**
 * What every session of ours needs of its settings, whatever the server, the database, the role or the URL say. They are
 * sent with the startup message (`options`), so they hold before the first statement, a login trigger's included, they win
 * over `ALTER DATABASE … SET` and `ALTER ROLE … SET`, and a connection that the driver opens anew has them too.
 *
 * Only settings that anybody may set, and that PostgreSQL 10 knows: another one would be refused, and the connection with
 * it. Not `default_transaction_read_only`: what it is here tells whether this server takes writes.
 */
const SESSION_SETTINGS = {
  // Nobody's operators, functions, types and tables but PostgreSQL's own, and those that are qualified. `pg_temp` is
  // searched first, for tables and types, wherever it is not named.
  search_path: 'pg_catalog,pg_temp',
  // Backslashes in our literals are backslashes.
  standard_conforming_strings: 'on',
  // Values come and go as text: in one form, and with the moment that they mean.
  DateStyle: 'ISO,MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  array_nulls: 'on',
  quote_all_identifiers: 'off',
  transform_null_equals: 'off',
  // A row that is hidden from us is an error, and not one row fewer.
  row_security: 'off',
  // What is read after a lock has to be what the lock waited for; and a hot standby knows no serializable.
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // Citus says in a notice why it does not reach a node.
  client_min_messages: 'notice',
} as const

/**
 * What the owner of a database may set for it that ends our sessions, or keeps them from beginning. What was given for our
 * connections counts more. As above, PostgreSQL 10 knows them all.
 */
const LIMITS = {
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  tcp_keepalives_idle: '0',
  tcp_keepalives_interval: '0',
  tcp_keepalives_count: '0',
  exit_on_error: 'off',
  local_preload_libraries: '',
  max_parallel_workers_per_gather: '0',
  // Enough that nothing of ours needs a file: where temp_file_limit, which only a superuser sets, allows none.
  work_mem: '4MB',
  // What PL/pgSQL takes for a mistake, in functions of ours too, when they are made and when they run.
  'plpgsql.extra_errors': 'none',
  'plpgsql.extra_warnings': 'none',
} as const

/** The same, of settings that an older PostgreSQL does not know: set by the first statement, where they are there. */
const NEWER_LIMITS = {
  jit: { value: 'off', since: 11 },
  tcp_user_timeout: { value: '0', since: 12 },
  // A plan of our functions that was made once, before anybody waited for it, is the one that is used.
  plan_cache_mode: { value: 'force_generic_plan', since: 12 },
  idle_session_timeout: { value: '0', since: 14 },
  transaction_timeout: { value: '0', since: 17 },
} as const
/** Since then there is a setting that ends a session before its first statement. */
const ENDS_EARLY = 14

/** A session that ended before the answer to its first statement, on a server that may have been told to end it. */
export class EndedEarly extends Error {
  override readonly name = 'EndedEarly'
  readonly code: string
  /** Options for the next one, which it has to say at its start. */
  readonly options: string

  /** @param version the server's `server_version` */
  private constructor(cause: Error, code: string, version: number) {
    super(cause.message, { cause })
    this.code = code
    const known = Object.entries(NEWER_LIMITS).filter(([, { since }]) => since <= version)
    this.options = options(Object.fromEntries(known.map(([name, { value }]) => [name, value])))
  }

  /** @param version the server's `server_version`; null: it was not heard. @returns the error itself, where it is nothing of the kind */
  static of(error: unknown, code: string | undefined, version: string | null): unknown {
    const major = Number.parseInt(version ?? '', 10)
    return error instanceof Error && major >= ENDS_EARLY
      ? new EndedEarly(error, code ?? 'ECONNRESET', major)
      : error
  }
}

/**
 * The command-line options of a session: those that were given, then ours, of which none can be undone by them: of two for
 * one setting the last counts.
 * @param given of the URL, the configuration or PGOPTIONS, as libpq takes them
 */
export function sessionOptions(given: string | undefined): string {
  // A lone backslash at the end would take the space before ours away.
  const theirs = given?.replace(/(?<!\\)((?:\\\\)*)\\$/, '$1')
  return [options(LIMITS), ...(theirs ? [theirs] : []), options(SESSION_SETTINGS)].join(' ')
}

/** As the server reads them. */
export function options(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${escaped(value)}`)
    .join(' ')
}

/** As the server shows what was asked for in another form. */
const SHOWN: Readonly<Record<string, string>> = { DateStyle: 'ISO, MDY' }
const EXPECTED = Object.entries(SESSION_SETTINGS).map(
  ([name, value]) => [name, SHOWN[name] ?? value] as const,
)

/**
 * The first statement on every connection: fails with 42704 where its settings are not as they were asked for, since
 * something in between has dropped them. Nothing in it can be anybody else's, whatever the search_path is; what comes after
 * it in the same message is not looked at then.
 */
export const CHECK_SETTINGS = `SELECT CASE WHEN ${EXPECTED.map(
  ([name, value]) => `pg_catalog.texteq(pg_catalog.current_setting('${name}'), '${value}')`,
).join(' AND ')} THEN ''
  ELSE pg_catalog.current_setting('the settings of this session are not those that citus-ha has asked for') END, ${Object.entries(
    NEWER_LIMITS,
  )
    .map(
      ([name, { value }]) =>
        `CASE WHEN pg_catalog.current_setting('${name}', true) IS NULL THEN '' ELSE pg_catalog.set_config('${name}', '${value}', false) END`,
    )
    .join(', ')}`

/** Reads what `CHECK_SETTINGS` compares, in the same order; as safe. */
export const READ_SETTINGS = `SELECT ${EXPECTED.map(([name], n) => `pg_catalog.current_setting('${name}') AS s${n}`).join(', ')}`

/** Something between us and the server has dropped our settings, or refuses them: a connection pooler. */
export class SettingsDropped extends Error {
  override readonly name = 'SettingsDropped'
  /** protocol_violation, with which a pooler refuses them: the server, or something in its place, has answered. */
  readonly code = PROTOCOL_VIOLATION
}

const PROTOCOL_VIOLATION = '08P01'
const WAY_AROUND =
  'is this a connection pooler? citus-ha needs the server itself: give its own port in the URL, or for a registered node under "addresses" of the configuration (connect: host:port)'

/** @param row of `READ_SETTINGS` @returns null: all are as they should be */
export function droppedSettings(row: Readonly<Record<string, unknown>> | undefined): SettingsDropped | null {
  const off = EXPECTED.filter(([, value], n) => row?.[`s${n}`] !== value)
  const [first] = off
  if (!first) return null
  const found = row?.[`s${EXPECTED.indexOf(first)}`]
  return new SettingsDropped(
    `the settings of this session were dropped on the way (${first[0]} is ${String(found)}, not ${first[1]}): ${WAY_AROUND}`,
  )
}

/** What is to be told of a connection that failed. */
export function describeRefusal(error: unknown): unknown {
  if (error instanceof SettingsDropped || !(error instanceof Error)) return error
  if ((error as Error & { code?: unknown }).code !== PROTOCOL_VIOLATION) return error
  return Object.assign(new SettingsDropped(`${error.message}: ${WAY_AROUND}`), { cause: error })
}

/** As the server splits them (`pg_split_opts`): at spaces, but for those after a backslash. */
function escaped(value: string): string {
  return value.replaceAll(/[\\ ]/g, '\\$&')
}
