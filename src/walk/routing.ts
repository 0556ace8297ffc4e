import { COORDINATOR_GROUP, rowAt } from '../model/catalog.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { type ReasonCode, type Remark, remark, type WarningCode } from '../model/remark.ts'
import { remedyOf } from '../model/remedy.ts'
import { isBehind } from '../model/server-state.ts'
import { describeSecondName, isAliasOf } from '../plan/alias.ts'
import { entriesOf, type Route, readRoute, writeRoute } from '../plan/routes.ts'
import type { View } from './look.ts'

export interface RouteStatus {
  /** HOST:PORT; null where it is refused before it is sent. */
  readonly to: string | null
  readonly works: 'yes' | 'no' | 'unknown'
  readonly why: string | null
}

/** Where statements go that enter at any of these nodes, for one group. */
export interface EntryStatus {
  readonly kind: string
  readonly nodes: readonly string[]
  /** Of an expand coordinator: whose secondaries it reads. */
  readonly cluster: string | null
  /** It streams from nobody who leads: what it tells is as old as that. */
  readonly stale: boolean
  readonly read: RouteStatus
  readonly write: RouteStatus
}

/** Which node every kind of coordinator would send a read of the group, and a write, to right now. */
export function entriesFor(view: View, group: number): EntryStatus[] {
  const alike = new Map<string, EntryStatus>()
  for (const entry of entriesOf(view.survey)) {
    const seen = entryOf(view, entry, group)
    // Of a kind that agrees, as all metadata workers should, one line is enough.
    const { nodes, ...rest } = seen
    const key = JSON.stringify(rest)
    alike.set(key, { ...rest, nodes: [...(alike.get(key)?.nodes ?? []), ...nodes] })
  }
  return [...alike.values()]
}

function entryOf(view: View, entry: Answered, group: number): EntryStatus {
  const { survey, aliases } = view
  return {
    kind: describeKind(entry),
    nodes: [formatAddress(entry.address)],
    cluster: kindOf(entry) === 'expand coordinator' ? (entry.citus?.clusterName ?? null) : null,
    stale: isStale(view, entry),
    read: statusOf(readRoute(survey, entry, group, aliases)),
    write: statusOf(writeRoute(survey, entry, group, aliases)),
  }
}

const statusOf = ({ to, works, why }: Route): RouteStatus => ({ to: to && formatAddress(to), works, why })

/** An expand coordinator is one by a setting: what it is beside that is said too. */
export function describeKind(node: Answered): string {
  const kind = kindOf(node)
  if (kind !== 'expand coordinator') return kind
  const form =
    node.citus?.localGroup !== COORDINATOR_GROUP
      ? 'metadata node'
      : node.inRecovery
        ? 'physical standby'
        : 'writable copy of its own'
  return `${kind} (${form})`
}

/** A standby that follows nobody, or an old coordinator: it goes on answering by what it knew. */
function isStale({ coordinator, diagnoses }: View, node: Answered): boolean {
  if (!node.inRecovery) return false
  const group = node.citus?.localGroup
  const primary =
    group === COORDINATOR_GROUP ? coordinator : diagnoses.find((each) => each.group === group)?.primary
  return isBehind(node, primary ?? null)
}

/** What was altered to keep reads working, and what that can't keep working, a line each. */
export function remediesTold({ coordinator, aliases }: View): {
  readonly group: number
  readonly text: string
}[] {
  const remedies = coordinator.installed?.remedies ?? []
  return (coordinator.citus?.catalog ?? []).flatMap((row) => {
    const remedy = remedyOf(row, remedies)
    if (!remedy) return []
    const { group } = row
    const own = formatAddress(remedy.address)
    const given = formatAddress(row.address)
    const rows = coordinator.citus?.catalog ?? []
    const named = rows.find(
      (each) => each.group === row.group && isAliasOf(row.address, each.address, aliases),
    )
    const explained = named ? ` (${describeSecondName(row.address, named.address)})` : ''
    const text =
      row.role === 'primary'
        ? `degraded: ${own} is down; reads go to ${given}, writes fail until a promotion${explained}`
        : row.isactive
          ? `reads of secondary ${own} go to ${given} until it is back${explained}`
          : `secondary ${own} is set inactive until it is back`
    return [{ group, text: `group ${group}: ${text}` }]
  })
}

/** Writable copies of group 0 beside the coordinator, which run Citus's daemon as if they were it. */
export function impostorsTold({ survey, coordinator }: View): Remark<WarningCode>[] {
  const others = entriesOf(survey).filter(
    (node) =>
      !node.inRecovery &&
      node.citus?.localGroup === COORDINATOR_GROUP &&
      node.instance !== coordinator.instance &&
      !rowAt(coordinator.citus?.catalog ?? [], node.address),
  )
  return others.map(({ address }) => {
    const text = `${formatAddress(address)} is a writable copy of group 0: its Citus can roll back the coordinator’s transactions and overwrite the metadata of workers, unless it has citus.recover_2pc_interval = -1 and metadatasynced = true in every row of its copy (citus-ha doctor looks: H020, H021)`
    return remark('impostor', text, { group: COORDINATOR_GROUP, node: address })
  })
}

/** Coordinators that follow nobody who leads, a line each. */
export function staleTold(view: View): Remark<ReasonCode>[] {
  return entriesOf(view.survey)
    .filter((entry) => isStale(view, entry))
    .map((entry) => {
      const text = `${formatAddress(entry.address)}, ${describeKind(entry)}, is stale: it does not stream from the primary of its group`
      return remark('stale-entry', text, { group: entry.citus?.localGroup ?? null, node: entry.address })
    })
}
