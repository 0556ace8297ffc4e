import { COORDINATOR_GROUP } from './catalog.ts'
import { leaderAmong } from './known.ts'
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
  | 'no copy'

export function kindOf(node: Answered): Kind {
  const { citus } = node
  if (!citus || citus.catalog.length === 0) return 'no copy'
  if (node.retired) return 'retired primary'
  if (citus.useSecondaryNodes === 'always') return 'expand coordinator'
  if (citus.localGroup === COORDINATOR_GROUP) return node.inRecovery ? 'standby coordinator' : 'coordinator'
  return node.inRecovery ? 'worker standby' : 'metadata worker'
}

export function isCoordinator(node: Observation): node is Answered {
  return node.kind === 'answered' && kindOf(node) === 'coordinator'
}

/**
 * The node whose copy is the truth that Citus itself spreads: group 0, writable, reading from primaries. Of several, after a
 * failover of the coordinator or where a backup of it takes writes, the one that leads by what the others know. Where that
 * does not tell, one of them all the same, for what it names to be asked: the diagnosis of group 0 refuses it then.
 */
export function coordinatorOf(nodes: readonly Observation[]): Answered | undefined {
  const candidates = distinctServers(nodes.filter(isCoordinator))
  if (candidates.length < 2) return candidates[0]
  const [first] = candidates.toSorted(
    (a, b) => (b.timeline ?? 0) - (a.timeline ?? 0) || compareText(a.instance, b.instance),
  )
  return leaderAmong(nodes, candidates) ?? first
}

// The same one in every survey, whoever answers first.
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
