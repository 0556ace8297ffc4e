import { setTimeout as pause } from 'node:timers/promises'
import { isLock } from '../db/sqlstate.ts'
import {
  type Catalog,
  COORDINATOR_GROUP,
  isReadFirst,
  primaryOf,
  sameCatalog,
  sameRow,
} from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey, UnreadableCause } from '../model/observation.ts'
import type { CopyReport } from '../model/outcome.ts'
import type { CopyPlan, Plan } from '../model/plan.ts'
import { answeredState, streamsFrom } from '../model/server-state.ts'
import type { Expectation } from './expectation.ts'
import { unreadStandbys } from './unread.ts'

/**
 * Every copy that a query may be routed by: those written, those left out, and the standbys that replay them.
 * @param candidates addresses at which a standby of the coordinator may be, whether or not it answers
 */
export function expectations(
  survey: Survey,
  plan: Plan,
  diagnoses: readonly Diagnosis[],
  candidates: readonly HostPort[] = [],
): Expectation[] {
  const at = (address: HostPort) => survey.nodes.find((node) => sameAddress(node.address, address))
  const truth = plan.copies[0]?.after ?? []
  const upstreamOf = (group: number) => primaryToFollow(group, survey, diagnoses)
  const written = plan.copies.map((copy): Expectation => {
    const { node, role, after } = copy
    return {
      node,
      role,
      expected: after,
      firsts: firstsOf(copy),
      seen: at(node),
      reservation: null,
      isAiling: false,
      isLocked: false,
      upstream: null,
      follows: true,
    }
  })
  const left = plan.leftOut.map((out): Expectation => {
    const { node, why, ailing } = out
    const seen = at(node)
    return {
      node,
      role: 'metadata worker',
      expected: truth,
      firsts: [],
      seen,
      reservation: why,
      // A standby takes no sync of Citus's either.
      isAiling: ailing !== null || (seen?.kind === 'answered' && seen.inRecovery),
      isLocked: isLock(ailing?.code ?? null),
      upstream: null,
      follows: true,
    }
  })
  const standbys = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && node.inRecovery)
    .filter((node) => (node.citus?.catalog.length ?? 0) > 0)
    .map((node): Expectation => {
      const group = node.citus?.localGroup
      const primary = group === undefined ? null : upstreamOf(group)
      const own = plan.copies.find((copy) => primary && sameAddress(copy.node, primary.address))
      const out = plan.leftOut.find((each) => primary && sameAddress(each.node, primary.address))
      const reservation = out ? `its primary’s copy: ${out.why}` : null
      // Without the right to see its receiver nothing is known of it, and it is read as any other.
      const follows = streamsFrom(node, primary) || !node.readsStatistics
      const expected = own?.after ?? truth
      const firsts = own ? firstsOf(own) : []
      const role = kindOf(node)
      return {
        node: node.address,
        role,
        expected,
        firsts,
        seen: node,
        reservation,
        isAiling: (out?.ailing ?? null) !== null,
        isLocked: isLock(out?.ailing?.code ?? null),
        upstream: primary,
        follows,
      }
    })
  return distinct([
    ...written,
    ...left,
    ...standbys,
    ...unreadStandbys(survey, candidates, truth, upstreamOf),
  ])
}

function firstsOf({ steps }: CopyPlan): number[] {
  return steps.flatMap(({ op, nodeid }) => (op === 'first' ? [nodeid] : []))
}

/** Whom a group's standbys have to follow: its primary, or, where none is proved, the registered one if it answers. */
function primaryToFollow(group: number, survey: Survey, diagnoses: readonly Diagnosis[]): Answered | null {
  const coordinator = coordinatorOf(survey.nodes)
  if (group === COORDINATOR_GROUP) return coordinator ?? null
  const proved = diagnoses.find((diagnosis) => diagnosis.group === group)?.primary
  if (proved) return proved
  const row = primaryOf(coordinator?.citus?.catalog ?? [], group)
  const node = survey.nodes.find((each) => row && sameAddress(each.address, row.address))
  return node?.kind === 'answered' && !node.inRecovery && !node.retired ? node : null
}

/** One report a server, under the first address it is known by. */
function distinct(all: readonly Expectation[]): Expectation[] {
  const seen = new Set<string>()
  return all.filter(({ node, seen: observed }) => {
    const key = observed?.kind === 'answered' ? observed.instance : formatAddress(node)
    return seen.has(key) ? false : seen.add(key)
  })
}

