import { daemonRuns } from '../apply/participants.ts'
import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import type { SessionLike } from '../db/pg.ts'
import type { Answered } from '../model/observation.ts'
import type { Access } from './access.ts'
import type { WalkRequest } from './walk-request.ts'

const STATEMENT_MS = 2000

/**
 * A session to the coordinator for transactions of one message that change rows there alone, with every wait limited by
 * the server, and by us a little later. `synchronous_commit = local`: what is lost with the coordinator is done again.
 * @throws what the driver or the server says
 */
export async function openForRows(
  access: Access,
  { database, lockTimeoutMs }: WalkRequest,
  { address }: Answered,
): Promise<SessionLike> {
  const session = await access.open(address, database)
  const settings = [
    `SET lock_timeout = ${Math.ceil(lockTimeoutMs)}`,
    // For the message as a whole before PostgreSQL 13: the change lock, the table's, and the work.
    `SET statement_timeout = ${Math.ceil(2 * lockTimeoutMs + STATEMENT_MS)}`,
    `SET idle_in_transaction_session_timeout = ${STATEMENT_MS}`,
    'SET synchronous_commit = local',
  ]
  try {
    await session.run(settings.join('; '), STATEMENT_MS)
    await daemonRuns(session, { statementMs: STATEMENT_MS })
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}

/** Runs one statement under the change lock, and commits. After an error the session is to be closed. @returns its first row */
export async function changeRows(session: SessionLike, sql: string, { lockTimeoutMs }: WalkRequest) {
  const message = [BEGIN, TAKE_CHANGE_LOCK, sql, 'COMMIT'].join('; ')
  const limitMs = 2 * lockTimeoutMs + 2 * STATEMENT_MS
  const [, , rows] = await session.run(message, limitMs)
  return rows?.[0]
}
