import type { Config } from '../config/schema.ts'
import { coordinatorOf } from '../model/kinds.ts'
import type { HostPort } from '../model/node.ts'
import type { Access } from './access.ts'

/**
 * The databases to look after: those of the file, else every database of the coordinator that has Citus, `first` before
 * the others. null where no coordinator answers.
 * @param seeds where the coordinator may be
 */
export async function databasesIn(
  access: Access,
  config: Config,
  first: string,
  seeds: readonly HostPort[],
): Promise<string[] | null> {
  if (config.databases) return [...config.databases]
  const nodes = await Promise.all(seeds.map((address) => access.prober(first).probe(address)))
  const coordinator = coordinatorOf(nodes)
  if (!coordinator) return null
  const others = coordinator.databases.filter((name) => name !== first)
  const seen = await Promise.all(others.map((name) => access.prober(name).probe(coordinator.address)))
  const withCitus = others.filter((_, n) => {
    const node = seen[n]
    return node?.kind === 'answered' && (node.citus?.catalog.length ?? 0) > 0
  })
  return [first, ...withCitus]
}
