import { SqlState } from '../db/sqlstate.ts'
import { proves, type Sight } from '../model/sight.ts'

/** A notice or a warning of a server. */
export interface Notice {
  /** SQLSTATE. */
  readonly code: string
  readonly message: string
}

// Citus has no translations: what it says itself is English on every server (connection_management.c and
// remote_commands.c, Citus 10 to 13). What follows is libpq's, in the language of the witness's lc_messages.
const TOO_LATE = /^could not establish connection after \d+ ms/
const NOT_CONNECTED = /^connection to the remote node .*? failed(?: with the following error: ([\s\S]*))?$/

/** libpq joins a severity and a server's message by a colon and two spaces (fe-protocol3.c), in every language. */
const BY_A_SERVER = /\S: {2}\S/

/** In the C locale: strerror's texts (glibc, musl, BSD), and those of libpq 10 to 18. The first that fits counts. */
const TEXTS: readonly (readonly [RegExp, Sight])[] = [
  [/could not translate host name|could not parse network address/, 'dns'],
  [/\bSSL\b|\bTLS\b|certificate/, 'tls'],
  [/password|authenticat|SASL|SCRAM|channel binding|GSSAPI|SSPI|protocol version/i, 'answered'],
  [/(?:^|: )Connection refused$/, 'refused'],
  [/(?:^|: )(Connection|Operation) timed out$|timeout expired$/, 'timeout'],
  [
    /(?:^|: )(No route to host|Host is down|Host is unreachable|Network is unreachable|Network unreachable)$/,
    'unroutable',
  ],
  [/server closed the connection unexpectedly$|(?:^|: )(Connection reset by peer|Broken pipe)$/, 'reset'],
]

/**
 * What a witness saw of another node, from what `citus_check_connection_to_node` returned and the warnings that came with
 * it: Citus says in them why it did not connect.
 */
export function sightOf(reaches: boolean, notices: readonly Notice[]): Sight {
  if (reaches) return 'reached'
  const told = notices.map(({ message }) => NOT_CONNECTED.exec(message)).find((match) => match !== null)
  const said = told?.[1] === undefined ? null : sightOfLibpq(told[1])
  if (said !== null && proves(said) === 'alive') return said
  if (notices.some(({ message }) => TOO_LATE.test(message))) return 'timeout'
  if (said !== null) return said
  const failed = notices.find(({ message }) => !NOT_CONNECTED.test(message))
  return failed === undefined ? 'not-understood' : sightOfStatement(failed)
}

/**
 * One line for each address that libpq tried, and each way of encryption. One that answered is life; silence has to be
 * that of all of them.
 */
export function sightOfLibpq(text: string): Sight {
  if (BY_A_SERVER.test(text)) return 'answered'
  // Names stand in quotes, and may be anything; what is indented is a hint.
  const tries = text.split('\n').filter((line) => /^\S/.test(line))
  const bare = tries.map((line) => line.replace(/"[^"]*"/g, '""').trimEnd())
  const sights = bare.map(
    (line): Sight => TEXTS.find(([pattern]) => pattern.test(line))?.[1] ?? 'not-understood',
  )
  return (
    sights.find((sight) => proves(sight) === 'alive') ??
    sights.find((sight) => proves(sight) === 'unknown') ??
    sights[0] ??
    'not-understood'
  )
}

/** The witness was let in, and its statement failed there. */
function sightOfStatement({ code }: Notice): Sight {
  const dying: readonly string[] = [
    SqlState.adminShutdown,
    SqlState.crashShutdown,
    SqlState.cannotConnectNow,
    SqlState.connectionFailure,
    SqlState.internalError,
  ]
  return dying.includes(code) ? 'dying' : 'answered'
}
