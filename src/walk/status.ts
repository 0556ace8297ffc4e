import type { Activity } from '../model/activity.ts'
import { primaryOf } from '../model/catalog.ts'
import type { Diagnosis, DiagnosisCode } from '../model/diagnosis.ts'
import { untrustedSchema } from '../model/failure.ts'
import { describeIntent } from '../model/intent.ts'
import { intentsIn } from '../model/intents.ts'
import { commandOf, isAiling, type StepCode, stepOfSecondary } from '../model/next-step.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'
import { type Pause, pausedBy } from '../model/pause.ts'
import { changesNothing } from '../model/plan.ts'
import { type ReasonCode, type Remark, remark, textsOf, type WarningCode } from '../model/remark.ts'
import { describeRetired, retiredIn } from '../model/retired.ts'
import { type ServerRole, type StateCode, serverState } from '../model/server-state.ts'
import { distinctServers, instanceAt } from '../model/servers.ts'
import { describeRegistration } from '../plan/registrations.ts'
import { renderPlan } from '../plan/render.ts'
import type { ReadActivity } from './activity.ts'
import type { View } from './look.ts'
import { aboutIn, type NextStep, withNext } from './next-step.ts'
import {
  describeKind,
  type EntryStatus,
  entriesFor,
  impostorsTold,
  remediesTold,
  staleTold,
} from './routing.ts'
import { isWrong, type Wrong, wrongIn } from './wrong.ts'

/** One registered row, or one node that no row names, with what was seen there. */
export interface NodeStatus {
  readonly address: string
  /** null for a node that no row names, and that did not say it. */
  readonly group: number | null
  /** null for a node that pg_dist_node does not name. */
  readonly nodeid: number | null
  readonly registeredAs: 'primary' | 'secondary' | 'clone' | null
  /** For people. */
  readonly state: string
  readonly stateCode: StateCode
  readonly role: ServerRole | null
  readonly kind: string | null
  readonly timeline: number | null
  /** Bytes of WAL that this standby has not replayed and its group's primary has; null where unknown. */
  readonly lagBytes: number | null
  readonly upstream: string | null
  readonly active: boolean | null
  readonly cluster: string | null
  /** Its row names the group’s primary a second time, by another name: for the reads of a secondary that is down. */
  readonly isAlias: boolean
}

export interface GroupNodes {
  readonly group: number
  readonly code: string
  readonly rule: string
  readonly summary: string
  readonly evidence: readonly string[]
  readonly nodes: readonly NodeStatus[]
  /** By itself or with the whole cluster. */
  readonly paused: boolean
}

export interface GroupStatus extends GroupNodes {
  /** Where a read of the group, and a write, would go right now, by where it enters. */
  readonly routes: readonly EntryStatus[]
}

/** What `citus-ha status` tells of one database. */
export interface Status {
  readonly database: string
  readonly coordinator: string
  readonly citus: string
  readonly at: string
  /** What watch leaves alone until somebody resumes: wanted, so not among the problems. */
  readonly pauses: readonly Pause[]
  /** Who watches, leads, changes something or holds a fence; null: that was not looked at, or could not be read. */
  readonly activity: Activity | null
  /** Why that could not be read; null: it was, or was not looked at. */
  readonly activityUnread: string | null
  readonly groups: readonly GroupStatus[]
  /** Nodes that were given or seen, but are in no row. */
  readonly others: readonly NodeStatus[]
  /** What was altered to keep reads working, a line each. */
  readonly remedies: readonly string[]
  /** What is wrong, a line each. */
  readonly problems: readonly string[]
  /** What `reconcile` would do now, a line each. */
  readonly pending: readonly string[]
  readonly warnings: readonly string[]
  /** Each of the problems, then each of the warnings, for programs. */
  readonly remarks: readonly (Remark & NextStep)[]
}

/** Several databases in one document: the first one's status at the top, as scripts for one database expect it. */
export type StatusDocument = Partial<Status> & { readonly databases: readonly Status[] }

/** What `citus-ha status --json` prints, and `/status` answers. */
export function statusDocument(statuses: readonly Status[]): StatusDocument {
  return { ...statuses[0], databases: statuses }
}

/**
 * Of the groups that the view is about.
 * @param work who is at work; null: that was not looked at
 */
export function statusOf(view: View, work: ReadActivity | null = null): Status {
  const { survey, coordinator, plan } = view
  const { problems, warnings } = remarksIn(view, work)
  const isAbout = (group: number | null) =>
    view.groups === null || (group !== null && view.groups.includes(group))
  const isShown = ({ group }: { readonly group: number | null }) => group === null || isAbout(group)
  const { groups, others } = nodesOf(view)
  return {
    database: survey.database,
    coordinator: formatAddress(coordinator.address),
    citus: coordinator.citus?.version ?? '',
    at: survey.at,
    pauses: (coordinator.installed?.pauses ?? []).filter(isShown),
    activity: work?.activity ?? null,
    activityUnread: work?.unread ?? null,
    groups: groups
      .filter(({ group }) => isAbout(group))
      .map((group) => ({ ...group, routes: entriesFor(view, group.group) })),
    others: others.filter(({ group }) => isAbout(group)),
    remedies: remediesTold(view).flatMap(({ group, text }) => (isAbout(group) ? [text] : [])),
    problems: textsOf(problems),
    pending: [
      ...(changesNothing(plan) ? [] : renderPlan(plan)),
      ...plan.registrations.map(describeRegistration),
    ],
    warnings: textsOf(warnings),
    remarks: [...problems, ...warnings].map((each) => nextTo(each, view)),
  }
}

