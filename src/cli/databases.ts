import { type EachDatabase, eachDatabase as each } from '../walk/each-database.ts'
import { databasesOf, type Session } from './cluster.ts'
import { type Io, plain } from './io.ts'

/**
 * Does a command's work for one database after the other. One that fails takes nothing from the others: it is told on
 * stderr, in a line, and the rest goes on.
 * @param given the databases, where they are known already
 * @throws the failure itself where it is the only database; an interruption
 */
export async function eachDatabase<T>(
  session: Session,
  io: Io,
  work: (session: Session) => Promise<T>,
  given?: readonly string[],
): Promise<EachDatabase<T>> {
  const names = given ?? (await databasesOf(session))
  const all = names.map((database) => ({ ...session, database }))
  const failed = (database: string, line: string) =>
    void io.stderr.write(`citus-ha: database ${plain(database)}: ${plain(line)}\n`)
  return await each({ all, signal: io.signal, failed }, work)
}
