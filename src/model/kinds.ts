import { COORDINATOR_GROUP } from './catalog.ts'
import { leaderAmong } from './known.ts'
import { formatAddress } from './node.ts'
import type { Answered, Observation } from './observation.ts'
import { distinctServers } from './servers.ts'

/** What a node with a copy of the metadata is, by what it shows and not by what it is called. */
export type Kind =
  | 'coordinator'
  | 'standby coordinator'
  | 'expand coordinator'
  | 'metadata worker'
  | 'worker standby'
  | 'retired primary'
  | 'standby of a retired primary'
  | 'no copy'

export function kindOf(node: Answered): Kind {
  const { citus } = node
  if (!citus || citus.catalog.length === 0) return 'no copy'
  if (node.retired) return node.inRecovery ? 'standby of a retired primary' : 'retired primary'
  if (citus.useSecondaryNodes === 'always') return 'expand coordinator'
  if (citus.localGroup === COORDINATOR_GROUP) return node.inRecovery ? 'standby coordinator' : 'coordinator'
  return node.inRecovery ? 'worker standby' : 'metadata worker'
}

/**
 * Whether it takes the writes of a group, registered or not. An expand coordinator with a copy of its own takes writes, is of
 * group 0, and is in nobody's place.
 */
export function takesWritesOf(node: Observation, group: number): node is Answered {
  if (node.kind !== 'answered' || node.inRecovery || node.readOnly || node.retired) return false
  return node.citus?.localGroup === group && node.citus.useSecondaryNodes === 'never'
}

function isCoordinator(node: Observation): node is Answered {
  return node.kind === 'answered' && kindOf(node) === 'coordinator'
}

/** Servers that are coordinators of this cluster by what they show, also where they rival each other: no strangers. */
export function coordinatorsIn(nodes: readonly Observation[]): Answered[] {
  const candidates = distinctServers(nodes.filter(isCoordinator))
  return candidates.filter((each) => !candidates.some((other) => isStrangerTo(each, other, nodes)))
}

/** Coordinators of other clusters among the servers that answered. */
export function strangersIn(nodes: readonly Observation[]): Answered[] {
  const own = coordinatorsIn(nodes)
  return distinctServers(nodes.filter(isCoordinator)).filter((each) => !own.includes(each))
}

/**
 * Whether one coordinator is that of another cluster, which somebody has put at an address of ours: their rows have nobody in
 * common, and the other one's rows name that address, or other servers know the other system, and none knows this one.
 * Where rows name the same nodes (one of the two was upgraded, or made from the other), nothing tells them apart.
 */
function isStrangerTo(one: Answered, other: Answered, nodes: readonly Observation[]): boolean {
  if (one.systemIdentifier === other.systemIdentifier) return false
  const at = formatAddress(one.address)
  const theirs = (other.citus?.catalog ?? []).map((row) => formatAddress(row.address))
  // Every cluster may have its coordinator as localhost.
  const workers = (one.citus?.catalog ?? []).filter(({ group }) => group !== COORDINATOR_GROUP)
  if (workers.some(({ address }) => theirs.includes(formatAddress(address)))) return false
  return theirs.includes(at) || (isKnownToOthers(other, nodes) && !isKnownToOthers(one, nodes))
}

/** A standby of it answers, or a server that wrote down its system as the one that leads. */
function isKnownToOthers({ instance, systemIdentifier }: Answered, nodes: readonly Observation[]): boolean {
  return nodes.some(
    (node) =>
      node.kind === 'answered' &&
      node.instance !== instance &&
      ((node.inRecovery && node.systemIdentifier === systemIdentifier) ||
        (node.installed?.lineage ?? []).some(
          (line) => line.group === COORDINATOR_GROUP && line.systemIdentifier === systemIdentifier,
        )),
  )
}

/**
 * The node whose copy is the truth that Citus itself spreads: group 0, writable, reading from primaries. Of several, after a
 * failover of the coordinator or where a backup of it takes writes, the one that leads by what the others know. Where that
 * does not tell, one of them all the same, for what it names to be asked: the diagnosis of group 0 refuses it then.
 */
export function coordinatorOf(nodes: readonly Observation[]): Answered | undefined {
  const candidates = coordinatorsIn(nodes)
  if (candidates.length < 2) return candidates[0]
  const [first] = candidates.toSorted(
    (a, b) => (b.timeline ?? 0) - (a.timeline ?? 0) || compareText(a.instance, b.instance),
  )
  return leaderAmong(nodes, candidates) ?? first
}

// The same one in every survey, whoever answers first.
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
