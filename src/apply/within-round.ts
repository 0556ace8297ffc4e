import type { SessionLike } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { type Watch, watched } from './blockers.ts'
import type { ChangeLimits } from './participants.ts'

/** How long locks are waited for, and who is asked about whoever is in the way. */
export interface LockWaits {
  readonly limits: ChangeLimits
  readonly watch: Watch
}

export interface Waiting {
  readonly node: HostPort
  readonly session: SessionLike
  /** `performance.now()` when this round's first lock was asked for; null: it is this one. */
  readonly roundBegan: number | null
}

/**
 * Waits for locks no longer than what is left of a round's `lockTimeout`, or half of it, where earlier ones of the round
 * took longer: writers queue behind those meanwhile. Whoever keeps it waiting is asked for.
 * @throws the server's error; for locks that were late as a whole it is 55P03, as for a single one
 */
export async function withinRound<T>(
  { node, session, roundBegan }: Waiting,
  { limits, watch }: LockWaits,
  work: (limitMs: number) => Promise<T>,
): Promise<T> {
  const { lockTimeoutMs } = limits
  const gone = roundBegan === null ? 0 : performance.now() - roundBegan
  const limitMs = Math.max(lockTimeoutMs / 2, lockTimeoutMs - gone)
  try {
    return await watched(watch, node, session.pid, limitMs, () => work(limitMs))
  } catch (error) {
    if (codeOf(error) !== SqlState.queryCanceled) throw error
    const why = `${formatAddress(node)}: not all locks came within ${Math.ceil(limitMs)} ms (apply.lockTimeout)`
    throw Object.assign(new Error(why, { cause: error }), { code: SqlState.lockNotAvailable })
  }
}

/**
 * A metadata sync of Citus that holds the coordinator's copy may hang on a node: it is sent away.
 * @param begin which brings the session to where it has the change lock, and nothing else
 * @returns whether there was one: it comes back soon, so what it held is asked for at once
 */
export async function sendSyncAway(
  session: SessionLike,
  begin: string,
  { lockTimeoutMs, statementMs }: ChangeLimits,
): Promise<boolean> {
  const sql = `${begin}; SELECT citus_ha.cancel_metadata_sync()`
  const cancelled = (await session.run(sql, lockTimeoutMs + statementMs)).at(-1)
  return (cancelled?.length ?? 0) > 0
}