interface Remarks {
  readonly problems: readonly (Remark<StepCode> | Wrong)[]
  readonly warnings: readonly Remark<StepCode>[]
}

/** What is wrong, and what is only to be known, of the groups that the view is about. */
export function remarksIn(view: View, work: ReadActivity | null = null): Remarks {
  const isShown = ({ group }: Remark) => view.groups === null || group === null || view.groups.includes(group)
  const { wrong, told } = wrongIn(view, warningsOf(view))
  const problems = [...problemsOf(view), ...staleTold(view), ...wrong, ...told.filter(isWrong)].filter(
    isShown,
  )
  // One line for one thing: an old primary that has a row, and is not retired yet, is a problem.
  const isTold = ({ code, node }: Remark) =>
    code === 'old-primary-runs' &&
    problems.some((each) => each.code === 'secondary-read-only' && each.node === node)
  const rest = told.filter((each) => !isWrong(each) && !isTold(each))
  return { problems, warnings: [...disabledTold(view), ...rest, ...unreadTold(view, work)].filter(isShown) }
}

/** What somebody did on purpose is no problem. */
function disabledTold({ diagnoses }: View): Remark<DiagnosisCode>[] {
  return diagnoses
    .filter(({ code }) => code === 'disabled')
    .map(({ group, code, rule, summary }) =>
      remark(code, `group ${group}: ${code} (${rule}): ${summary}`, { group }),
    )
}

/** A check of doctor brings its own command. */
function nextTo(each: Remark<StepCode> | Wrong, view: View): Remark & NextStep {
  if (!('step' in each)) return withNext(each, view)
  const { step, ...said } = each
  return { ...said, next: step && commandOf(step) }
}

/** What could not be read of whoever is at work: that it is nobody is not known then. It may be so for a moment only. */
function unreadTold({ coordinator }: View, work: ReadActivity | null): Remark<WarningCode>[] {
  // Without the schema, or the right to it, that is what is wrong (H140).
  if (work?.unread == null || !coordinator.installed?.mayExecute) return []
  const text = `who watches, changes or holds a fence could not be read: ${work.unread}`
  return [remark('can-not-look', text, { node: coordinator.address })]
}

/** What is said beside the diagnoses; some of it is a problem (`isWrong`). */
export function warningsOf(view: View): Remark<WarningCode>[] {
  const { survey, diagnoses, plan } = view
  return [
    ...plan.remarks,
    ...impostorsTold(view),
    ...unseenTold(survey),
    ...untrustedTold(survey),
    ...lookalikesTold(survey),
    ...retiredIn(survey, diagnoses).map((retired) =>
      remark('old-primary-runs', describeRetired(retired, survey.database), {
        group: retired.group,
        node: retired.node.address,
      }),
    ),
    ...intentsIn(survey.nodes).map((intent) =>
      remark('switchover-unfinished', describeIntent(intent), { group: intent.group, node: intent.from }),
    ),
  ]
}

/** Standbys of which nothing is known because our role may not look. */
function unseenTold({ nodes }: View['survey']): Remark<WarningCode>[] {
  const unseen = nodes.filter(
    (node): node is Answered => node.kind === 'answered' && serverState(node).code === 'unseen',
  )
  if (unseen.length === 0) return []
  const names = distinctServers(unseen).map(({ address }) => formatAddress(address))
  const text = `the replication state of ${names.join(', ')} is hidden: the role that citus-ha connects as lacks pg_read_all_stats there; connect as citus_ha, or GRANT pg_read_all_stats TO that role`
  return [remark('can-not-look', text, { node: names.length === 1 ? (names[0] ?? null) : null })]
}

/** Schemas of the name of ours that somebody else has made. */
function untrustedTold({ nodes }: View['survey']): Remark<WarningCode>[] {
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  return distinctServers(answered.filter(({ untrusted }) => untrusted.length > 0)).map(
    ({ address, untrusted }) =>
      remark('schema-not-ours', untrustedSchema(address, untrusted), { node: address }),
  )
}

/** Prepared transactions that are named like ours, and are not: they hold a slot, and whatever locks they have. */
function lookalikesTold({ nodes, database }: View['survey']): Remark<WarningCode>[] {
  const writable = nodes.filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
  return distinctServers(writable).flatMap(({ address, lookalikes }) =>
    lookalikes.map(({ gid, owner }) => {
      const text = `${formatAddress(address)}: prepared transaction ${gid} in database ${database}, owner ${owner}, is not citus-ha’s: citus-ha leaves it alone`
      return remark('lookalike', text, { node: address })
    }),
  )
}

