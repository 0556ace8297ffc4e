import { ConfigError } from '../config/config-error.ts'
import { redact } from '../config/redact.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { CitusHaError, exitCodeOfFailure } from '../model/failure.ts'

/** One line for people, without a stack trace and without passwords, and the exit code. */
export function describeError(error: unknown): { readonly line: string; readonly exitCode: number } {
  const message = error instanceof Error ? error.message : String(error)
  const [first] = redact(message).split('\n')
  const line = first || 'failed'
  if (error instanceof ConfigError || isForbidden(error)) return { line, exitCode: 2 }
  if (error instanceof CitusHaError) return { line, exitCode: exitCodeOfFailure(error.code) }
  if (error instanceof Error && error.name === 'AbortError')
    return { line: 'interrupted; nothing is left half done', exitCode: 4 }
  return { line, exitCode: 1 }
}

/** What the role lacks is the configuration's matter (`FailureCode`), wherever a server says so. */
export function isForbidden(error: unknown): boolean {
  return codeOf(error) === SqlState.insufficientPrivilege
}
