import { ConfigError } from '../config/config-error.ts'
import { redact } from '../config/redact.ts'
import { CitusHaError, type FailureCode } from '../model/failure.ts'

/** What the exit codes mean, for `--help` and the README. */
export const EXIT_CODES = [
  [0, 'converged: every copy was proved right, whether or not anything had to change'],
  [1, 'an error of citus-ha itself'],
  [2, 'usage or configuration'],
  [3, 'refused: the evidence does not allow it'],
  [4, 'blocked: locks or nodes did not let it through before the deadline; nothing changed'],
  [5, 'committed, but not yet proved on every copy, or an old primary not fenced (named in the report)'],
] as const

const OF_FAILURE: Readonly<Record<FailureCode, number>> = {
  usage: 2,
  configuration: 2,
  'not-installed': 2,
  'no-coordinator': 4,
  'two-coordinators': 3,
  blocked: 4,
}

/** One line for people, without a stack trace and without passwords, and the exit code. */
export function describeError(error: unknown): { readonly line: string; readonly exitCode: number } {
  const message = error instanceof Error ? error.message : String(error)
  const [first] = redact(message).split('\n')
  const line = first || 'failed'
  if (error instanceof ConfigError) return { line, exitCode: 2 }
  if (error instanceof CitusHaError) return { line, exitCode: OF_FAILURE[error.code] }
  if (error instanceof Error && error.name === 'AbortError')
    return { line: 'interrupted; nothing is left half done', exitCode: 4 }
  return { line, exitCode: 1 }
}
