import { diagnose } from '../diagnose/diagnose.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { Plan } from '../model/plan.ts'
import { survey } from '../observe/survey.ts'
import type { AliasOf } from '../plan/alias.ts'
import { plan } from '../plan/plan.ts'
import type { Access } from './access.ts'
import { requireCoordinator, requireGroups, requireKnown, requireLeading } from './checks.ts'
import type { Clock } from './clock.ts'
import type { WalkRequest } from './walk.ts'

/** What a walk knows before it acts: the survey of one moment, what it means, and what should be done. */
export interface View {
  readonly survey: Survey
  readonly coordinator: Answered
  readonly diagnoses: readonly Diagnosis[]
  readonly plan: Plan
  /** Other names that the configuration gives nodes. */
  readonly aliases: readonly AliasOf[]
}

export async function observe(access: Access, request: WalkRequest, clock: Clock): Promise<Survey> {
  const { database, seeds, acquainted, witnessFreshnessMs, claims } = request
  const asked: HostPort[] = [
    ...seeds,
    ...acquainted,
    ...(claims.vouched ? [claims.vouched] : []),
    ...claims.standbys.map((standby) => standby.address),
  ]
  const wanted = { database, seeds: asked, witnessFreshnessMs, now: () => new Date() }
  return await clock.time('survey', () => survey(access.prober(database), wanted))
}

/** @throws CitusHaError without a coordinator, or for a group that does not exist */
export function view(seen: Survey, access: Access, request: WalkRequest): View {
  const coordinator = requireCoordinator(seen)
  requireKnown(coordinator, request.known)
  const diagnoses = diagnose(seen, request.claims)
  requireGroups(
    request.groups,
    diagnoses.map((diagnosis) => diagnosis.group),
  )
  requireLeading(coordinator, diagnoses)
  const { groups, aliases, routing, register } = request
  const options = { groups, aliases, routing, register, migration: access.migration }
  return { survey: seen, coordinator, diagnoses, plan: plan(seen, diagnoses, options), aliases }
}
