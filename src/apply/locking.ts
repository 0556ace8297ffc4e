import { z } from 'zod'
import type { Row } from '../db/pg.ts'
import { type Catalog, sameCatalog } from '../model/catalog.ts'
import { formatAddress } from '../model/node.ts'
import type { Step } from '../model/plan.ts'
import { readCatalog, readHistory } from '../observe/rows.ts'
import { watched } from './blockers.ts'
import type { ChangeContext } from './context.ts'
import type { Participant } from './participants.ts'
import { BEGIN, lockSql, READ_COPY } from './statements.ts'

/** A copy as read under its lock. */
export interface LockedCopy {
  readonly participant: Participant
  /** `performance.now()` when its transaction was begun, at the latest. */
  readonly began: number
  readonly rows: Catalog
  readonly epoch: number
  readonly epochTimeline: number
  readonly timeline: number
  /** What is to be done here: nothing, where the copy is right already. */
  readonly steps: readonly Step[]
}

/** The copy, or the server behind it, is no longer what the plan was made for. */
export class Outdated extends Error {
  override readonly name = 'Outdated'
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

/** The coordinator's transaction is open already (it holds the advisory lock). */
export async function lockCopy(
  participant: Participant,
  fence: readonly number[],
  { limits, watch }: ChangeContext,
  open: 'begin' | 'opened',
): Promise<LockedCopy> {
  const { copy, session } = participant
  const sql = [...(open === 'begin' ? [BEGIN] : []), lockSql(fence), READ_COPY].join('; ')
  const began = performance.now()
  const results = await watched(watch, copy.node, session.pid, limits.lockTimeoutMs, () =>
    session.run(sql, limits.lockTimeoutMs + limits.lockAnswerMs),
  )
  return judge(participant, began, results.at(-1)?.[0])
}

/** @throws Outdated where the copy is neither what the plan expects nor right already */
function judge(participant: Participant, began: number, row: Row | undefined): LockedCopy {
  const { copy, surveyed } = participant
  const seen = copySchema.parse(row?.copy)
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
  if (sameCatalog(rows, copy.after))
    return { participant, began, rows, epoch, epochTimeline, timeline, steps: [] }
  if (!sameCatalog(rows, copy.before)) throw new Outdated(`the copy of ${node} was changed meanwhile`)
  return { participant, began, rows, epoch, epochTimeline, timeline, steps: copy.steps }
}
