import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { type Catalog, isReadFirst, sameCatalog } from '../model/catalog.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Step } from '../model/plan.ts'
import { readCatalog, readHistory } from '../observe/rows.ts'
import { watched } from './blockers.ts'
import type { ChangeContext } from './context.ts'
import { asParticipant } from './participant-error.ts'
import { type ChangeLimits, idleLimit, type Participant } from './participants.ts'
import { beginSql, limitSql, lockSql, READ_COPY } from './statements.ts'

/** A copy as read under its lock. */
export interface LockedCopy {
  readonly participant: Participant
  /** `performance.now()` when its transaction was begun, at the latest. */
  readonly began: number
  /** As that: when its locks were asked for; inside a fence that was later. */
  readonly locksAsked: number
  readonly rows: Catalog
  readonly epoch: number
  readonly epochTimeline: number
  readonly timeline: number
  /** What is to be done here: nothing, where the copy is right already. */
  readonly steps: readonly Step[]
  /** What is still to be said before them in its transaction. */
  readonly opening: readonly string[]
}

/** The copy, or the server behind it, is no longer what the plan was made for. */
export class Outdated extends Error {
  override readonly name = 'Outdated'
  readonly code: string = SqlState.unexpectedCopy
}

const copySchema = z.object({
  rows: z.unknown(),
  epoch: z.number().int(),
  epochTimeline: z.number().int(),
  localGroup: z.number().int(),
  systemIdentifier: z.string(),
  inRecovery: z.boolean(),
  timeline: z.number().int(),
  history: z.string(),
})

/**
 * The coordinator's transaction is open already (it holds the change lock), and its locks begin the round.
 * @throws ParticipantError
 */
export async function lockCopy(
  participant: Participant,
  fence: readonly number[],
  context: ChangeContext,
  roundBegan: number | null,
): Promise<LockedCopy> {
  return await asParticipant(participant.copy.node, 'lock', () =>
    lockAndRead(participant, fence, context, roundBegan),
  )
}

async function lockAndRead(
  participant: Participant,
  fence: readonly number[],
  context: ChangeContext,
  roundBegan: number | null,
): Promise<LockedCopy> {
  const { copy, session } = participant
  const { limits } = context
  const locksAsked = performance.now()
  const since = { began: participant.fencedSince ?? locksAsked, locksAsked }
  const opening = [beginSql(participant, idleLimit(limits))]
  // Under the locks of the fence, which nobody but us has changed anything under since.
  if (participant.heldCopy !== null && context.fence?.covers(fence))
    return { ...judge(participant, since, participant.heldCopy), opening }
  const open = roundBegan === null ? [] : opening
  const results = await withinRound({ node: copy.node, session, roundBegan }, context, (limitMs) =>
    session.run(
      [...open, limitSql(limitMs), lockSql(fence), limitSql(limits.statementMs), READ_COPY].join('; '),
      limitMs + limits.lockAnswerMs,
    ),
  )
  return { ...judge(participant, since, results.at(-1)?.[0]?.copy), opening: [] }
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
  { limits, watch }: Pick<ChangeContext, 'limits' | 'watch'>,
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

/** @throws Outdated where the copy is neither what the plan expects nor right already */
function judge(
  participant: Participant,
  since: Pick<LockedCopy, 'began' | 'locksAsked'>,
  read: unknown,
): Omit<LockedCopy, 'opening'> {
  const { copy, surveyed } = participant
  const seen = copySchema.parse(read)
  const node = formatAddress(copy.node)
  const identity =
    !seen.inRecovery &&
    seen.systemIdentifier === surveyed.systemIdentifier &&
    seen.localGroup === surveyed.citus?.localGroup &&
    seen.timeline === surveyed.timeline &&
    (surveyed.history === null ||
      JSON.stringify(readHistory(seen.history)) === JSON.stringify(surveyed.history))
  if (!identity) throw new Outdated(`${node} is no longer the server that was surveyed`)
  const rows = readCatalog(seen.rows)
  const { epoch, epochTimeline, timeline } = seen
  if (sameCatalog(rows, copy.after)) {
    const steps = copy.steps.filter(({ op, nodeid }) => op === 'first' && !isReadFirst(rows, nodeid))
    return { participant, ...since, rows, epoch, epochTimeline, timeline, steps }
  }
  if (!sameCatalog(rows, copy.before)) throw new Outdated(`the copy of ${node} was changed meanwhile`)
  return { participant, ...since, rows, epoch, epochTimeline, timeline, steps: copy.steps }
}
