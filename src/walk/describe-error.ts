import { ConfigError } from '../config/config-error.ts'
import { redact } from '../config/redact.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { CitusHaError, exitCodeOfFailure } from '../model/failure.ts'
import { tooManyFiles } from '../model/too-many-files.ts'

export interface DescribedError {
  readonly line: string
  /** Of several problems each by itself; else `line` alone. */
  readonly lines: readonly string[]
  readonly exitCode: number
}

/** One line for people, without a stack trace and without passwords, and the exit code. */
export function describeError(error: unknown): DescribedError {
  if (error instanceof ConfigError) {
    const lines = error.problems.map(oneLine)
    return { line: lines.join('; '), lines, exitCode: 2 }
  }
  const { line, exitCode } = describeOne(error)
  const several = error instanceof CitusHaError ? error.lines : null
  return { line, lines: several?.map(oneLine) ?? [line], exitCode }
}

function oneLine(message: string): string {
  return redact(message).split('\n')[0] || 'failed'
}

function describeOne(error: unknown): { readonly line: string; readonly exitCode: number } {
  const line = oneLine(error instanceof Error ? error.message : String(error))
  if (isForbidden(error)) return { line, exitCode: 2 }
  if (error instanceof CitusHaError) return { line, exitCode: exitCodeOfFailure(error.code) }
  if (error instanceof Error && error.name === 'AbortError')
    return { line: 'interrupted; nothing was left unfinished', exitCode: 4 }
  const limit = tooManyFiles(error)
  return limit === null ? { line, exitCode: 1 } : { line: limit, exitCode: 2 }
}

/** What the role lacks is the configuration's matter (`FailureCode`), wherever a server says so. */
export function isForbidden(error: unknown): boolean {
  return codeOf(error) === SqlState.insufficientPrivilege
}
