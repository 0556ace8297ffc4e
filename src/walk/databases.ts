import type { Config } from '../config/schema.ts'
import { coordinatorOf } from '../model/kinds.ts'
import type { HostPort } from '../model/node.ts'
import type { Observation } from '../model/observation.ts'
import type { Access } from './access.ts'

/**
 * The databases to look after: those of the file, else every database of the coordinator that has Citus, `first` before
 * the others. null where no coordinator answers. One that can't be opened is among them where Citus's daemon runs in it.
 * @param seeds where the coordinator may be
 * @param watched are looked after already: they stay until they are seen to be gone, whatever a single look gives
 */
export async function databasesIn(
  access: Access,
  config: Config,
  first: string,
  seeds: readonly HostPort[],
  watched: readonly string[] = [],
): Promise<string[] | null> {
  if (config.databases) return [...config.databases]
  const prober = access.prober(first)
  const nodes = await Promise.all(seeds.map((address) => prober.probe(address)))
  for (const node of nodes) prober.spare?.(node)
  const coordinator = coordinatorOf(nodes)
  if (!coordinator) return null
  const { databases, citusDatabases } = coordinator
  const others = [...new Set([...databases, ...citusDatabases])].filter((name) => name !== first).sort()
  const seen = await Promise.all(others.map((name) => access.prober(name).probe(coordinator.address)))
  const after = others.filter(
    (name, n) => hasCitus(seen[n]) ?? (watched.includes(name) || citusDatabases.includes(name)),
  )
  return [first, ...after]
}

/** undefined: this look does not tell. */
function hasCitus(node: Observation | undefined): boolean | undefined {
  if (node?.kind === 'answered') return (node.citus?.catalog.length ?? 0) > 0
  if (node?.kind === 'unreadable' && node.cause === 'no-database') return false
  return undefined
}
