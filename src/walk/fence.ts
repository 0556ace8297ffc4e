import { setTimeout as pause } from 'node:timers/promises'
import type { Watch } from '../apply/blockers.ts'
import { type Before, BeforeFailed, type Fence, takeFence } from '../apply/fence.ts'
import type { Entry, Reach } from '../apply/post.ts'
import type { Blocker } from '../model/blocker.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { CitusHaError } from '../model/failure.ts'
import type { FenceReport } from '../model/fence.ts'
import { parseGid } from '../model/gid.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import { copyNodes } from '../plan/copies.ts'
import type { Access } from './access.ts'
import { type Again, again } from './act.ts'
import { Clock } from './clock.ts'
import { requireUsable } from './install.ts'
import { limitsOf, watchOf } from './limits.ts'
import { clusterName, observe, type View, view } from './look.ts'
import { recoverNow } from './recovery.ts'
import { LONGEST_FENCE_ROUND_MS, roundLimit } from './round-limit.ts'
import { namesOf, pauseOf } from './walk.ts'
import type { WalkRequest } from './walk-request.ts'

export interface FenceWanted {
  readonly groups: readonly number[]
  readonly ttlMs: number
  readonly reach: Reach
  /** As in `FenceOrder`; once for each round. */
  readonly before?: Before
  /** Of one round; default: see `LONGEST_FENCE_ROUND_MS`. */
  readonly longestRoundMs?: number
  /** Told of each round, however it ended, who was in its way and who was ended for it. */
  readonly met?: (who: Pick<Watch, 'seen' | 'ended'>) => void
}

export interface Fencing {
  /** null: it was not taken. */
  readonly fence: Fence | null
  readonly report: FenceReport
}

/** The longest that writes may be kept standing, in milliseconds: whoever needs more has forgotten something. */
export const LONGEST_TTL_MS = 600_000

/**
 * Makes the writes to some groups stand still on every writable copy that is there, in short rounds: all or none.
 * What an earlier change left in doubt is resolved before, since nothing can be resolved inside.
 * @throws CitusHaError where nothing can be said of the cluster, for a group that does not exist, a bad time limit; what
 * was to be done before throws
 */
export async function holdFence(access: Access, request: WalkRequest, wanted: FenceWanted): Promise<Fencing> {
  requireTtl(wanted.ttlMs)
  const clock = new Clock(request.deadlineMs)
  const about = { ...request, groups: wanted.groups }
  const longestRoundMs = Math.min(LONGEST_FENCE_ROUND_MS, wanted.longestRoundMs ?? LONGEST_FENCE_ROUND_MS)
  const ended = new Set<Blocker>()
  let blockers: readonly Blocker[] = []
  for (let attempt = 1; ; attempt++) {
    request.signal.throwIfAborted()
    const known = attempt === 1 ? request.seen : null
    const survey = known?.survey ?? (await observe(access, about, clock))
    const seen = view(survey, access, about, known?.diagnoses)
    requireUsable(seen.coordinator, access.migration)
    const lockTimeoutMs = roundLimit({ ...request, longestRoundMs }, attempt, clock.leftMs)
    const tried = await tryOnce(access, { ...about, lockTimeoutMs }, wanted, seen, clock)
    const told = { seen, wanted, clock, ended }
    for (const blocker of tried.ended) ended.add(blocker)
    if (tried.kind === 'fenced') return { fence: tried.fence, report: reportOf(told, tried.fence, [], []) }
    if (tried.blockers.length > 0) blockers = tried.blockers
    const waitMs = pauseOf(tried, attempt, request)
    if (waitMs >= clock.leftMs)
      return { fence: null, report: reportOf(told, null, blockers, [tried.why, ...tried.unasked]) }
    for (const line of [`${tried.why}; trying again`, ...namesOf(tried)]) request.progress(line)
    await pause(waitMs, undefined, { signal: request.signal })
  }
}

