import { SessionLost } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'
import { resolveInDoubt } from '../recover/recover.ts'
import { watched } from './blockers.ts'
import type { ChangeContext } from './change-context.ts'
import { type LockedCopy, lockCopy } from './locking.ts'
import { asParticipant, failuresIn, ParticipantError, SeveralFailed } from './participant-error.ts'
import { type ChangeLimits, idleLimit, type Participant } from './participants.ts'
import { beginSql, lockTimeoutSql, rollbackSql, TAKE_CHANGE_LOCK } from './statements.ts'
import { sendSyncAway } from './within-round.ts'

/** What a round of locks is for. */
export interface RoundOrder {
  readonly plan: Plan
  /** As in gids. */
  readonly cluster: string
}

/** Every copy, locked and read. */
export interface Locked {
  readonly first: LockedCopy
  readonly rest: readonly LockedCopy[]
  /** `performance.now()` when the first of them was locked. */
  readonly began: number
}

/** Steps 1 to 3. Inside a fence that holds every copy no order is to be kept any more: they are only read, where the fence has not done so. */
export async function lockAll(
  order: RoundOrder,
  coordinator: Participant,
  others: readonly Participant[],
  context: ChangeContext,
): Promise<Locked> {
  const { fence } = order.plan
  const isHeld =
    context.fence?.holdsCopies && [coordinator, ...others].every((each) => each.fencedSince !== null)
  if (isHeld) {
    const began = performance.now()
    const [first, ...rest] = await all(
      [coordinator, ...others].map((each) => lockCopy(each, fence, context, began)),
    )
    if (first) return { first, rest, began }
  }
  await takeChangeLock(order, [coordinator, ...others], context)
  const first = await lockFirst(coordinator, fence, context)
  const began = performance.now()
  const rest = await all(others.map((other) => lockCopy(other, fence, context, first.locksAsked)))
  return { first, rest, began }
}

/** Step 1: one change at a time; what an earlier one left is resolved before anything is locked. */
async function takeChangeLock(
  { cluster, plan }: RoundOrder,
  participants: readonly Participant[],
  { limits, watch }: ChangeContext,
): Promise<void> {
  const [coordinator] = participants
  if (!coordinator) return
  const { copy, session } = coordinator
  await asParticipant(copy.node, 'lock', () =>
    watched(watch, copy.node, session.pid, limits.lockTimeoutMs, () =>
      session.run(
        `${beginSql(coordinator, idleLimit(limits))}; ${changeLockSql(coordinator, limits)}`,
        limits.lockTimeoutMs + limits.statementMs,
      ),
    ),
  )
  // COMMIT PREPARED can't run inside a transaction. The coordinator's is open: it has nothing prepared. Those in a
  // fence are open as well: what is left there keeps this round from its locks, and is resolved before the next one.
  const free = participants.filter((each) => each === coordinator || each.fencedSince === null)
  const reached = free.map((each) => ({ node: each.copy.node, session: each.session }))
  // Not waited for: what a change that died still holds keeps this round out, and the next one resolves it.
  // Nor is one that can't be asked: it fails at its lock next, by its name.
  const waits = { answerMs: () => limits.statementMs, endingMs: 0, unasked: () => undefined }
  await resolveInDoubt({ cluster, database: plan.database }, reached, waits)
}

/** Inside a fence it is waited for in the line: whoever has it is in vain, since he needs the locks of the fence. */
function changeLockSql({ fencedSince }: Participant, { lockTimeoutMs, statementMs }: ChangeLimits): string {
  if (fencedSince === null) return TAKE_CHANGE_LOCK
  const longer = Math.max(lockTimeoutMs, statementMs / 2)
  return [lockTimeoutSql(longer), TAKE_CHANGE_LOCK, lockTimeoutSql(lockTimeoutMs)].join('; ')
}

/** A metadata sync of Citus gets on in less, unless it waits for a node that hangs: age of its transaction, in milliseconds. */
const SYNC_MS = 500

/** It makes copies right by itself, and sent away it comes back after seconds (`citus.metadata_sync_retry_interval`). */
function isSyncYoung(node: HostPort, { watch }: ChangeContext): boolean {
  // Anybody may have its name: one that is young says nothing of another.
  const syncs = watch.seen.filter(
    ({ node: at, application }) => sameAddress(at, node) && application === 'Citus Metadata Sync Daemon',
  )
  return syncs.length > 0 && syncs.every(({ ageMs }) => (ageMs ?? SYNC_MS) < SYNC_MS)
}

/** The coordinator's copy, which a metadata sync of Citus may hold. */
async function lockFirst(
  coordinator: Participant,
  fence: readonly number[],
  context: ChangeContext,
): Promise<LockedCopy> {
  try {
    return await lockCopy(coordinator, fence, context, null)
  } catch (error) {
    if (codeOf(error) !== SqlState.lockNotAvailable || isSyncYoung(coordinator.copy.node, context))
      throw error
    const anew = [
      rollbackSql(coordinator),
      beginSql(coordinator, idleLimit(context.limits)),
      TAKE_CHANGE_LOCK,
    ].join('; ')
    if (!(await sendSyncAway(coordinator.session, anew, context.limits))) throw error
    // At once, before it comes back: a survey takes longer than that while a node hangs.
    return await lockCopy(coordinator, fence, context, null)
  }
}

/**
 * Like `Promise.all`, but never leaves one running: a later failure must not meet a participant at work.
 * @throws SeveralFailed
 */
export async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises)
  const failed = results.filter((result) => result.status === 'rejected')
  if (failed.length > 0) {
    const reasons = failed.flatMap((result) => failuresIn(result.reason))
    const isLost = (error: unknown) => error instanceof ParticipantError && error.cause instanceof SessionLost
    throw new SeveralFailed([...reasons.filter(isLost), ...reasons.filter((error) => !isLost(error))])
  }
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}
