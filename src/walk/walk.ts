import { setTimeout as pause } from 'node:timers/promises'
import { describeBlocker } from '../apply/blockers.ts'
import { type Claims, groupOfVouched } from '../diagnose/facts.ts'
import type { Blocker } from '../model/blocker.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import { type Observation, type Survey, willPass } from '../model/observation.ts'
import type { Report } from '../model/outcome.ts'
import { remark } from '../model/remark.ts'
import type { Access } from './access.ts'
import { type Acted, type Again, act } from './act.ts'
import { Ailments } from './ailments.ts'
import { noCoordinator, requirePlaced } from './checks.ts'
import { Clock } from './clock.ts'
import { untilFree } from './in-the-way.ts'
import { installWhereMissing, requireUsable } from './install.ts'
import { observe, type View, view } from './look.ts'
import { observePatiently } from './patience.ts'
import { prove } from './prove.ts'
import { reportOf } from './report.ts'
import { roundLimit } from './round-limit.ts'
import type { Seen, WalkRequest } from './walk-request.ts'

const POLL_PROMOTION_MS = 100
const LONGEST_PAUSE_MS = 2000
const AFTERMATH_MS = 100

/**
 * One walk through the pipeline for one database: survey, diagnose, plan, apply, verify. Tried again, from a
 * fresh survey, while locks or nodes are in the way and the deadline allows.
 * @throws CitusHaError where nothing can be said of the cluster at all; the signal's reason when aborted
 */
export async function walk(access: Access, request: WalkRequest): Promise<Report> {
  const clock = new Clock(request.deadlineMs)
  const ended = new Set<Blocker>()
  let blockers: readonly Blocker[] = []
  let last: Attempt | null = null
  const ailments = new Ailments(request.ailing)
  let inTheWay: Pick<Again, 'blockers' | 'unasked'> = { blockers: [], unasked: [] }
  let wereFree = false
  let isOvertime = false
  for (let attempt = 1; ; attempt++) {
    const lockTimeoutMs = roundLimit(request, attempt, clock.leftMs)
    const now = { ...request, lockTimeoutMs, ailing: ailments.out }
    const { seen, acted }: Attempt = await tryOnce(access, now, clock, last)
    for (const blocker of 'ended' in acted ? acted.ended : []) ended.add(blocker)
    if (acted.kind !== 'again') {
      const report = await conclude(access, now, seen, acted, clock)
      return { ...withRounds(report, inTheWay), ended: [...ended] }
    }
    // Who was in the way is asked in a short while, and not always told in time: the last that were named.
    if (acted.blockers.length > 0) blockers = acted.blockers
    const pauseMs = pauseOf(acted, attempt, request)
    // What another client has changed may be all that was to be done: that is looked at once more, past the deadline too.
    const isLast = pauseMs >= clock.leftMs && (isOvertime || acted.soon === 'after a pause')
    isOvertime ||= pauseMs >= clock.leftMs
    const isInTheWay = (node: HostPort) =>
      acted.blockers.some((blocker) => sameAddress(blocker.node, node)) ||
      acted.unasked.some((line) => line.startsWith(formatAddress(node)))
    const { ailing } = acted
    const round = { plan: seen.plan, ailing, isInTheWay, isLast, mayForce: mayForce(request) }
    const leftOut = ailments.note(round)
    if (leftOut.length > 0) inTheWay = { blockers, unasked: acted.unasked }
    // Each is left out once, and what is then done without it is worth the time past the deadline.
    const waitMs = leftOut.length > 0 ? 0 : pauseMs
    if ((isLast && leftOut.length === 0) || (request.signal.aborted && acted.left.length > 0)) {
      const report = reportOf(seen, givenUp({ ...acted, blockers }), [], clock)
      return { ...withRounds(report, inTheWay), ended: [...ended] }
    }
    const next =
      leftOut.length > 0 ? leftOut.map(({ node }) => `without ${formatAddress(node)}`) : ['trying again']
    for (const line of [`${acted.why}; ${next.join(', ')}`, ...namesOf(acted)]) request.progress(line)
    last = { seen, acted }
    const inRound = leftOut.length > 0 || wereFree ? [] : acted.blockers
    const free = untilFree(access, request.database, inRound, waitMs, request.signal)
    wereFree = (await free.catch(unlessLeft(acted))) || wereFree
  }
}

