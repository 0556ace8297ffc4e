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

export interface Databases {
  readonly names: readonly string[]
  readonly signal: AbortSignal
  /** Told of each that failed, in one line. */
  readonly failed: (line: string) => void
}

/**
 * Does the work for one database after the other. One that fails takes nothing from the others, and the rest goes on.
 * @throws the failure itself where it is the only database; an interruption
 */
export async function eachDatabase<T>(
  { names, signal, failed: tell }: Databases,
  work: (database: string) => Promise<T>,
): Promise<EachDatabase<T>> {
  const done: T[] = []
  const failed: FailedDatabase[] = []
  for (const database of names) {
    try {
      done.push(await work(database))
    } catch (error) {
      if (names.length === 1 || signal.aborted) throw error
      const { line, exitCode } = describeError(error)
      tell(`database ${database}: ${line}`)
      failed.push({ database, error: line, exitCode })
    }
  }
  return { done, failed, exitCode: Math.max(0, ...failed.map((each) => each.exitCode)) }
}
