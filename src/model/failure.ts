import { formatAddress, type HostPort } from './node.ts'

/** What can go wrong before or beside a verdict, as the exit codes tell them apart. */
export type FailureCode =
  /** The call is not one that can be carried out: a word, a group that does not exist. */
  | 'usage'
  /** The file, the environment or what it leads to: a wrong password, a database without Citus, no right. */
  | 'configuration'
  /** The schema `citus_ha` is missing, and this role may not make it. */
  | 'not-installed'
  /** No writable coordinator answers. */
  | 'no-coordinator'
  /** Two writable coordinators that nothing tells apart. */
  | 'two-coordinators'
  /** Nodes or locks did not let it through in time; nothing was changed. */
  | 'blocked'

/** The one error class of citus-ha: one line for people in `message`, a code for programs, the cause kept. */
export class CitusHaError extends Error {
  override readonly name = 'CitusHaError'
  readonly code: FailureCode
  /** The same in several lines, for a terminal; null: `message` is all. */
  readonly lines: readonly string[] | null

  constructor(
    code: FailureCode,
    message: string,
    { lines = null, ...options }: ErrorOptions & { readonly lines?: readonly string[] | null } = {},
  ) {
    super(message, options)
    this.code = code
    this.lines = lines
  }
}

/** Of what does not belong in a schema. */
const SHOWN = 8

/** What is to be said and typed where the schema `citus_ha` of a node is somebody else's. */
export function untrustedSchema(node: HostPort, untrusted: readonly string[]): string {
  const more = untrusted.length > SHOWN ? `; and ${untrusted.length - SHOWN} more` : ''
  return `${formatAddress(node)}: the schema citus_ha was not made by citus-ha: ${untrusted.slice(0, SHOWN).join('; ')}${more}. citus-ha calls nothing in it. Inspect it, and drop it as a superuser: DROP SCHEMA citus_ha CASCADE; then run: citus-ha install`
}

const EXIT_CODES: Readonly<Record<FailureCode, 2 | 3 | 4>> = {
  usage: 2,
  configuration: 2,
  'not-installed': 2,
  'no-coordinator': 4,
  'two-coordinators': 3,
  blocked: 4,
}

/** The exit code of a command that ended with such an error. */
export function exitCodeOfFailure(code: FailureCode): 2 | 3 | 4 {
  return EXIT_CODES[code]
}