/** What the coordinator's copy was to be, and which of its rows the plan is about. */
export interface Truth {
  readonly node: HostPort
  readonly expected: Catalog
  /** nodeids */
  readonly written: ReadonlySet<number>
}

export function truthOf({ copies, changes }: Plan): Truth | null {
  const [coordinator] = copies
  if (!coordinator) return null
  const steps = copies.flatMap((copy) => copy.steps)
  const written = new Set([...steps, ...changes].map(({ nodeid }) => nodeid))
  return { node: coordinator.node, expected: coordinator.after, written }
}

export interface VerifyOptions {
  readonly truth: Truth | null
  readonly probe: (address: HostPort) => Promise<Observation>
  /** The rows of a copy alone, which cost the node less than a probe; or what it is instead; null: that can't be asked. */
  readonly rows: (address: HostPort) => Promise<Catalog | Observation | null>
  /** Why a standby replays nothing, or late, on purpose; null: it does not, or nobody can tell. */
  readonly held: (address: HostPort) => Promise<string | null>
  /**
   * Told of a copy that is not right yet, and asked to resolve what an interrupted change left prepared there: it
   * would keep everybody, Citus's own sync as well, from that copy.
   */
  readonly resolve: (node: Answered) => Promise<void>
  /** How long a copy may take to become right, in milliseconds. */
  readonly patienceMs: number
  /** `performance.now()` of the decision; null if nothing was changed, and what the survey saw is enough. */
  readonly decidedAt: number | null
  readonly signal: AbortSignal
}

const POLL_MS = 10
/** How long a copy that was there may be away (a restart, a receiver that reconnects) before it is given up. */
const GRACE_MS = 3000
/**
 * How long a copy that took no part is waited for: Citus tries a sync that failed again after 5 s
 * (`citus.metadata_sync_retry_interval`), and after that it may take a minute.
 */
const SYNC_MS = 6000
/** One that failed its part of the change: Citus's own sync, where it gets through at all, ships it in 0.1 to 0.3 s. */
const AILING_MS = 250
/** As long as a lock would have been waited for with the change, had it not gone on without: most are gone by then. */
const LOCKED_MS = 1000
/**
 * How long a receiver may be away that streamed before: it tries again every `wal_retrieve_retry_interval`, 5 s where nobody
 * has set another one.
 */
const RECONNECT_MS = 6000
/** A standby replays a change within milliseconds; one that has not is asked whether it is meant to. */
const REPLAYED_MS = 100
/** What a node says that no waiting mends; others (it starts, it is full) pass, where it was read before. */
const PERSISTENT: readonly UnreadableCause[] = ['auth', 'tls', 'no-database', 'privilege']

/** Reads every copy again until it is right or the patience is over. Never throws for a node's sake. */
export async function verify(all: readonly Expectation[], options: VerifyOptions): Promise<CopyReport[]> {
  return await Promise.all(all.map((each) => proveOne(each, options)))
}

async function proveOne(each: Expectation, options: VerifyOptions): Promise<CopyReport> {
  const { node, reservation } = each
  const report = (
    state: CopyReport['state'],
    convergedMs: number | null,
    detail: string | null,
  ): CopyReport => {
    return { node: formatAddress(node), role: each.role, state, convergedMs, detail }
  }
  const { decidedAt, patienceMs, signal } = options
  const waitMs = Math.min(longestOf(each), patienceMs)
  const began = performance.now()
  const end = began + waitMs
  let awayUntil: number | null = null
  let wasAsked = false
  // What followed nobody, or is not reached, is not asked for another answer, which would take as long again.
  const isGone = (!each.follows && each.seen?.kind !== 'answered') || each.seen?.kind === 'unreachable'
  for (let seen = decidedAt === null || isGone ? each.seen : undefined; ; seen = undefined) {
    const right = () => report('right', decidedAt === null ? 0 : performance.now() - decidedAt, reservation)
    const rows = seen === undefined ? await options.rows(node) : null
    if (rows !== null && !('kind' in rows) && isAsPlanned(rows, each)) return right()
    // Who is silent is not asked again, which would take as long once more.
    seen ??= rows !== null && 'kind' in rows && rows.kind === 'unreachable' ? rows : await options.probe(node)
    if (await isRight(seen, each, options)) return right()
    const now = performance.now()
    // What was known before is not waited for, unless it has begun to follow since.
    if (!each.follows && !streams(seen, each)) return report('does not follow', null, whyNot(seen, each))
    awayUntil = isAway(seen, each) ? (awayUntil ?? now + graceOf(seen, each)) : null
    const isOver = now >= end || signal.aborted || (awayUntil !== null && now >= awayUntil)
    if (each.upstream && streams(seen, each) && (isOver || (now - began >= REPLAYED_MS && !wasAsked))) {
      wasAsked = true
      const held = await options.held(node)
      if (held !== null) return report('does not follow', null, held)
    }
    if (isOver) {
      if (seen.kind !== 'answered') return report(seen.kind, null, reservation ?? whyNot(seen, each))
      if (each.upstream && reservation === null)
        return report('stale', null, `${whyNot(seen, each)}; waited for ${seconds(now - began)}`)
      const synced = `; left to Citus’s own sync, which was waited for ${seconds(waitMs)}`
      const left = reservation && `${reservation}${each.isAiling ? '' : synced}`
      return report('stale', null, left)
    }
    if (seen.kind === 'answered' && seen.prepared.length > 0) await options.resolve(seen)
    await pause(POLL_MS)
  }
}