/** The groups with their nodes, and the nodes that are in none. */
export function nodesOf({ survey, coordinator, diagnoses }: Omit<View, 'plan'>): {
  groups: GroupNodes[]
  others: NodeStatus[]
} {
  const catalog = coordinator.citus?.catalog ?? []
  const pauses = coordinator.installed?.pauses ?? []
  const shown = new Set<string>()
  const groups = diagnoses.map((diagnosis): GroupNodes => {
    const rows = catalog.filter((row) => row.group === diagnosis.group)
    const primary = primaryOf(catalog, diagnosis.group)
    const leader = primary && instanceAt(survey.nodes, formatAddress(primary.address))
    const ordered = [...rows].sort(
      (a, b) => Number(b === primary) - Number(a === primary) || a.nodeid - b.nodeid,
    )
    const nodes = ordered.map((row): NodeStatus => {
      const seen = survey.nodes.find((node) => sameAddress(node.address, row.address))
      if (seen?.kind === 'answered') shown.add(seen.instance)
      const registeredAs = row.isclone ? 'clone' : row.role
      const { nodeid, isactive, cluster } = row
      return {
        ...seenAs(seen, diagnosis),
        address: formatAddress(row.address),
        group: row.group,
        nodeid,
        registeredAs,
        active: isactive,
        cluster,
        isAlias: row !== primary && seen?.kind === 'answered' && seen.instance === leader,
      }
    })
    const { group, code, rule, summary, evidence } = diagnosis
    const paused = pausedBy(pauses, group) !== null
    return { group, code, rule, summary, evidence, nodes, paused }
  })
  const others = survey.nodes
    .filter((node) => node.kind !== 'answered' || !shown.has(node.instance))
    .filter((node) => !catalog.some((row) => sameAddress(row.address, node.address)))
    .map((node): NodeStatus => {
      const diagnosis =
        node.kind === 'answered' ? diagnoses.find((each) => each.group === node.citus?.localGroup) : undefined
      return {
        ...seenAs(node, diagnosis),
        address: formatAddress(node.address),
        group: node.kind === 'answered' ? (node.citus?.localGroup ?? null) : null,
        nodeid: null,
        registeredAs: null,
        active: null,
        cluster: null,
        isAlias: false,
      }
    })
  return { groups, others }
}

type Problem = Remark<DiagnosisCode | ReasonCode>

function problemsOf(view: View): (Problem | Wrong)[] {
  const { survey, diagnoses, plan } = view
  const groups = diagnoses
    .filter(({ standing, code }) => standing !== 'sound' || code === 'read-only')
    .map(
      ({ group, code, rule, summary }): Problem =>
        remark(code, `group ${group}: ${code} (${rule}): ${summary}`, { group }),
    )
  const secondaries = diagnoses.flatMap((diagnosis) => {
    const { group, standing, primary, secondaries: all } = diagnosis
    return all.flatMap(({ address, state, detail }): Wrong[] => {
      // The one that was promoted is what the group's own line tells of.
      if (standing === 'proved' && primary && sameAddress(address, primary.address)) return []
      if (!isAiling(state)) return []
      const text = `group ${group}: secondary ${formatAddress(address)} is ${detail}${refusalOf(survey, address)}`
      const step = stepOfSecondary(diagnosis, state, aboutIn(view, group, address))
      return [{ ...remark(`secondary-${state}`, text, { group, node: address }), step }]
    })
  })
  const pending = changesNothing(plan)
    ? []
    : [
        remark(
          'metadata-differs',
          'pg_dist_node is out of date on at least one node: citus-ha reconcile would change it',
        ),
      ]
  return [...groups, ...secondaries, ...pending]
}

/** What a server said that could not be read: the next command may be run as another role, which it lets in. */
function refusalOf({ nodes }: View['survey'], address: HostPort): string {
  const seen = nodes.find((node) => sameAddress(node.address, address))
  return seen?.kind === 'unreadable' && seen.detail !== '' ? `: ${seen.detail}` : ''
}

type Seen = Pick<NodeStatus, 'state' | 'stateCode' | 'role' | 'kind' | 'timeline' | 'lagBytes' | 'upstream'>

function seenAs(node: Observation | undefined, diagnosis: Diagnosis | undefined): Seen {
  const nothing = { kind: null, timeline: null, lagBytes: null, upstream: null }
  const { code, role, text } = serverState(node, diagnosis?.primary ?? null)
  const known = { state: text, stateCode: code, role }
  if (node?.kind !== 'answered') return { ...nothing, ...known }
  const { timeline, receiver } = node
  const lagBytes = node.inRecovery ? lagOf(node, diagnosis?.primary ?? null) : null
  const upstream = receiver?.sender ? formatAddress(receiver.sender) : null
  return { ...known, kind: describeKind(node), timeline, lagBytes, upstream }
}

function lagOf(standby: Answered, primary: Answered | null): number | null {
  if (primary?.lsn == null || standby.lsn === null) return null
  return Number(primary.lsn > standby.lsn ? primary.lsn - standby.lsn : 0n)
}
