import { describeError } from './describe-error.ts'

/** A database for which a call came to nothing. */
interface FailedDatabase {
  readonly database: string
  readonly error: string
  readonly exitCode: number
}

export interface EachDatabase<T> {
  readonly done: readonly T[]
  readonly failed: readonly FailedDatabase[]
  /** The worst of the failures; 0 where there is none. */
  readonly exitCode: number
}

export interface Databases<One> {
  readonly all: readonly One[]
  readonly signal: AbortSignal
  /** Told of each that failed, in one line. */
  readonly failed: (database: string, line: string) => void
}

/**
 * Does the work for one database after the other. One that fails takes nothing from the others, and the rest goes on.
 * @throws the failure itself where it is the only database; an interruption
 */
export async function eachDatabase<One extends { readonly database: string }, T>(
  { all, signal, failed: tell }: Databases<One>,
  work: (one: One) => Promise<T>,
): Promise<EachDatabase<T>> {
  const done: T[] = []
  const failed: FailedDatabase[] = []
  for (const one of all) {
    try {
      done.push(await work(one))
    } catch (error) {
      if (all.length === 1 || signal.aborted) throw error
      const { database } = one
      const { line, exitCode } = describeError(error)
      tell(database, line)
      failed.push({ database, error: line, exitCode })
    }
  }
  return { done, failed, exitCode: Math.max(0, ...failed.map((each) => each.exitCode)) }
}
