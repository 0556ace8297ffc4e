import { randomBytes } from 'node:crypto'
import { SessionLost } from '../db/pg.ts'
import { codeOf, mayTryAgain } from '../db/sqlstate.ts'
import { formatGid } from '../model/gid.ts'
import { formatAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'
import { resolveInDoubt } from '../recover/recover.ts'
import type { ChangeContext } from './context.ts'
import { decide } from './decision.ts'
import { type LockedCopy, lockCopy, Outdated } from './locking.ts'
import type { Participant } from './participants.ts'
import { BEGIN, type Stamp, TAKE_CHANGE_LOCK } from './statements.ts'
import {
  commitPrepared,
  type Images,
  messageOf,
  type Prepared,
  rewriteAndPrepare,
  rewriteCoordinator,
  undo,
} from './two-phase.ts'

export interface ChangeOrder {
  readonly plan: Plan
  /** As in gids. */
  readonly cluster: string
  readonly reason: string
  readonly evidence: readonly string[]
  readonly madeBy: string
}

export type ChangeOutcome =
  | {
      readonly kind: 'committed'
      readonly epoch: number
      /** From the first lock to the last commit, in milliseconds. */
      readonly lockedMs: number
      readonly warnings: readonly string[]
    }
  /** A lock did not come in time; everything was rolled back. */
  | { readonly kind: 'locked-out'; readonly why: string }
  /** A copy or a server changed since the survey; everything was rolled back. */
  | { readonly kind: 'outdated'; readonly why: string }
  /** A server refused or broke; everything was rolled back, but for `leftovers`, gids that a later run rolls back. */
  | {
      readonly kind: 'failed'
      readonly why: string
      readonly code: string | undefined
      readonly leftovers: readonly string[]
    }
  /** The coordinator's commit got no answer and could not be looked up. */
  | { readonly kind: 'in-doubt'; readonly why: string; readonly gids: readonly string[] }

/**
 * Carries out a plan on all copies or on none: steps 1 to 6 of the coordinated transaction. The sessions are
 * open and warm, the coordinator's first. Afterwards nothing is locked by us.
 */
export async function change(
  order: ChangeOrder,
  participants: readonly Participant[],
  context: ChangeContext,
): Promise<ChangeOutcome> {
  const [coordinator, ...others] = participants
  if (!coordinator) throw new Error('a change needs the coordinator')
  const { limits, hooks } = context
  try {
    await hooks.reached('opened')
    await coordinator.session.run(`${BEGIN}; ${TAKE_CHANGE_LOCK}`, limits.statementMs)
    // COMMIT PREPARED can't run inside a transaction, and the coordinator's is open: it has nothing prepared.
    const reached = participants.map(({ copy, session }) => ({ node: copy.node, session }))
    await resolveInDoubt(
      { cluster: order.cluster, database: order.plan.database },
      reached,
      limits.statementMs,
    )
    const first = await lockCopy(coordinator, order.plan.fence, limits, 'opened')
    const began = performance.now()
    const rest = await all(others.map((other) => lockCopy(other, order.plan.fence, limits, 'begin')))
    await hooks.reached('locked')
    const outcome = await carryOut(order, first, rest, context)
    return outcome.kind === 'committed' ? { ...outcome, lockedMs: performance.now() - began } : outcome
  } catch (error) {
    await Promise.all(
      participants.map(({ session }) => session.run('ROLLBACK', limits.statementMs).catch(ignore)),
    )
    return failure(error, [])
  }
}

async function carryOut(
  order: ChangeOrder,
  first: LockedCopy,
  rest: readonly LockedCopy[],
  context: ChangeContext,
): Promise<ChangeOutcome> {
  const { plan, cluster, reason, evidence, madeBy } = order
  const stamp = stampOf(first, rest)
  const random = randomBytes(4).toString('hex')
  const prepared = rest.map((locked, n): Prepared => {
    return {
      locked,
      gid: formatGid({ cluster, database: plan.database, ...stamp, random, participant: n + 1 }),
    }
  })
  const gids = prepared.map(({ gid }) => gid)
  try {
    const images = await rewriteEverywhere(first, prepared, stamp, plan, context)
    const groups = [...new Set(plan.changes.map((change) => change.group))]
    const { proofs, remedies, remediesEnded } = plan
    const decision = {
      ...stamp,
      ...images,
      gids,
      groups,
      reason,
      evidence,
      madeBy,
      proofs,
      remedies,
      remediesEnded,
    }
    const decided = await decide(first.participant, decision, context)
    if (decided.kind === 'unanswered') return { kind: 'in-doubt', why: decided.why, gids }
    if (decided.kind === 'decided') {
      await context.hooks.reached('decided')
      const unfinished = await finish(prepared, context)
      return {
        kind: 'committed',
        epoch: stamp.epoch,
        lockedMs: 0,
        warnings: [...decided.warnings, ...unfinished],
      }
    }
    return failure(
      Object.assign(new Error(decided.why), { code: decided.code }),
      await undoAll(first, prepared, context),
    )
  } catch (error) {
    return failure(error, await undoAll(first, prepared, context))
  }
}

/** One epoch above everything any copy has seen. A coordinator behind a newer coordinator's work must not act. */
function stampOf(first: LockedCopy, rest: readonly LockedCopy[]): Stamp {
  const copies = [first, ...rest]
  const ahead = copies.find((copy) => copy.epochTimeline > first.timeline)
  if (ahead) {
    const node = formatAddress(ahead.participant.copy.node)
    throw new Outdated(
      `${node} has taken part in a change under coordinator timeline ${ahead.epochTimeline}; this coordinator is on ${first.timeline}`,
    )
  }
  return { timeline: first.timeline, epoch: Math.max(...copies.map((copy) => copy.epoch)) + 1 }
}

async function rewriteEverywhere(
  first: LockedCopy,
  prepared: readonly Prepared[],
  stamp: Stamp,
  plan: Plan,
  context: ChangeContext,
): Promise<Images> {
  const own = rewriteCoordinator(first, stamp, plan.unsynced, context)
  const each = prepared.map(async (one, n) => {
    await rewriteAndPrepare(one, stamp, plan.unsynced, context)
    await context.hooks.reached(`prepared:${n + 1}`)
  })
  await all<unknown>([own, ...each])
  await context.hooks.reached('all-prepared')
  return await own
}

async function finish(prepared: readonly Prepared[], context: ChangeContext): Promise<string[]> {
  const unfinished = await all(
    prepared.map(async (one, n) => {
      const why = await commitPrepared(one, context)
      await context.hooks.reached(`committed:${n + 1}`)
      return why
    }),
  )
  return unfinished.filter((why) => why !== null)
}

async function undoAll(
  first: LockedCopy,
  prepared: readonly Prepared[],
  context: ChangeContext,
): Promise<string[]> {
  const coordinator = first.participant.session.run('ROLLBACK', context.limits.statementMs).catch(ignore)
  const leftovers = await Promise.all(prepared.map((one) => undo(one, context)))
  await coordinator
  return leftovers.filter((gid) => gid !== null)
}

function failure(error: unknown, leftovers: readonly string[]): ChangeOutcome {
  const code = codeOf(error)
  if (leftovers.length === 0 && mayTryAgain(code)) return { kind: 'locked-out', why: messageOf(error) }
  if (leftovers.length === 0 && error instanceof Outdated) return { kind: 'outdated', why: error.message }
  return { kind: 'failed', why: messageOf(error), code, leftovers }
}

/** Like `Promise.all`, but never leaves one running: a later failure must not meet a participant at work. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises)
  const failed = results.filter((result) => result.status === 'rejected')
  const [first] = failed.filter((result) => result.reason instanceof SessionLost).concat(failed)
  if (first) throw first.reason
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}

const ignore = (): void => undefined
