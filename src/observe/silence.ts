import type { Catalog } from '../model/catalog.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey, Testimony } from '../model/observation.ts'

/** Who gave no answer when it was last waited for, and is not worth another wait while something is urgent. */
export interface Silence {
  readonly nodes: readonly Observation[]
  /** What others said of them then. */
  readonly testimony: readonly Testimony[]
  /** Settled when the survey has to come to its end without them; before that they are waited for like all others. */
  readonly hurry: Promise<unknown>
}

/** The silent ones of a survey, as the next one is told of them. */
export function silenceIn({ nodes, testimony }: Survey, hurry: Promise<unknown>): Silence {
  const silent = nodes.filter((node) => node.kind === 'unreachable' && node.cause === 'timeout')
  const isAbout = ({ about }: Testimony) => silent.some(({ address }) => sameAddress(address, about))
  return { nodes: silent, testimony: testimony.filter(isAbout), hurry }
}

/** As it was seen then; undefined: it was not silent. */
export function silentAt(silence: Silence | null, address: HostPort): Observation | undefined {
  return silence?.nodes.find((node) => formatAddress(node.address) === formatAddress(address))
}

/**
 * Whether a group's decision hangs on this node: it is registered as the primary, and another member takes writes. That it is
 * still silent has to be seen then, whatever it costs.
 */
export function isDecisive(address: HostPort, catalog: Catalog, nodes: readonly Observation[]): boolean {
  const row = catalog.find((each) => each.role === 'primary' && sameAddress(each.address, address))
  if (!row) return false
  const { group } = row
  return nodes.some(
    (node): node is Answered =>
      node.kind === 'answered' && !node.inRecovery && !node.retired && node.citus?.localGroup === group,
  )
}
