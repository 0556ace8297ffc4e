import type { HostPort } from './node.ts'

/** What a terminal may obey, or take for the end of a line, when the command is pasted there. */
const OBEYED = /[\p{Cc}\p{Zl}\p{Zp}]/gu

/**
 * A word for a POSIX shell, quoted where it has to be: names and gids are anybody's text. `$'…'` is in POSIX since 2024, and in
 * the shells that people type in for longer.
 */
export function shellWord(text: string): string {
  if (text.search(OBEYED) >= 0) return `$'${text.replace(/['\\]/g, '\\$&').replace(OBEYED, escaped)}'`
  if (/^[\w.:@%+,/=-]+$/.test(text)) return text
  // Inside double quotes a shell looks for these only; SQL with constants is easier to read so.
  if (!/["$`\\!]/.test(text)) return `"${text}"`
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function escaped(char: string): string {
  const code = char.charCodeAt(0)
  return code < 128 ? `\\${code.toString(8).padStart(3, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** SQL to be run on a node, as a command, as whoever runs it. */
export function psql(node: HostPort, database: string, sql: string): string {
  return `${connected(node, database)} -c ${shellWord(sql)}`
}

/** The same for what only a superuser may do; each statement by itself: ALTER SYSTEM can't be in one message with others. */
export function psqlAsSuperuser(node: HostPort, database: string, ...statements: readonly string[]): string {
  return statements.map((sql) => `${connected(node, database)} -U postgres -c ${shellWord(sql)}`).join(' && ')
}

const connected = ({ host, port }: HostPort, database: string) =>
  `psql -h ${shellWord(host)} -p ${port} -d ${shellWord(database)}`

/**
 * A connection string of libpq, for a command that somebody else will run: `host=… port=… dbname=…`.
 * Quoted as https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING says.
 */
export function conninfo({ host, port }: HostPort, database: string): string {
  return `host=${conninfoValue(host)} port=${port} dbname=${conninfoValue(database)}`
}

function conninfoValue(text: string): string {
  return /^[\w.:@%+,/-]+$/.test(text) ? text : `'${text.replace(/['\\]/g, '\\$&')}'`
}
