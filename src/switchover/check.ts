import { COORDINATOR_GROUP, primaryOf, rowAt } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { CitusHaError } from '../model/failure.ts'
import { ask, commandOf } from '../model/next-step.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'
import { type CopyPlan, changesNothing, type Plan, type RowChange } from '../model/plan.ts'
import { refusal } from '../model/refusal.ts'
import { streamsFrom } from '../model/server-state.ts'
import { distinctServers, instanceAt } from '../model/servers.ts'
import { psqlAsOwnRole } from '../model/shell.ts'
import { type Entries, entriesOf } from '../walk/fence.ts'
import type { View } from '../walk/look.ts'
import { nextOfRefusal } from '../walk/next-step.ts'
import type { SwitchoverOrder } from './order.ts'

/** One group: who is its primary, and who is to be. */
export interface Move {
  readonly group: number
  readonly from: Answered
  readonly to: Answered
}

export interface Checked {
  readonly moves: readonly Move[]
  readonly entries: Entries
  readonly refusals: readonly string[]
  readonly warnings: readonly string[]
}

/** The groups that an order is about. @throws CitusHaError where there is none */
export function groupsOf({ groups, host }: SwitchoverOrder, { coordinator, diagnoses }: View): number[] {
  if (host === null) return [...new Set(groups)].sort((a, b) => a - b)
  const catalog = coordinator.citus?.catalog ?? []
  const there = diagnoses
    .map(({ group }) => group)
    .filter((group) => primaryOf(catalog, group)?.address.host === host)
  if (there.length > 0) return there
  throw new CitusHaError('usage', `no group has its primary on ${host}`)
}

/** What speaks against a switchover, as far as a survey shows it. Pure. @throws CitusHaError for what can't be meant */
export function check(view: View, order: SwitchoverOrder, migration: number): Checked {
  const groups = groupsOf(order, view)
  if (order.to !== null && groups.length > 1)
    throw new CitusHaError('usage', '--to names the new primary of one group, but several groups were given')
  const refusals: string[] = []
  const warnings: string[] = []
  const moves = groups.flatMap((group): Move[] => {
    const diagnosis = view.diagnoses.find((each) => each.group === group)
    const move = diagnosis && moveOf(diagnosis, view, order, refusals)
    if (move && diagnosis) warnings.push(...othersOf(move, view, order))
    return move ? [move] : []
  })
  const entries = entriesOf(view, migration)
  refusals.push(...clusterRefusals(view, groups, order, entries))
  if (isRightToWriteBy(view.plan)) warnings.push(...notRead(view.plan))
  if (order.unreachable === 'allow') {
    for (const { node, why } of entries.missing)
      warnings.push(`${node} is not fenced, so writes that enter there may fail: ${why}`)
    for (const each of view.diagnoses.filter((each) => isRefused(each) && !isEssential(each, groups)))
      warnings.push(refusedLine(each))
  }
  return { moves, entries, refusals, warnings }
}

const isRefused = ({ standing }: Diagnosis): boolean => standing === 'refused'
const refusedLine = ({ group, summary }: Diagnosis): string => `group ${group}: ${summary}`

/** Another group's trouble is its own, where copies may be done without. */
function isEssential({ group }: Diagnosis, groups: readonly number[]): boolean {
  return group === COORDINATOR_GROUP || groups.includes(group)
}

function clusterRefusals(
  view: View,
  groups: readonly number[],
  order: SwitchoverOrder,
  { missing }: Entries,
): string[] {
  const { survey, plan, diagnoses } = view
  const prepared = survey.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && node.prepared.length > 0,
  )
  return [
    ...prepared.map(({ address }) =>
      refusal(`${formatAddress(address)}: a change is in doubt there`, 'citus-ha recover'),
    ),
    ...(isRightToWriteBy(plan) ? [] : [notRight(plan)]),
    ...diagnoses
      .filter((each) => isRefused(each) && (order.unreachable === 'refuse' || isEssential(each, groups)))
      .map((each) => refusal(refusedLine(each), nextOfRefusal(each, view))),
    ...(order.unreachable === 'allow'
      ? []
      : missing.map(({ node, why }) =>
          refusal(
            `${node} cannot be fenced: ${why}`,
            'citus-ha doctor   # or without it: --allow-unreachable',
          ),
        )),
  ]
}

