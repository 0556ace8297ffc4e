import type { Answered } from './observation.ts'

/** Each running server once, under the first of the addresses at which it answered. */
export function distinctServers(nodes: readonly Answered[]): Answered[] {
  const first = new Map<string, Answered>()
  for (const node of nodes) if (!first.has(node.instance)) first.set(node.instance, node)
  return [...first.values()]
}
