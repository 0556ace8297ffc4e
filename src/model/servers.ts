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

/** By what a server is known again under a name that may lead to another one by now. */
export interface SeenServer {
  readonly systemIdentifier: string
  /** null: not known. A promotion begins a new one. */
  readonly timeline: number | null
  /** Of its copy, where no change may have been made there since. */
  readonly epoch?: { readonly timeline: number; readonly epoch: number }
}

export function seenServer({ systemIdentifier, timeline }: Answered): SeenServer {
  return { systemIdentifier, timeline }
}
