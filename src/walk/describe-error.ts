import { ConfigError } from '../config/config-error.ts'
import { redact } from '../config/redact.ts'
import { CitusHaError, exitCodeOfFailure } from '../model/failure.ts'

/** One line for people, without a stack trace and without passwords, and the exit code. */
export function describeError(error: unknown): { readonly line: string; readonly exitCode: number } {
  const message = error instanceof Error ? error.message : String(error)
  const [first] = redact(message).split('\n')
  const line = first || 'failed'
  if (error instanceof ConfigError) return { line, exitCode: 2 }
  if (error instanceof CitusHaError) return { line, exitCode: exitCodeOfFailure(error.code) }
  if (error instanceof Error && error.name === 'AbortError')
    return { line: 'interrupted; nothing is left half done', exitCode: 4 }
  return { line, exitCode: 1 }
}
