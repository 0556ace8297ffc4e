import { databasesOf, type Session } from './cluster.ts'
import { describeError } from './exit-codes.ts'
import type { Io } from './io.ts'

/** A database for which a command came to nothing. */
export interface FailedDatabase {
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

/**
 * Does the work for one database after the other. One that fails takes nothing from the others: it is told on stderr, in a
 * line, and the rest goes on.
 * @throws the failure itself where it is the only database; an interruption
 */
export async function eachDatabase<T>(
  session: Session,
  io: Io,
  work: (session: Session) => Promise<T>,
): Promise<EachDatabase<T>> {
  const names = await databasesOf(session)
  const done: T[] = []
  const failed: FailedDatabase[] = []
  for (const database of names) {
    try {
      done.push(await work({ ...session, database }))
    } catch (error) {
      if (names.length === 1 || io.signal.aborted) throw error
      const { line, exitCode } = describeError(error)
      io.stderr.write(`citus-ha: database ${database}: ${line}\n`)
      failed.push({ database, error: line, exitCode })
    }
  }
  return { done, failed, exitCode: Math.max(0, ...failed.map((each) => each.exitCode)) }
}