/** What the round showed after which a copy was left out, too. */
function withRounds<Reported extends Pick<Report, 'blockers' | 'warnings' | 'remarks'>>(
  report: Reported,
  { blockers, unasked }: Pick<Again, 'blockers' | 'unasked'>,
): Reported {
  const unsaid = unasked.filter((line) => !report.warnings.includes(line))
  const isTold = ({ node, pid }: Blocker) =>
    report.blockers.some((each) => each.pid === pid && sameAddress(each.node, node))
  const inTheWay = blockers.filter((blocker) => !isTold(blocker))
  return {
    ...report,
    blockers: [...report.blockers, ...inTheWay],
    warnings: [...report.warnings, ...unsaid],
    remarks: [
      ...report.remarks,
      ...inTheWay.map((each) => remark('in-the-way', describeBlocker(each), { node: each.node })),
      ...unsaid.map((line) => remark('incomplete', line)),
    ],
  }
}

/** Whether those in the way of a lock have still to be ended, so that a copy need not be left out for their sake. */
function mayForce({ forceAfterMs, began, lockTimeoutMs }: WalkRequest): boolean {
  return forceAfterMs !== null && performance.now() - began < forceAfterMs + 3 * lockTimeoutMs
}

/** "Interrupted" is not all there is to be said where something may be left prepared: `tryOnce` reports that. */
function unlessLeft({ left }: Again): (error: unknown) => false {
  return (error) => {
    if (!isAbort(error) || left.length === 0) throw error
    return false
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}

interface Attempt {
  readonly seen: View
  readonly acted: Acted | Again
}

async function tryOnce(
  access: Access,
  request: WalkRequest,
  clock: Clock,
  last: Attempt | null,
): Promise<Attempt> {
  const left = last?.acted.kind === 'again' && last.acted.left.length > 0 ? last : null
  try {
    request.signal.throwIfAborted()
    // The second try begins with a fresh survey.
    const seen = await lookForPromotion(access, request, clock, last === null ? request.seen : null)
    return { seen, acted: await act(access, request, seen, clock) }
  } catch (error) {
    if (left && isAbort(error)) return left
    // While a decision is in doubt, a coordinator that is gone is something to wait for: nobody else knows it.
    const doubted = last?.acted.kind === 'again' && last.acted.inDoubt !== null ? last : null
    if (!doubted || !(error instanceof CitusHaError) || error.code !== 'no-coordinator') throw error
    return doubted
  }
}

function givenUp(again: Again): Acted {
  if (again.inDoubt !== null) return { kind: 'in-doubt', why: again.inDoubt, unfinished: [] }
  const { why, blockers, unasked } = again
  return { kind: 'blocked', why, blockers, warnings: unasked, unfinished: [] }
}

export function namesOf({ blockers, ended, unasked }: Again): string[] {
  return [
    ...blockers.map((blocker) => `  blocked by: ${describeBlocker(blocker)}`),
    ...ended.map((blocker) => `  terminated: ${describeBlocker(blocker)}`),
    ...unasked.map((why) => `  ${why}`),
  ]
}

export function pauseOf(
  again: Pick<Again, 'soon'>,
  attempt: number,
  request: Pick<WalkRequest, 'lockTimeoutMs'>,
): number {
  // Even "at once" grows after a few: two instances must not chase each other.
  const steps = again.soon === 'at once' ? Math.max(0, attempt - 3) : attempt
  return Math.min(LONGEST_PAUSE_MS, request.lockTimeoutMs * steps)
}

/** A view of the cluster, once a promotion that is vouched for is through, or the wait for it over. */
async function lookForPromotion(
  access: Access,
  request: WalkRequest,
  clock: Clock,
  seen: Seen | null,
): Promise<View> {
  const until = performance.now() + request.waitMs
  let told = false
  let askedAgain = false
  for (let known = seen; ; known = null) {
    const over = performance.now() >= until
    const asking = { whom: 'those that live' } as const
    const looked = known?.survey ?? (await observePatiently(access, request, clock, asking))
    const passes = mayBeCoordinator(looked, request).some(willPass) && clock.leftMs > 0
    const mayWait = passes || (request.claims.vouched !== null && !over)
    let now = viewUnlessEarly(known ?? { survey: looked, diagnoses: null }, access, request, mayWait)
    if (now === null) {
      if (passes && !askedAgain) request.progress(`${noCoordinator(looked)}; trying again`)
      askedAgain ||= passes
      await pause(POLL_PROMOTION_MS, undefined, { signal: request.signal })
      continue
    }
    requireUsable(now.coordinator, access.migration)
    if (request.mode === 'apply' && (await installWhereMissing(access, request, now))) {
      now = view(await observe(access, request, clock), access, request)
    }
    if (over) requirePlaced(now.survey, now.coordinator, request.claims)
    if (over || !(now.diagnoses.some(mayStillComeTrue) || isUnplaced(now, request.claims))) return now
    if (!told) request.progress('waiting for the promotion of the node that was named')
    told = true
    await pause(POLL_PROMOTION_MS, undefined, { signal: request.signal })
  }
}

/** Who was asked as a candidate for the coordinator: that another node is starting says nothing of that one. */
function mayBeCoordinator({ nodes }: Survey, { seeds }: WalkRequest): Observation[] {
  return nodes.filter(({ address }) => seeds.some((seed) => sameAddress(seed, address)))
}

/** null where no coordinator answers, and it may be waited for. @throws CitusHaError as `view` does */
function viewUnlessEarly(
  { survey, diagnoses }: Seen,
  access: Access,
  request: WalkRequest,
  mayWait: boolean,
): View | null {
  try {
    return view(survey, access, request, diagnoses)
  } catch (error) {
    const early = error instanceof CitusHaError && error.code === 'no-coordinator'
    if (!early || !mayWait) throw error
    return null
  }
}

/** A node that is in no row, and starting or promoting, can't say its group yet. */
function isUnplaced({ survey, coordinator }: View, claims: Claims): boolean {
  return claims.vouched !== null && groupOfVouched(survey, coordinator.citus?.catalog ?? [], claims) === null
}

function mayStillComeTrue({ code }: Diagnosis): boolean {
  return code === 'promotion-running' || code === 'unproved'
}

async function conclude(
  access: Access,
  request: WalkRequest,
  seen: View,
  acted: Acted,
  clock: Clock,
): Promise<Omit<Report, 'ended'>> {
  if (acted.kind === 'planned' || acted.kind === 'blocked' || acted.kind === 'in-doubt') {
    return reportOf(seen, acted, [], clock)
  }
  const now =
    acted.kind === 'registered' ? view(await observe(access, request, clock), access, request) : seen
  const decidedAt = 'decidedAt' in acted ? acted.decidedAt : null
  const verifying = clock.time('verify', () => prove(access, request, now, decidedAt, clock))
  // What is left to do costs the servers more than the look at the copies: not before it, unless one of them is slow.
  const slow = new AbortController()
  const proved = verifying.finally(() => slow.abort())
  try {
    await Promise.race([
      proved,
      pause(AFTERMATH_MS, undefined, { signal: slow.signal }).catch(() => undefined),
    ])
  } finally {
    if (acted.kind === 'committed') await acted.aftermath()
  }
  const copies = await proved
  return reportOf(seen, acted, copies, clock)
}
