import { type DescribedError, describeError } from '../walk/describe-error.ts'
import { exitCodeOfInterruption } from './interrupted.ts'

/** Why a command came to no outcome, and its exit code: a signal's own where it was given up for that. */
export function failureOf(error: unknown, signal: AbortSignal): Pick<DescribedError, 'lines' | 'exitCode'> {
  const { lines, exitCode } = describeError(error)
  // What was refused or blocked before, or undone, has a code of its own.
  const isGivenUp = exitCode === 1 || (error instanceof Error && error.name === 'AbortError')
  return { lines, exitCode: (isGivenUp && exitCodeOfInterruption(signal)) || exitCode }
}
