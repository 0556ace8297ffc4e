import { COORDINATOR_GROUP } from './catalog.ts'
import type { Answered, Observation } from './observation.ts'

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
 * The node whose copy is the truth that Citus itself spreads: group 0, writable, reading from primaries. Of
 * several, after a failover of the coordinator, the one on the highest timeline.
 */
export function coordinatorOf(nodes: readonly Observation[]): Answered | undefined {
  const candidates = nodes.filter(isCoordinator)
  return candidates.reduce<Answered | undefined>(
    (best, node) => (best && (best.timeline ?? 0) >= (node.timeline ?? 0) ? best : node),
    undefined,
  )
}
