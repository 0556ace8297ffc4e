import { COORDINATOR_GROUP } from './catalog.ts'
import type { Answered, Observation } from './observation.ts'

/** What a node with a copy of the metadata is, by what it shows and not by what it is called. */
export type Kind =
  | 'coordinator'
  | 'standby coordinator'
  | 'expand coordinator'
  | 'metadata worker'
  | 'worker standby'
  | 'no copy'

export function kindOf(node: Answered): Kind {
  const { citus } = node
  if (!citus || citus.catalog.length === 0) return 'no copy'
  if (citus.useSecondaryNodes === 'always') return 'expand coordinator'
  if (citus.localGroup === COORDINATOR_GROUP) return node.inRecovery ? 'standby coordinator' : 'coordinator'
  return node.inRecovery ? 'worker standby' : 'metadata worker'
}

/** The node whose copy is the truth that Citus itself spreads: group 0, writable, reading from primaries. */
export function isCoordinator(node: Observation): node is Answered {
  return node.kind === 'answered' && kindOf(node) === 'coordinator'
}