/**
 * Rows of secondaries alone are to be changed, if any: of one that is down, or is back. Nobody writes by those, and the change
 * takes them along where they are of its groups.
 */
function isRightToWriteBy(plan: Plan): boolean {
  const isOfSecondary = ({ before }: CopyPlan, nodeid: number) =>
    before.find((row) => row.nodeid === nodeid)?.role === 'secondary'
  return (
    changesNothing(plan) ||
    (plan.unsynced.length === 0 &&
      plan.changes.every(isRead) &&
      plan.copies.every((copy) => copy.steps.every(({ nodeid }) => isOfSecondary(copy, nodeid))))
  )
}

const OF_SECONDARIES: readonly RowChange['kind'][] = ['remedy', 'remedy-ended', 'reads-moved']
const isRead = ({ kind }: RowChange): boolean => OF_SECONDARIES.includes(kind)

/** What is left to be done about secondaries, a line each. */
function notRead(plan: Plan): string[] {
  return plan.changes
    .filter(isRead)
    .map(
      ({ group, to, from, why }) =>
        `group ${group}: the row of a secondary is out of date (${from} -> ${to}, ${why}): a running watch updates it, or run: citus-ha reconcile`,
    )
}

/** Names the node whose row would change first. */
function notRight({ changes, copies }: Plan): string {
  const says = 'pg_dist_node is out of date'
  const [first, ...more] = [...changes].sort((a, b) => Number(isRead(a)) - Number(isRead(b)))
  if (!first) return refusal(says, 'citus-ha reconcile')
  const { group, nodeid, from, to, why } = first
  const row = copies[0]?.before.find((each) => each.nodeid === nodeid)
  const node = row ? formatAddress(row.address) : `node ${nodeid}`
  const others = more.length === 0 ? '' : `, and ${more.length} more`
  return refusal(`${says} (group ${group}, ${node}: ${from} -> ${to}, ${why}${others})`, 'citus-ha reconcile')
}

function moveOf(
  { group, primary, standing }: Diagnosis,
  view: View,
  { to, maxLag }: SwitchoverOrder,
  refusals: string[],
): Move | null {
  const { database } = view.survey
  const standbysShown = `citus-ha status --group ${group}`
  const say = (why: string, next = standbysShown) => {
    refusals.push(refusal(`group ${group}: ${why}`, next))
    return null
  }
  if (!primary || standing !== 'sound') return null
  const standbys = view.survey.nodes.filter(
    (node): node is Answered =>
      node.kind === 'answered' && node.inRecovery && node.citus?.localGroup === group,
  )
  const able = standbys.filter(
    (node) => streamsFrom(node, primary) && node.citus?.useSecondaryNodes === 'never',
  )
  const target = to ? wanted(view, to) : closest(able)
  if (target === 'silent') {
    const silent = to ?? primary.address
    return say(`${formatAddress(silent)} does not answer`, commandOf(ask(silent, database)))
  }
  if (target === null) return say('no standby streams from its primary')
  const at = formatAddress(target.address)
  if (target.instance === primary.instance) return say(`${at} is already its primary`)
  if (!target.inRecovery) return say(`${at} is no standby`)
  if (target.systemIdentifier !== primary.systemIdentifier || target.citus?.localGroup !== group)
    return say(`${at} does not belong to this group`)
  if (!streamsFrom(target, primary))
    return say(
      `${at} does not stream from ${formatAddress(primary.address)}`,
      psqlAsOwnRole(target.address, database, 'SELECT status, sender_host FROM pg_stat_wal_receiver'),
    )
  const lag = lagOf(target, primary)
  if (lag > maxLag)
    return say(
      `${at} is ${lag} bytes behind, more than maxLag (${maxLag})`,
      `${standbysShown}   # again, until LAG is less`,
    )
  const barred = barredAt(view, answeredCopies(view), group, target.address)
  if (barred)
    return say(
      `${formatAddress(barred)}: the group may not be given the address ${at}`,
      `citus-ha install --user postgres   # with ${at} under "standbys" of the configuration`,
    )
  // The intent names it on the coordinator: one that is registered as localhost is known here by another name.
  const own = primary.address
  const untold = barredAt(view, [view.coordinator], group, own)
  if (untold)
    return say(
      `${formatAddress(untold)} does not know ${formatAddress(own)} as one of its addresses`,
      `citus-ha install --user postgres   # with ${formatAddress(own)} under "coordinators" of the configuration`,
    )
  return { group, from: primary, to: target }
}

