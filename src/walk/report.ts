import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { areProved, type CopyReport, type Outcome, type Refusal, type Report } from '../model/outcome.ts'
import { describePause } from '../model/pause.ts'
import { changesNothing } from '../model/plan.ts'
import { describeRegistration } from '../plan/registrations.ts'
import type { Acted } from './act.ts'
import type { Clock } from './clock.ts'
import type { View } from './look.ts'
import { changeOf } from './register.ts'

/** What a walk did, from what it saw, what became of its plan, and what the copies say now. */
export function reportOf(
  view: View,
  acted: Acted,
  copies: readonly CopyReport[],
  clock: Clock,
): Omit<Report, 'ended'> {
  const { groups } = view
  // Where group 0 is refused no group is changed, whichever was asked for: that is never "converged".
  const concerned = (group: number) =>
    groups === null || groups.includes(group) || group === COORDINATOR_GROUP
  const refusals = view.diagnoses
    .filter((diagnosis) => diagnosis.standing === 'refused' && concerned(diagnosis.group))
    .map(refusalOf)
  const told = [...('why' in acted ? [acted.why] : []), ...('warnings' in acted ? acted.warnings : [])]
  const blockers = acted.kind === 'blocked' ? acted.blockers : []
  return {
    outcome: outcomeOf(acted, copies, refusals),
    database: view.survey.database,
    epoch: acted.kind === 'committed' ? acted.epoch : null,
    changes: changesOf(acted, view),
    copies,
    refusals,
    blockers,
    unfenced: 'unfenced' in acted ? acted.unfenced : [],
    warnings: [
      ...pauseWarning(view),
      ...view.plan.warnings,
      ...leftForLater(acted, view),
      ...behind(copies),
      ...told,
    ],
    groups: view.diagnoses.map(({ group, code, rule, summary }) => ({ group, code, rule, summary })),
    sql: acted.kind === 'planned' ? acted.sql : [],
    timings: clock.steps,
    durationMs: clock.totalMs,
  }
}

function changesOf(acted: Acted, { plan }: View): Report['changes'] {
  switch (acted.kind) {
    case 'blocked':
    case 'nothing':
      return []
    case 'registered':
      return acted.changes
    case 'planned':
      return changesNothing(plan) ? plan.registrations.map((each) => changeOf(each, 0)) : plan.changes
    case 'committed':
    case 'in-doubt':
      return plan.changes
  }
}

/** Standbys are registered when nothing else is to be done. */
function leftForLater({ kind }: Acted, { plan }: View): string[] {
  if (changesNothing(plan) || (kind !== 'committed' && kind !== 'planned')) return []
  return plan.registrations.map((each) => `left for the next run: ${describeRegistration(each)}`)
}

/** Known from the start, or meant to be so: not waited for, and said for as long as it is so. */
export function behind(copies: readonly CopyReport[]): string[] {
  return copies
    .filter(({ state }) => state === 'does not follow')
    .map(
      ({ node, role, detail }) =>
        `${node}, ${role}, does not follow, and sends queries by old rows: ${detail}`,
    )
}

/** A pause is for watch; a call that somebody makes acts all the same, and says whose wish it goes against. */
function pauseWarning({ coordinator, groups }: View): string[] {
  const pauses = (coordinator.installed?.pauses ?? []).filter(
    ({ group }) => group === null || groups === null || groups.includes(group),
  )
  if (pauses.length === 0) return []
  return [`paused: ${pauses.map(describePause).join('; ')}; this call does not wait for that to end`]
}

function outcomeOf(acted: Acted, copies: readonly CopyReport[], refusals: readonly Refusal[]): Outcome {
  const proved = areProved(copies)
  switch (acted.kind) {
    case 'blocked':
      return 'blocked'
    case 'in-doubt':
      return 'unproved'
    case 'planned':
      return refusals.length > 0 ? 'refused' : 'planned'
    case 'committed':
      if (!proved || acted.unfenced.length > 0) return 'unproved'
      return refusals.length > 0 ? 'refused' : 'changed'
    case 'registered':
      if (!proved) return 'unproved'
      return refusals.length > 0 ? 'refused' : 'changed'
    case 'nothing':
      if (refusals.length > 0) return 'refused'
      return proved && acted.unfenced.length === 0 ? 'converged' : 'unproved'
  }
}

function refusalOf({ group, code, rule, summary, evidence }: Diagnosis): Refusal {
  return { group, reason: code, rule, summary, evidence }
}
