import { diagnose } from '../diagnose/diagnose.ts'
import { type Claims, groupOfVouched } from '../diagnose/facts.ts'
import type { Diagnosis, SecondaryState } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { Plan } from '../model/plan.ts'
import type { NamesToTry } from '../observe/names.ts'
import { askedLast, survey } from '../observe/survey.ts'
import { type AliasOf, aliasOf } from '../plan/alias.ts'
import { plan } from '../plan/plan.ts'
import type { Access } from './access.ts'
import { requireCoordinator, requireGroups, requireKnown, requireLeading } from './checks.ts'
import type { Clock } from './clock.ts'
import type { WalkRequest } from './walk-request.ts'

/** What a walk knows before it acts: the survey of one moment, what it means, and what should be done. */
export interface View {
  readonly survey: Survey
  readonly coordinator: Answered
  readonly diagnoses: readonly Diagnosis[]
  readonly plan: Plan
  /** Groups that the walk is about; null: all. */
  readonly groups: readonly number[] | null
  /** Other names that the configuration gives nodes. */
  readonly aliases: readonly AliasOf[]
  readonly given: Given
}

/** What the caller said, and what this citus-ha is, beside the survey. */
export interface Given {
  readonly claims: Claims
  /** Coordinator candidates. */
  readonly seeds: readonly HostPort[]
  /** The cluster's name in gids. */
  readonly cluster: string
  /** The migration that this citus-ha needs. */
  readonly migration: number
}

/** As in gids, where the configuration gives no name: short, and the same on every run. */
export function clusterName(request: WalkRequest, coordinator: Answered): string {
  return request.cluster ?? `c${BigInt(coordinator.systemIdentifier).toString(36)}`
}

export function givenOf(access: Access, request: WalkRequest, coordinator: Answered): Given {
  const { claims, seeds } = request
  return { claims, seeds, cluster: clusterName(request, coordinator), migration: access.migration }
}

/** @param promoting who is to be promoted, as far as the claims don't say so */
export async function observe(
  access: Access,
  request: WalkRequest,
  clock: Clock,
  promoting: readonly HostPort[] = [],
): Promise<Survey> {
  const { database, seeds, acquainted, witnessFreshnessMs, claims, routing, aliases, silence } = request
  const asked: HostPort[] = [
    ...seeds,
    ...acquainted,
    ...(claims.vouched ? [claims.vouched] : []),
    ...claims.standbys.map((standby) => standby.address),
  ]
  const names: NamesToTry = {
    aliasOf: (address) => aliasOf(address, aliases),
    ofPrimaries: routing.secondaryDown === 'auto',
    ofSecondaries: routing.primaryDown === 'secondary',
    promoting: [...promoting, ...(claims.vouched ? [claims.vouched] : [])],
  }
  const wanted = { database, seeds: asked, witnessFreshnessMs, now: () => new Date(), names, silence }
  return await clock.time('survey', () => survey(access.prober(database), wanted))
}

/**
 * A survey in which some servers have been asked anew, under every name they have in it, and of the others only a primary that
 * is behind one of them (`askedLast`): for a caller that has kept those from changing since. Whether they have is seen again under the change's locks.
 * @param instances as in `Answered`
 */
export async function askedAnew(access: Access, seen: Survey, instances: readonly string[]): Promise<Survey> {
  const prober = access.prober(seen.database)
  const nodes = seen.nodes.map((node) =>
    node.kind === 'answered' && instances.includes(node.instance) ? prober.probe(node.address) : node,
  )
  return { ...seen, at: new Date().toISOString(), nodes: await askedLast(prober, await Promise.all(nodes)) }
}

/**
 * @param found what the survey means, where that is known already
 * @throws CitusHaError without a coordinator, or for a group that does not exist
 */
export function view(
  seen: Survey,
  access: Access,
  request: WalkRequest,
  found: readonly Diagnosis[] | null = null,
): View {
  const coordinator = requireCoordinator(seen)
  requireKnown(coordinator, request.known, request.claims.maxLag)
  const diagnoses = found ?? diagnose(seen, request.claims)
  requireGroups(
    request.groups,
    diagnoses.map((diagnosis) => diagnosis.group),
  )
  requireLeading(coordinator, diagnoses)
  const { aliases, routing, register } = request
  const groups = request.groups ?? groupNamed(seen, coordinator, request)
  const options = {
    groups,
    aliases,
    routing,
    register,
    following: request.claims.following,
    ailing: request.ailing,
    migration: access.migration,
  }
  const believed = diagnoses.map((diagnosis) => withDown(diagnosis, request.believedDown))
  const made = plan(seen, believed, options)
  const given = givenOf(access, request, coordinator)
  return { survey: seen, coordinator, diagnoses, plan: made, groups, aliases, given }
}

/** For a plan that leaves the reads of all other secondaries as they are. */
function withDown(diagnosis: Diagnosis, believed: WalkRequest['believedDown']): Diagnosis {
  const isDoubted = ({ state, nodeid }: SecondaryState) =>
    state === 'down' && believed?.includes(nodeid) === false
  const secondaries = diagnosis.secondaries.map((each) =>
    isDoubted(each) ? { ...each, state: 'silent' as const } : each,
  )
  return { ...diagnosis, secondaries }
}

/** A tool speaks of one group, and is not to be told of the others' trouble. null: all, or not known yet. */
function groupNamed(seen: Survey, { citus }: Answered, { claims }: WalkRequest): readonly number[] | null {
  if (claims.vouched === null || claims.vouchedBy !== 'tool') return null
  const group = groupOfVouched(seen, citus?.catalog ?? [], claims)
  return group === null ? null : [group]
}
