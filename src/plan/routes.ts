import { type Catalog, primaryOf, secondariesOf } from '../model/catalog.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import { type AliasOf, isAliasOf } from './alias.ts'

/** Where a statement would be sent now, and whether that works. */
export interface Route {
  /** null: Citus, or the server itself, refuses before it sends anything. */
  readonly to: HostPort | null
  readonly works: 'yes' | 'no' | 'unknown'
  /** Why not, or why nobody can say; null where it works. */
  readonly why: string | null
}

/** Everything that answers a statement by sending it on. */
export function entriesOf({ nodes }: Survey): Answered[] {
  const kinds = ['coordinator', 'standby coordinator', 'expand coordinator', 'metadata worker']
  return nodes.filter((node): node is Answered => node.kind === 'answered' && kinds.includes(kindOf(node)))
}

/** Where a read of this group that enters at this node goes, by the node's own copy. */
export function readRoute(
  survey: Survey,
  entry: Answered,
  group: number,
  aliases: readonly AliasOf[],
): Route {
  const catalog = entry.citus?.catalog ?? []
  if (kindOf(entry) !== 'expand coordinator') return primaryRoute(survey, catalog, group, 'read', aliases)
  const cluster = entry.citus?.clusterName ?? 'default'
  const [first] = secondariesOf(catalog, group, cluster)
  if (!first) return refused(`node group ${group} does not have a secondary node in cluster ${cluster}`)
  if (!first.isactive) return refused(`the first secondary, ${formatAddress(first.address)}, is inactive`)
  return found(survey, first.address, group, 'read', aliases)
}

/** Where a write to this group that enters at this node goes. */
export function writeRoute(
  survey: Survey,
  entry: Answered,
  group: number,
  aliases: readonly AliasOf[],
): Route {
  if (kindOf(entry) === 'expand coordinator') return refused('it reads secondaries only')
  if (entry.inRecovery) return refused('it is in recovery')
  return primaryRoute(survey, entry.citus?.catalog ?? [], group, 'write', aliases)
}

function primaryRoute(
  survey: Survey,
  catalog: Catalog,
  group: number,
  what: 'read' | 'write',
  aliases: readonly AliasOf[],
): Route {
  const row = primaryOf(catalog, group)
  if (!row) return refused(`node group ${group} does not have a primary node`)
  if (!row.isactive) return refused(`the primary, ${formatAddress(row.address)}, is inactive`)
  return found(survey, row.address, group, what, aliases)
}

const refused = (why: string): Route => ({ to: null, works: 'no', why })

/** What a statement finds at an address. That it is silent towards us does not say that it is so towards others. */
function found(
  { nodes }: Survey,
  to: HostPort,
  group: number,
  what: 'read' | 'write',
  aliases: readonly AliasOf[],
): Route {
  const node =
    nodes.find((each) => sameAddress(each.address, to)) ??
    nodes.find((each) => isAliasOf(to, each.address, aliases))
  if (node === undefined) return { to, works: 'unknown', why: 'it was not asked' }
  if (node.kind === 'unreachable')
    return { to, works: 'no', why: `unreachable from citus-ha (${node.cause})` }
  if (node.kind === 'unreadable') return { to, works: 'unknown', why: `cannot be read (${node.cause})` }
  if (node.citus?.localGroup !== group) return { to, works: 'no', why: 'it belongs to another group' }
  if (what === 'write' && node.inRecovery) return { to, works: 'no', why: 'it is in recovery' }
  return { to, works: 'yes', why: null }
}
