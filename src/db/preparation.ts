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
 * The command-line options of a session: those that were given, then ours, of which none can be undone by them: of two for
 * one setting the last counts.
 * @param given of the URL, the configuration or PGOPTIONS, as libpq takes them
 */
export function sessionOptions(given: string | undefined): string {
  const ours = Object.entries(SESSION_SETTINGS).map(([name, value]) => `-c ${name}=${escaped(value)}`)
  // A lone backslash at the end would take the space before ours away.
  const theirs = given?.replace(/(?<!\\)((?:\\\\)*)\\$/, '$1')
  return [...(theirs ? [theirs] : []), ...ours].join(' ')
}

/** As the server splits them (`pg_split_opts`): at spaces, but for those after a backslash. */
function escaped(value: string): string {
  return value.replaceAll(/[\\ ]/g, '\\$&')
}
