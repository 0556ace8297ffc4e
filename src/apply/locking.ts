import { z } from 'zod'
import { SqlState } from '../db/sqlstate.ts'
import { type Catalog, isReadFirst, sameCatalog } from '../model/catalog.ts'
import { formatAddress } from '../model/node.ts'
import type { Step } from '../model/plan.ts'
import { readCatalog, readHistory } from '../observe/rows.ts'
import type { ChangeContext } from './change-context.ts'
import { asParticipant } from './participant-error.ts'
import { idleLimit, type Participant } from './participants.ts'
import { beginSql, limitSql, lockSql, READ_COPY } from './statements.ts'
import { withinRound } from './within-round.ts'

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