function requireTtl(ttlMs: number): void {
  if (ttlMs > 0 && ttlMs <= LONGEST_TTL_MS) return
  throw new CitusHaError('usage', `a fence can be held for ${LONGEST_TTL_MS / 60_000} minutes at most`)
}

type Tried = { readonly kind: 'fenced'; readonly fence: Fence; readonly ended: readonly Blocker[] } | Again

async function tryOnce(
  access: Access,
  request: WalkRequest,
  { groups, ttlMs, reach, before, met }: FenceWanted,
  seen: View,
  clock: Clock,
): Promise<Tried> {
  const watch = watchOf(access, request)
  const cluster = clusterName(request, seen.coordinator)
  const ours = (gid: string) => parseGid(gid, cluster, request.database) !== null
  const open = (address: HostPort) => access.open(address, request.database)
  try {
    if (seen.survey.nodes.some((node) => node.kind === 'answered' && node.prepared.some(ours)))
      await recoverNow(access, request, seen, 'resolve', clock)
    const { entries } = entriesOf(seen, access.migration, groups)
    const context = { limits: limitsOf(request), watch, open }
    const fence = await takeFence({ groups, entries, ttlMs, reach, ...(before && { before }) }, context)
    await Promise.all(watch.asked)
    return { kind: 'fenced', fence, ended: watch.ended }
  } catch (error) {
    await Promise.all(watch.asked)
    if (error instanceof BeforeFailed) throw error.cause
    return again(error, watch)
  } finally {
    met?.(watch)
  }
}

export interface Entries {
  readonly entries: readonly Entry[]
  /** Copies that can't be fenced, and why. */
  readonly missing: FenceReport['unfenced']
}

/** Where writes may enter: the coordinator first, then every other copy that takes writes. */
export function entriesOf(
  { survey, diagnoses, coordinator, plan }: View,
  migration: number,
  groups: readonly number[] = [],
): Entries {
  // What enters at a coordinator that is to be another server has to wait, whichever group it is for.
  const every = groups.includes(COORDINATOR_GROUP) ? diagnoses.map(({ group }) => group) : null
  const entries: Entry[] = []
  const missing: { node: string; why: string }[] = []
  for (const { address, role, server } of copyNodes(survey, diagnoses, coordinator)) {
    const node = formatAddress(address)
    const ails = plan.leftOut.find((each) => each.ailing !== null && sameAddress(each.node, address))
    if (ails) missing.push({ node, why: ails.why })
    else if (typeof server === 'string') missing.push({ node, why: server })
    else if (server.installed?.mayExecute && server.installed.migration >= migration)
      entries.push({ node: address, role, server, groups: role === 'coordinator' ? every : null })
    else missing.push({ node, why: 'the schema citus_ha is missing or old there: run citus-ha install' })
  }
  return { entries, missing }
}

interface Told {
  readonly seen: View
  readonly wanted: FenceWanted
  readonly clock: Clock
  readonly ended: ReadonlySet<Blocker>
}

function reportOf(
  { seen, wanted, clock, ended }: Told,
  fence: Fence | null,
  blockers: readonly Blocker[],
  warnings: readonly string[],
): FenceReport {
  const { missing } = entriesOf(seen, seen.coordinator.installed?.migration ?? 0)
  return {
    outcome: fence ? 'fenced' : 'blocked',
    database: seen.survey.database,
    groups: wanted.groups,
    until: fence && untilOf(fence),
    fenced: fence ? fence.nodes.map(formatAddress) : [],
    unfenced: missing,
    blockers,
    ended: [...ended],
    warnings: [...warnings, ...missing.map(({ node, why }) => `${node} is not fenced: ${why}`)],
    durationMs: clock.totalMs,
  }
}

/** When a fence ends by itself, by this machine's clock. */
export function untilOf(fence: Fence): string {
  return new Date(Date.now() + fence.leftMs).toISOString()
}
