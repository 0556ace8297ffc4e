import { parseGid } from '../model/gid.ts'
import { intentsIn } from '../model/intents.ts'
import { formatAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import { leftRunning } from '../model/retired.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { settleIntents } from '../walk/intents.ts'
import { clusterName, type View } from '../walk/look.ts'
import { recoverNow } from '../walk/recovery.ts'
import { retireLeft } from '../walk/retire.ts'
import { walk } from '../walk/walk.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import type { Acted } from './event.ts'

/** One walk of a watcher, and what came of it. */
export interface Attempt {
  readonly failed: boolean
  /** It came to its end, and left a copy out: what is to be done about that is seen by looking again. */
  readonly leftOut: boolean
  /** null: it ended with `error`. */
  readonly report: Report | null
  /** Whether it changed something, or should have. */
  readonly told: boolean
  readonly error: unknown
  /** Groups of which the primary's row moved. */
  readonly changed: readonly number[]
  readonly stages: Acted['stages']
}

/** A promotion as it was noticed. */
export interface Promotion {
  /** `performance.now()` */
  readonly noticedAt: number
  /** How long before that, at most, the node was still in recovery; milliseconds. */
  readonly ageMs: number
}

/** Longer, and a group that is blocked would keep the others waiting; it is tried again later. */
const PATIENCE_MS = 2000
const NO_STAGES: Acted['stages'] = { noticedMs: null, decidedMs: null, rightMs: null }

/**
 * Walks once, with little patience. Never throws.
 * @param promotions the last one that was noticed of each node, by its address
 */
export async function attempt(
  access: Access,
  request: WalkRequest,
  promotions: ReadonlyMap<string, Promotion>,
): Promise<Attempt> {
  let decidedAt: number | null = null
  const hooks = {
    reached: async (point: string) => {
      if (point === 'decided') decidedAt = performance.now()
      await request.hooks.reached(point)
    },
  }
  const deadlineMs = Math.min(PATIENCE_MS, request.deadlineMs)
  try {
    const report = await walk(access, { ...request, hooks, deadlineMs })
    const committed = report.epoch !== null
    const failed = !committed && (report.outcome === 'blocked' || report.outcome === 'unproved')
    // Only a primary that moved is left to settle: what is done about a secondary must not delay the next promotion.
    const moved = report.changes.filter((change) => change.kind === 'primary-moved')
    const changed = committed ? [...new Set(moved.map((change) => change.group))] : []
    const stages = stagesOf(report, decidedAt, promotions)
    const told = committed || failed || report.changes.length > 0
    const leftOut = committed && report.outcome === 'unproved'
    return { failed, leftOut, report, told, error: null, changed, stages }
  } catch (error) {
    return { failed: true, leftOut: false, report: null, told: false, error, changed: [], stages: NO_STAGES }
  }
}

/**
 * Finishes, without a walk, what earlier changes left prepared: commits what was decided and rolls back the rest. Never
 * throws. What has to be left as it is counts as failed: it is not to be tried again at once.
 */
export async function recover(access: Access, request: WalkRequest, view: View): Promise<Attempt> {
  const ended = { leftOut: false, report: null, told: false, changed: [], stages: NO_STAGES }
  try {
    const clock = new Clock(Math.min(PATIENCE_MS, request.deadlineMs))
    const resolved = await recoverNow(access, request, view, 'resolve', clock)
    for (const { node, resolution, failed } of resolved) {
      const { action, why } = resolution
      // A name that citus-ha did not give is a client's text, which a log is not to have.
      const isOurs =
        parseGid(resolution.gid, clusterName(request, view.coordinator), request.database) !== null
      const gid = isOurs ? resolution.gid : 'a prepared transaction that is not citus-ha’s'
      request.progress(
        `${formatAddress(node)}: ${action} ${gid}: ${why}${failed ? `: failed: ${failed}` : ''}`,
      )
    }
    const settled = await settleIntents(access, request, view.survey, clock)
    for (const { line } of settled) request.progress(line)
    const running = await retireLeft(access, request, view)
    for (const line of [...running.failed, ...running.warnings]) request.progress(line)
    const failed =
      running.failed.length > 0 ||
      settled.some(({ what }) => what === 'left') ||
      resolved.some((each) => each.failed !== null || each.resolution.action === 'leave')
    return { ...ended, failed, error: null }
  } catch (error) {
    return { ...ended, failed: true, error }
  }
}

/** Measured from the promotion of the node to which a primary's row moved: when it was last seen in recovery. */
function stagesOf(
  report: Report,
  decidedAt: number | null,
  promotions: ReadonlyMap<string, Promotion>,
): Acted['stages'] {
  const moved = report.changes.filter((change) => change.kind === 'primary-moved')
  const [first] = moved.flatMap(({ to }) => promotions.get(to) ?? [])
  if (!first || decidedAt === null) return NO_STAGES
  const decidedMs = decidedAt - first.noticedAt + first.ageMs
  const copies = report.copies.map((copy) => copy.convergedMs)
  const right = copies.every((ms) => ms !== null) ? Math.max(0, ...copies.map((ms) => ms ?? 0)) : null
  return { noticedMs: first.ageMs, decidedMs, rightMs: right === null ? null : decidedMs + right }
}

/** Whether an earlier change left something prepared or an old primary running, or a switchover something undone. */
export function hasLeftovers({ survey, diagnoses }: View, cluster: string): boolean {
  if (intentsIn(survey.nodes).length > 0 || leftRunning(survey, diagnoses).length > 0) return true
  const ours = (gid: string) => parseGid(gid, cluster, survey.database) !== null
  return survey.nodes.some((node) => node.kind === 'answered' && node.prepared.some(ours))
}
