import { randomBytes } from 'node:crypto'
import { codeOf, mayTryAgain, messageOf } from '../db/sqlstate.ts'
import type { Ailing } from '../model/ailing.ts'
import { formatGid } from '../model/gid.ts'
import { formatAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'
import { STOP_SERVER } from '../model/server-commands.ts'
import type { ChangeContext } from './change-context.ts'
import { commitDecision, type Decided, type Decision } from './decision.ts'
import { type LockedCopy, Outdated } from './locking.ts'
import { closeOldPrimary, fenceOldPrimary, type KeptOldPrimary, shutOldPrimary } from './old-primary.ts'
import { ailingIn, failuresIn, ParticipantError } from './participant-error.ts'
import type { Sessions, Unfenceable } from './participants.ts'
import { all, lockAll } from './round.ts'
import { rollbackSql, type Stamp } from './statements.ts'
import {
  commitPrepared,
  type Flags,
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
      /** `performance.now()` of the decision. */
      readonly decidedAt: number
      readonly warnings: readonly string[]
      /** Living old primaries that may still acknowledge something, and why. */
      readonly unfenced: readonly string[]
    }
  /** A lock did not come in time; everything was rolled back. */
  | ({ readonly kind: 'locked-out' } & Failed)
  /** A copy or a server changed since the survey; everything was rolled back. */
  | ({ readonly kind: 'outdated' } & Failed)
  /** A server refused or broke; everything was rolled back, but for `leftovers`, gids that a later run rolls back. */
  | ({ readonly kind: 'failed'; readonly leftovers: readonly string[] } & Failed)
  /** The coordinator's commit got no answer and could not be looked up. */
  | { readonly kind: 'in-doubt'; readonly why: string; readonly gids: readonly string[] }

export interface Failed {
  readonly why: string
  readonly code: string | undefined
  /** Which participants failed, and with what; none where it was nobody's. */
  readonly ailing: readonly Ailing[]
}

/**
 * Carries out a plan on all copies or on none: steps 1 to 7 of the coordinated transaction. The sessions are
 * open and warm. Afterwards nothing is locked by us.
 */
export async function change(
  order: ChangeOrder,
  sessions: Sessions,
  context: ChangeContext,
): Promise<ChangeOutcome> {
  const { participants, oldPrimaries, unfenceable } = sessions
  const [coordinator, ...others] = participants
  if (!coordinator) throw new Error('a change needs the coordinator')
  const { limits, hooks } = context
  try {
    await hooks.reached('opened')
    const { first, rest, began } = await lockAll(order, coordinator, others, context)
    const kept = await all(oldPrimaries.map((old) => fenceOldPrimary(old, context, first.locksAsked)))
    await all([...kept, ...unfenceable].map((old) => requireClosed(order, old, context)))
    await hooks.reached('locked')
    const outcome = await carryOut(order, first, rest, context)
    if (outcome.kind !== 'committed') {
      await Promise.all(
        oldPrimaries.map((old) => old.session.run(rollbackSql(old), limits.statementMs).catch(ignore)),
      )
      return outcome
    }
    const closed = await all(kept.map((old) => closeOldPrimary(old, order.madeBy, context)))
    const lockedMs = performance.now() - began
    const unfenced = [...[...kept, ...unfenceable].flatMap(({ why }) => why ?? []), ...closed.flat()]
    return { ...outcome, unfenced, lockedMs }
  } catch (error) {
    const open = [...participants, ...oldPrimaries]
    await Promise.all(
      open.map((each) => each.session.run(rollbackSql(each), limits.statementMs).catch(ignore)),
    )
    return failure(error, [])
  }
}

/**
 * Step 8: Citus's own prepared transactions came to the promoted node with the WAL, and keep their locks there until
 * Citus's recovery comes round. Asking for it now is a service: if it fails, that comes as ever. Not on an expand
 * coordinator with a copy of its own: it is of group 0 too, and would roll back what the coordinator has prepared.
 */
export async function recoverCitus({ participants }: Sessions, { limits }: ChangeContext): Promise<void> {
  const ask = 'SELECT citus_ha.recover_citus_transactions()'
  const open = participants.filter(({ copy, session }) => session.alive && copy.role !== 'expand coordinator')
  await Promise.all(open.map(({ session }) => session.run(ask, limits.statementMs).catch(ignore)))
}

async function carryOut(
  order: ChangeOrder,
  first: LockedCopy,
  rest: readonly LockedCopy[],
  context: ChangeContext,
): Promise<ChangeOutcome> {
  requireWork([first, ...rest])
  const stamp = stampOf(first, rest, order.plan.leader?.vouched === true)
  const random = randomBytes(4).toString('hex')
  const prepared = rest.map((locked, n): Prepared => {
    const { cluster, plan } = order
    return {
      locked,
      gid: formatGid({ cluster, database: plan.database, ...stamp, random, participant: n + 1 }),
    }
  })
  const gids = prepared.map(({ gid }) => gid)
  const decision = decisionOf(order, first, stamp, gids)
  for (const gid of gids) context.inFlight.add(gid)
  // What is rewritten can't be taken back without the fence.
  context.fence?.spend()
  let decided: Decided
  try {
    await rewriteEverywhere(first, prepared, decision, order.plan, context)
    decided = await commitDecision(first.participant, decision, context)
    if (decided.kind === 'refused') throw Object.assign(new Error(decided.why), { code: decided.code })
  } catch (error) {
    return failure(error, await undoAll(first, prepared, context))
  }
  // From here on nothing is undone: it was decided, or may have been.
  if (decided.kind === 'unanswered') return { kind: 'in-doubt', why: decided.why, gids }
  const decidedAt = performance.now()
  await context.hooks.reached('decided')
  const unfinished = await finish(prepared, context)
  const warnings = [...decided.warnings, ...unfinished]
  return { kind: 'committed', epoch: stamp.epoch, lockedMs: 0, decidedAt, warnings, unfenced: [] }
}

function decisionOf(
  { plan, reason, evidence, madeBy }: ChangeOrder,
  first: LockedCopy,
  stamp: Stamp,
  gids: readonly string[],
): Decision {
  const { proofs, remedies, remediesEnded } = plan
  const groups = [...new Set(plan.changes.map((change) => change.group))]
  const images = { before: first.rows, after: first.participant.copy.after }
  return { ...stamp, ...images, gids, groups, reason, evidence, madeBy, proofs, remedies, remediesEnded }
}

/**
 * A copy that is left out goes on sending writes to a group's old primary: only where that one takes no more of them. Else
 * that group has to wait, and others do without it.
 * @throws ParticipantError of the new primary, saying what to stop
 */
async function requireClosed(
  { plan, madeBy }: ChangeOrder,
  { old, why }: KeptOldPrimary | Unfenceable,
  context: ChangeContext,
): Promise<void> {
  const out = plan.leftOut.find(({ sendsAstray }) => sendsAstray.includes(old.group))
  if (!out) return
  const open = 'session' in old && why === null ? await shutOldPrimary(old, madeBy, context) : why
  if (open === null) return
  const [node, at] = [out.node, old.node].map(formatAddress)
  const text = `${node} takes no part (${out.why}) and would still send writes to ${at}, which is running and cannot be closed (${open}): stop ${at}, there: ${STOP_SERVER}; then run: citus-ha reconcile`
  throw new ParticipantError(old.successor, 'close', new Error(text))
}

/** Another instance was faster: what this plan was to write is there already. */
function requireWork(copies: readonly LockedCopy[]): void {
  const planned = copies.some(({ participant }) => participant.copy.steps.length > 0)
  if (planned && copies.every(({ steps }) => steps.length === 0))
    throw new Outdated('another run has already made this change')
}

/**
 * One epoch above everything any copy has seen. A coordinator behind a newer coordinator's work must not act, unless a person
 * vouched for it: then that work was given up.
 */
function stampOf(first: LockedCopy, rest: readonly LockedCopy[], isVouched: boolean): Stamp {
  const copies = [first, ...rest]
  const ahead = isVouched ? undefined : copies.find((copy) => copy.epochTimeline > first.timeline)
  if (ahead) {
    const node = formatAddress(ahead.participant.copy.node)
    throw new Outdated(
      `${node} has taken part in a change under coordinator timeline ${ahead.epochTimeline}, but this coordinator is on timeline ${first.timeline}`,
    )
  }
  return { timeline: first.timeline, epoch: Math.max(...copies.map((copy) => copy.epoch)) + 1 }
}

async function rewriteEverywhere(
  first: LockedCopy,
  prepared: readonly Prepared[],
  decision: Decision,
  flags: Flags,
  context: ChangeContext,
): Promise<void> {
  const each = prepared.map(async (one, n) => {
    await rewriteAndPrepare(one, decision, flags, context)
    await context.hooks.reached(`prepared:${n + 1}`)
  })
  await all([rewriteCoordinator(first, decision, flags, context), ...each])
  await context.hooks.reached('all-prepared')
}

async function finish(prepared: readonly Prepared[], context: ChangeContext): Promise<string[]> {
  const unfinished = await all(
    prepared.map(async (one, n) => {
      const why = await commitPrepared(one, context)
      if (why === null) context.inFlight.delete(one.gid)
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
  const undone = await Promise.all(prepared.map((one) => undo(one, context)))
  await coordinator
  const leftovers = undone.filter((gid) => gid !== null)
  for (const { gid } of prepared) if (!leftovers.includes(gid)) context.inFlight.delete(gid)
  return leftovers
}

function failure(error: unknown, leftovers: readonly string[]): ChangeOutcome {
  const failures = failuresIn(error)
  const failed = { why: messageOf(error), code: codeOf(error), ailing: ailingIn(error) }
  if (leftovers.length === 0 && failures.every((each) => mayTryAgain(codeOf(each))))
    return { kind: 'locked-out', ...failed }
  const isOutdated = (each: unknown) => causeOf(each) instanceof Outdated
  if (leftovers.length === 0 && failures.every(isOutdated)) return { kind: 'outdated', ...failed }
  return { kind: 'failed', ...failed, leftovers }
}

const causeOf = (error: unknown): unknown => (error instanceof ParticipantError ? error.cause : error)

const ignore = (): void => undefined
