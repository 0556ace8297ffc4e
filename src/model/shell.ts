import type { HostPort } from './node.ts'

/** What a terminal, or a comment in a command, would take for something else: controls, line ends, marks of direction. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/**
 * A word for a shell, in one line, quoted where it has to be: names and gids are anybody's text. A comment needs it too: a
 * line end would end it, and an interactive zsh has none.
 */
export function shellWord(text: string): string {
  if (/^[\w.:@%+,/=-]+$/.test(text)) return text
  if (UNSEEN.test(text)) return `$'${[...text].map(inAnsiC).join('')}'`
  // Inside double quotes a shell looks for these only; SQL with constants is easier to read so.
  if (!/["$`\\!]/.test(text)) return `"${text}"`
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function inAnsiC(char: string): string {
  if (char === "'" || char === '\\') return `\\${char}`
  if (!UNSEEN.test(char)) return char
  return [...Buffer.from(char)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
}

/** An SQL string constant, for a command that somebody else will run. */
export function quoted(text: string): string {
  // Whatever `standard_conforming_strings` is there: the owner of a database may set it.
  const constant = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? `E${constant}` : constant
}

/**
 * SQL to be run on a node, as a command, for what only a superuser may do; each statement by itself: ALTER SYSTEM can't be in one
 * message with others.
 */
export function psqlAsSuperuser(node: HostPort, database: string, ...statements: readonly string[]): string {
  return statements.map((sql) => `${connected(node, database)} -U postgres -c ${shellWord(sql)}`).join(' && ')
}

/** The same for what the role of citus-ha may do, by the name that `install` gives it. */
export function psqlAsOwnRole(node: HostPort, database: string, sql: string): string {
  return `${connected(node, database)} -U citus_ha -c ${shellWord(sql)}`
}

const connected = ({ host, port }: HostPort, database: string) =>
  `psql -h ${shellWord(host)} -p ${port} -d ${databaseWord(database)}`

/** For the `-d` of a program of PostgreSQL, which takes a name that looks like a connection string for one: it would go elsewhere. */
export function databaseWord(database: string): string {
  const isName = !/=|^postgres(ql)?:\/\//.test(database)
  return shellWord(isName ? database : `dbname=${conninfoValue(database)}`)
}

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
