import { setTimeout as pause } from 'node:timers/promises'
import type { ChangeHooks } from '../apply/hooks.ts'
import { messageOf } from '../db/sqlstate.ts'
import { primaryOf } from '../model/catalog.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import type { RowChange } from '../model/plan.ts'
import { Clock } from '../walk/clock.ts'
import { observe, view } from '../walk/look.ts'
import { walk } from '../walk/walk.ts'
import type { Move } from './check.ts'
import type { Scope } from './scope.ts'
import type { Side } from './side.ts'
import { CHANGE_MS, type Stage } from './stage.ts'

/** Longer than most changes take: nobody is in their way, and looking costs as well. */
const HELD_MS = 40

/** Of a round that has lost the fence, in milliseconds: the group takes no writes until one has its locks, whatever that costs. */
const FORWARD_MS = 5000

interface During {
  readonly stage: Stage
  readonly clock: Clock
  readonly hooks: ChangeHooks
}

export interface Changed {
  /** A database each. */
  readonly reports: readonly Report[]
  /** What is not proved; null: everything is. */
  readonly why: string | null
  /** Whether the rows were changed in every database, by whomever. */
  readonly isDecided: boolean
}

/**
 * The change, in every database, inside the fence. It only goes forward here.
 * @param moves all of the switchover
 * @param moved those whose target is promoted
 */
export async function changeRows(
  scopes: readonly Scope[],
  moves: readonly Move[],
  moved: readonly Move[],
  during: During,
): Promise<Changed> {
  const { stage } = during
  const over = new AbortController()
  const closing = stage.sides.filter(({ move }) => moved.includes(move) && !stage.stopped)
  const ending = Promise.all(closing.map((side) => endHeldUntil(side, over.signal)))
  const results = await Promise.allSettled(
    scopes.map(async (scope, n) => {
      const report = await changeOne(scope, n, { moves, moved }, during)
      // Nothing was to be done, it says, of what it has seen; or something else: a failover has come between.
      const isDone = moved.every((move) => report.changes.some((row) => isMoved(row, move)))
      if (report.outcome === 'converged' || (report.outcome === 'changed' && !isDone))
        await requireMoved(scope, moved)
      return report
    }),
  )
  over.abort()
  await ending
  const reports = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  for (const { timings } of reports)
    for (const [step, ms] of Object.entries(timings)) during.clock.add(`change: ${step}`, ms)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed?.status === 'rejected') return { reports, why: messageOf(failed.reason), isDecided: false }
  const isDone = ({ outcome }: Report) => outcome === 'changed' || outcome === 'converged'
  const bad = reports.find((report) => !isDone(report))
  const isDecided = reports.every((report) => isDone(report) || report.epoch !== null)
  return { reports, why: bad?.reason.text ?? null, isDecided }
}

/**
 * Whoever enters at a new primary before the change is made there comes to the old one, waits for our locks, and keeps the
 * change from its own. Never throws.
 */
async function endHeldUntil(side: Side, over: AbortSignal): Promise<void> {
  for (;;) {
    await pause(HELD_MS, undefined, { signal: over }).catch(() => undefined)
    if (over.aborted) return
    side.cutOff.push(...(await side.sessions.endHeldAndWriting().catch(() => [])))
  }
}

async function changeOne(
  { request, access }: Scope,
  n: number,
  { moves, moved }: { readonly moves: readonly Move[]; readonly moved: readonly Move[] },
  { stage, clock, hooks }: During,
): Promise<Report> {
  const survey = await clock.time('change: look', () => stage.lookAgain(n, moved).catch(() => null))
  return await walk(access, {
    ...request,
    groups: moves.map(({ group }) => group),
    hooks,
    quiesced: moved.map(({ from }) => from.instance),
    seen: survey && { survey, diagnoses: null },
    acquainted: [...request.acquainted, ...moves.map(({ to }) => to.address)],
    fenceOf: () => stage.fence(n),
    deadlineMs: CHANGE_MS,
    longestRoundMs: FORWARD_MS,
    signal: new AbortController().signal,
  })
}

function isMoved({ group, kind, to }: RowChange, move: Move): boolean {
  return group === move.group && kind === 'primary-moved' && to === formatAddress(move.to.address)
}

/** @throws Error where the row of a group's primary names another server than its new one */
async function requireMoved({ request, access }: Scope, moved: readonly Move[]): Promise<void> {
  const { survey, coordinator } = view(await observe(access, request, new Clock()), access, request)
  for (const { group, to } of moved) {
    const row = primaryOf(coordinator.citus?.catalog ?? [], group)
    const there = survey.nodes.find((node) => row && sameAddress(node.address, row.address))
    if (there?.kind !== 'answered' || there.systemIdentifier !== to.systemIdentifier || there.inRecovery)
      throw new Error(`group ${group}: its row does not name ${formatAddress(to.address)} yet`)
    if (there.instance !== to.instance && !sameAddress(there.address, to.address))
      throw new Error(`group ${group}: its row names ${formatAddress(there.address)}`)
  }
}
