import { describeBlocker } from '../apply/blockers.ts'
import type { Blocker } from '../model/blocker.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { UnreachableCause } from '../model/observation.ts'
import {
  type CopyReport,
  everyCopy,
  plannedText,
  type Refusal,
  type Report,
  unproved,
} from '../model/outcome.ts'
import { describePause } from '../model/pause.ts'
import { changesNothing } from '../model/plan.ts'
import { type Remark, remark, textsOf } from '../model/remark.ts'
import { describeRegistration } from '../plan/registrations.ts'
import type { Acted } from './act.ts'
import type { Clock } from './clock.ts'
import type { View } from './look.ts'
import { nextOfRefusal } from './next-step.ts'
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
    .map((diagnosis) => refusalOf(diagnosis, view))
  const blockers = acted.kind === 'blocked' ? acted.blockers : []
  const unfenced = 'unfenced' in acted ? acted.unfenced : []
  const trouble = [
    ...refusals.map((refusal) => remark(refusal.reason, refusal.summary, { group: refusal.group })),
    ...unproved(copies),
    ...unfenced.map((why) => remark('not-fenced', why)),
  ]
  const why = 'why' in acted ? [remark(acted.kind, acted.why)] : []
  const warnings: Remark[] = [
    ...pauseWarning(view),
    ...view.plan.remarks,
    ...leftForLater(acted, view),
    ...behind(copies),
    ...why,
    ...('warnings' in acted ? acted.warnings.map((text) => remark('incomplete', text)) : []),
    ...unfinishedIn(acted),
  ]
  const { outcome, reason } = endingOf(acted, view, copies, refusals, unfenced)
  return {
    outcome,
    reason,
    next: nextOf({ outcome, reason }, refusals, blockers),
    remarks: distinct([
      ...why,
      ...trouble,
      ...blockers.map((blocker) => remark('in-the-way', describeBlocker(blocker), { node: blocker.node })),
      ...warnings,
    ]),
    database: view.survey.database,
    epoch: acted.kind === 'committed' ? acted.epoch : null,
    changes: changesOf(acted, view),
    copies,
    refusals,
    blockers,
    unfenced,
    warnings: textsOf(warnings),
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
function leftForLater({ kind }: Acted, { plan }: View): Remark[] {
  if (changesNothing(plan) || (kind !== 'committed' && kind !== 'planned')) return []
  return plan.registrations.map((each) =>
    remark('left-for-later', `left for the next run: ${describeRegistration(each)}`, {
      group: each.group,
      node: each.address,
    }),
  )
}

const CAUSES: Readonly<Record<UnreachableCause, true>> = {
  refused: true,
  reset: true,
  timeout: true,
  unroutable: true,
  dns: true,
}
/** What the detail of a copy begins with whose server does not answer: one that may be down sends no queries. */
const UNREACHABLE = new RegExp(`^(?:${Object.keys(CAUSES).join('|')}): `)

/** Known from the start, or meant to be so: not waited for, and said for as long as it is so. */
export function behind(copies: readonly CopyReport[]): Remark[] {
  return copies
    .filter(({ state }) => state === 'does not follow')
    .map(({ node, role, detail }) => {
      const sends = UNREACHABLE.test(detail ?? '') ? '' : ' and sends queries by old rows'
      const text = `${node}, ${role}, does not follow${sends}: ${detail}`
      return remark('does-not-follow', text, { node })
    })
}

/** A pause is for watch; a call that somebody makes acts all the same, and says whose wish it goes against. */
function pauseWarning({ coordinator, groups }: View): Remark[] {
  const pauses = (coordinator.installed?.pauses ?? []).filter(
    ({ group }) => group === null || groups === null || groups.includes(group),
  )
  if (pauses.length === 0) return []
  const text = `paused: ${pauses.map(describePause).join('; ')}; the pause does not apply to this command`
  const [first, ...more] = pauses
  return [remark('paused', text, { group: more.length === 0 ? (first?.group ?? null) : null })]
}

/** The rows are right, and the group may take no writes all the same: that is never "converged". */
function unfinishedIn(acted: Acted): Remark[] {
  return acted.unfinished.map(({ line, group }) => remark('switchover-unfinished', line, { group }))
}

/** How it ended, and why: who says that something is not right has to say what. */
type Ending = Pick<Report, 'outcome' | 'reason'>

function endingOf(
  acted: Acted,
  view: View,
  copies: readonly CopyReport[],
  refusals: readonly Refusal[],
  unfenced: readonly string[],
): Ending {
  if (acted.kind === 'blocked') return { outcome: 'blocked', reason: remark('blocked', acted.why) }
  if (acted.kind === 'in-doubt') return { outcome: 'unproved', reason: remark('in-doubt', acted.why) }
  const [first] = refusals
  const refused = first && remark(first.reason, first.summary, { group: first.group })
  // Where nothing was committed, a refusal is the whole of it.
  if (refused && acted.kind === 'nothing') return { outcome: 'refused', reason: refused }
  const [open] = [...unproved(copies), ...unfenced.map((why) => remark('not-fenced', why))]
  if (open) return { outcome: 'unproved', reason: open }
  if (refused) return { outcome: 'refused', reason: refused }
  const [unfinished] = unfinishedIn(acted)
  if (unfinished) return { outcome: acted.kind === 'nothing' ? 'blocked' : 'unproved', reason: unfinished }
  switch (acted.kind) {
    case 'planned':
      return {
        outcome: 'planned',
        reason: remark('planned', plannedText({ changes: changesOf(acted, view), sql: acted.sql })),
      }
    case 'nothing': {
      const text = `${everyCopy(copies)} is up to date, nothing had to change`
      return { outcome: 'converged', reason: remark('converged', text) }
    }
    case 'committed':
    case 'registered':
      return {
        outcome: 'changed',
        reason: remark('changed', `committed, and ${everyCopy(copies)} was verified`),
      }
  }
}

function nextOf(
  { outcome, reason }: Ending,
  [refused]: readonly Refusal[],
  blockers: readonly Blocker[],
): string | null {
  switch (outcome) {
    case 'refused':
      return refused?.next ?? null
    case 'blocked':
      if (reason.code === 'switchover-unfinished') return 'citus-ha status'
      if (blockers.some(({ ours, pid }) => !ours && pid !== 0))
        return 'citus-ha reconcile --force-after 5s   # terminates those sessions; or end them, then: citus-ha reconcile'
      return blockers.some(({ ours }) => ours)
        ? 'citus-ha reconcile   # again, once the other change of citus-ha has ended'
        : 'citus-ha doctor   # names what is wrong, with the command; then: citus-ha reconcile'
    case 'unproved':
      return reason.code === 'switchover-unfinished' ? 'citus-ha status' : 'citus-ha reconcile   # again'
    default:
      return null
  }
}

function distinct(remarks: readonly Remark[]): Remark[] {
  return [...new Map(remarks.map((each) => [JSON.stringify(each), each])).values()]
}

function refusalOf(diagnosis: Diagnosis, view: View): Refusal {
  const { group, code, rule, summary, evidence } = diagnosis
  return { group, reason: code, rule, summary, evidence, next: nextOfRefusal(diagnosis, view) }
}
