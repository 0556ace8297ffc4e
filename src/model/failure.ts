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

  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
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