function longestOf({ isAiling, isLocked, reservation }: Expectation): number {
  if (isLocked) return LOCKED_MS
  if (isAiling) return AILING_MS
  return reservation === null ? Number.POSITIVE_INFINITY : SYNC_MS
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/**
 * A copy is what it was planned to be; or, with the planned rows as planned, what the coordinator's copy says by now:
 * somebody may have added, removed or altered other nodes meanwhile. Copies with rows of their own have only the plan.
 */
async function isRight(
  seen: Observation,
  { expected, firsts }: Pick<Expectation, 'expected' | 'firsts'>,
  { truth, probe }: Pick<VerifyOptions, 'truth' | 'probe'>,
): Promise<boolean> {
  if (seen.kind !== 'answered') return false
  const rows = seen.citus?.catalog ?? []
  if (!firsts.every((nodeid) => isReadFirst(rows, nodeid))) return false
  if (sameCatalog(rows, expected)) return true
  if (!truth || !sameCatalog(expected, truth.expected) || !asPlanned(rows, truth)) return false
  const coordinator = await probe(truth.node)
  if (coordinator.kind !== 'answered' || coordinator.inRecovery) return false
  const now = coordinator.citus?.catalog ?? []
  return asPlanned(now, truth) && sameCatalog(rows, now)
}

function isAsPlanned(rows: Catalog, { expected, firsts }: Pick<Expectation, 'expected' | 'firsts'>): boolean {
  return firsts.every((nodeid) => isReadFirst(rows, nodeid)) && sameCatalog(rows, expected)
}

function asPlanned(rows: Catalog, { expected, written }: Truth): boolean {
  return expected
    .filter(({ nodeid }) => written.has(nodeid))
    .every((row) => rows.some((one) => sameRow(one, row)))
}

function streams(seen: Observation, { upstream }: Expectation): boolean {
  return seen.kind === 'answered' && streamsFrom(seen, upstream)
}

/** What keeps a standby's copy from being right, and where to look, for people. */
function whyNot(seen: Observation, each: Expectation): string {
  const { upstream } = each
  if (seen.kind !== 'answered') {
    const next = upstream && each.follows ? '; where it sends reads is not known: see citus-ha status' : ''
    return `${seen.cause}: ${seen.detail}${next}`
  }
  const from = upstream ? formatAddress(upstream.address) : 'any primary'
  const { code, text } = answeredState(seen, upstream)
  if (code === 'unseen') return 'its replication state is hidden: this role lacks pg_read_all_stats there'
  if (code === 'streaming' && upstream === null)
    return 'it streams, but no primary of its group is proved: see citus-ha status'
  if (code === 'streaming') return `it streams from ${from}, but has not replayed the change`
  if (seen.receiver === null)
    return `it does not stream from ${from}: its log says why (primary_conninfo, pg_hba.conf)`
  return `it does not stream from ${from} (${text}): point primary_conninfo at the primary`
}

/** Silent, closed to us, or a standby whose upstream is gone: nothing will come of it unless that changes. */
function isAway(seen: Observation, { seen: before }: Expectation): boolean {
  if (seen.kind === 'unreadable') {
    const wasSo = before?.kind !== 'answered' && seen.cause !== 'starting'
    return wasSo || PERSISTENT.includes(seen.cause)
  }
  return seen.kind === 'unreachable' || (seen.inRecovery && seen.receiver === null && seen.readsStatistics)
}

/** A node that gave no answer from the start, and took no part for that reason, is not waited for. */
function graceOf(now: Observation, { seen }: Expectation): number {
  if (seen?.kind !== 'answered') return 0
  return now.kind === 'answered' ? RECONNECT_MS : GRACE_MS
}
