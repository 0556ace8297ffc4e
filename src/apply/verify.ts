import { setTimeout as pause } from 'node:timers/promises'
import { streamsFrom } from '../diagnose/diagnose.ts'
import { type Catalog, COORDINATOR_GROUP, sameCatalog } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey } from '../model/observation.ts'
import type { CopyReport } from '../model/outcome.ts'
import type { Plan } from '../model/plan.ts'

/** A copy that has to become, or to be, `expected`. */
export interface Expectation {
  readonly node: HostPort
  readonly role: string
  readonly expected: Catalog
  readonly seen: Observation | undefined
  /** What is known against it from the start: the reason for which it took no part. */
  readonly reservation: string | null
  /** A standby that does not follow is no copy. */
  readonly follows: boolean
}

/** Every copy that a query may be routed by: those written, those left out, and the standbys that replay them. */
export function expectations(survey: Survey, plan: Plan, diagnoses: readonly Diagnosis[]): Expectation[] {
  const at = (address: HostPort) => survey.nodes.find((node) => sameAddress(node.address, address))
  const truth = plan.copies[0]?.after ?? []
  const written = plan.copies.map((copy): Expectation => {
    const { node, role, after } = copy
    return { node, role, expected: after, seen: at(node), reservation: null, follows: true }
  })
  const left = plan.leftOut.map((out): Expectation => {
    const { node, why } = out
    return { node, role: 'metadata worker', expected: truth, seen: at(node), reservation: why, follows: true }
  })
  const standbys = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && node.inRecovery)
    .filter((node) => (node.citus?.catalog.length ?? 0) > 0)
    .map((node): Expectation => {
      const primary = primaryOf(node, survey, diagnoses)
      const own = plan.copies.find((copy) => primary && sameAddress(copy.node, primary.address))
      const follows = streamsFrom(node, primary)
      const expected = own?.after ?? truth
      return { node: node.address, role: kindOf(node), expected, seen: node, reservation: null, follows }
    })
  return distinct([...written, ...left, ...standbys])
}

function primaryOf(standby: Answered, survey: Survey, diagnoses: readonly Diagnosis[]): Answered | null {
  const group = standby.citus?.localGroup
  if (group === COORDINATOR_GROUP) return coordinatorOf(survey.nodes) ?? null
  return diagnoses.find((diagnosis) => diagnosis.group === group)?.primary ?? null
}

/** One report a server, under the first address it is known by. */
function distinct(all: readonly Expectation[]): Expectation[] {
  const seen = new Set<string>()
  return all.filter(({ node, seen: observed }) => {
    const key = observed?.kind === 'answered' ? observed.instance : formatAddress(node)
    return seen.has(key) ? false : seen.add(key)
  })
}

export interface VerifyOptions {
  readonly probe: (address: HostPort) => Promise<Observation>
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
  if (!each.follows)
    return report('does not follow', null, 'a standby that does not stream from its group’s primary')
  const { decidedAt, patienceMs, signal } = options
  const end = performance.now() + patienceMs
  let awayUntil: number | null = null
  for (let seen = decidedAt === null ? each.seen : undefined; ; seen = undefined) {
    seen ??= await options.probe(node)
    if (isRight(seen, each.expected))
      return report('right', performance.now() - (decidedAt ?? performance.now()), reservation)
    awayUntil = isAway(seen) ? (awayUntil ?? performance.now() + graceOf(each)) : null
    const givenUp = awayUntil !== null && performance.now() >= awayUntil
    if (givenUp || performance.now() >= end || signal.aborted) {
      const detail = reservation ?? (seen.kind === 'answered' ? null : `${seen.cause}: ${seen.detail}`)
      if (seen.kind === 'unreachable') return report('unreachable', null, detail)
      return isAway(seen)
        ? report('does not follow', null, 'it no longer streams')
        : report('stale', null, detail)
    }
    if (seen.kind === 'answered' && seen.prepared.length > 0) await options.resolve(seen)
    await pause(POLL_MS)
  }
}

function isRight(seen: Observation, expected: Catalog): boolean {
  return seen.kind === 'answered' && sameCatalog(seen.citus?.catalog ?? [], expected)
}

/** Silent, or a standby whose upstream is gone: nothing will come of it unless it comes back itself. */
function isAway(seen: Observation): boolean {
  return (
    seen.kind === 'unreachable' || (seen.kind === 'answered' && seen.inRecovery && seen.receiver === null)
  )
}

/** A node that was silent from the start, and took no part for that reason, is not waited for. */
function graceOf({ seen }: Expectation): number {
  return seen?.kind === 'answered' ? GRACE_MS : 0
}