function wanted(view: View, to: HostPort): Answered | 'silent' {
  const node = view.survey.nodes.find((each) => sameAddress(each.address, to))
  return node?.kind === 'answered' ? node : 'silent'
}

function closest(able: readonly Answered[]): Answered | null {
  return able.reduce<Answered | null>(
    (best, node) => (best && (best.lsn ?? 0n) >= (node.lsn ?? 0n) ? best : node),
    null,
  )
}

/** Bytes of WAL that are written and not replayed. */
export function lagOf(standby: Answered, primary: Answered): number {
  if (primary.lsn === null || standby.lsn === null) return Number.POSITIVE_INFINITY
  return Number(primary.lsn > standby.lsn ? primary.lsn - standby.lsn : 0n)
}

function answeredCopies({ survey }: View): Answered[] {
  return survey.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && !node.inRecovery && node.citus !== null,
  )
}

/** A copy whose role may not give the group this address; null: all may. */
function barredAt(
  { coordinator }: View,
  copies: readonly Answered[],
  group: number,
  address: HostPort,
): HostPort | null {
  if (rowAt(coordinator.citus?.catalog ?? [], address)?.group === group) return null
  const may = (node: Answered) =>
    node.superuser ||
    (node.installed?.spareAddresses ?? []).some(
      (spare) => spare.group === group && sameAddress(spare.address, address),
    )
  return copies.find((node) => !may(node))?.address ?? null
}

/**
 * Standbys that don't follow. An old primary that is stopped after the promotion, or runs on, sends them WAL that is
 * not the new one's: a checkpoint when it stops, at the least. Those that stream from the target already do.
 */
function othersOf(move: Move, { survey }: View, { demote }: SwitchoverOrder): string[] {
  const { group, from, to } = move
  const others = distinctServers(
    survey.nodes.filter(
      (node): node is Answered =>
        node.kind === 'answered' && node.instance !== to.instance && streamsFrom(node, from),
    ),
  )
  const what =
    demote === 'first'
      ? 'to be pointed at the new primary (primary_conninfo)'
      : 'to be rewound or rebuilt as a standby of the new primary (pg_rewind, pg_basebackup)'
  const told = (follows: boolean | null, one: string, several: string) => {
    const names = others.filter((node) => followsTo(node, move, survey.nodes) === follows)
    const named = names.map(({ address }) => formatAddress(address)).join(', ')
    return names.length === 0
      ? []
      : [`group ${group}: ${named} ${names.length === 1 ? one : several} ${what}`]
  }
  return [
    ...told(false, 'will not follow by itself and has', 'will not follow by themselves and have'),
    ...told(
      null,
      'streams from a server that citus-ha does not know by that address: if it does not follow by itself, it has',
      'stream from servers that citus-ha does not know by that address: if they do not follow by themselves, they have',
    ),
  ]
}

/** Whether what a standby streams from, be it through others, is the target; null: that leads to a server that is not known. */
function followsTo(standby: Answered, { from, to }: Move, nodes: readonly Observation[]): boolean | null {
  const passed = new Set<string>()
  for (let node = standby; !passed.has(node.instance); ) {
    passed.add(node.instance)
    const sender = node.receiver?.sender
    const instance = sender ? instanceAt(nodes, formatAddress(sender)) : null
    if (instance === to.instance) return true
    if (instance === from.instance) return false
    const upstream = nodes.find(
      (each): each is Answered => each.kind === 'answered' && each.instance === instance,
    )
    if (!upstream) return null
    node = upstream
  }
  return null
}
