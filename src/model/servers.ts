import { formatAddress } from './node.ts'
import type { Answered, Observation } from './observation.ts'

/** Each running server once, under the first of the addresses at which it answered. */
export function distinctServers(nodes: readonly Answered[]): Answered[] {
  const first = new Map<string, Answered>()
  for (const node of nodes) if (!first.has(node.instance)) first.set(node.instance, node)
  return [...first.values()]
}

/** The running server that answered at an address, as in `Answered`; null: none did. @param address as `formatAddress` gives it */
export function instanceAt(nodes: readonly Observation[], address: string): string | null {
  const seen = nodes.find((node) => formatAddress(node.address) === address)
  return seen?.kind === 'answered' ? seen.instance : null
}
