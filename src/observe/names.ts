import { type Catalog, type CatalogRow, groupsOf, primaryOf, rowAt } from '../model/catalog.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Remedy, Testimony } from '../model/observation.ts'
import { remedyOf, withoutRemedies } from '../model/remedy.ts'
import type { Prober } from './prober.ts'

/** Which other names of nodes a row may be given, that have to be tried before. */
export interface NamesToTry {
  /** null: it has none. */
  readonly aliasOf: (address: HostPort) => HostPort | null
  /** Whether the row of a secondary may name its primary. */
  readonly ofPrimaries: boolean
  /** Whether the row of a primary may name a secondary of it. */
  readonly ofSecondaries: boolean
  /** Who is about to be promoted. */
  readonly promoting: readonly HostPort[]
}

interface Seen {
  readonly nodes: readonly Observation[]
  /** As the coordinator's copy is written, and without its remedies. */
  readonly written: Catalog
  readonly catalog: Catalog
  readonly remedies: readonly Remedy[]
}

/**
 * Asks those who may read through secondaries whether they reach a node by the name that a row may soon have: one that no
 * certificate has, no password file, or no resolver is worse than none. Where it is not reached, the node's own name is
 * tried as well (`Testimony.control`). In a cluster in which nothing is amiss, nobody is asked.
 */
export async function tryNames(
  prober: Prober,
  nodes: readonly Observation[],
  names: NamesToTry,
): Promise<Testimony[]> {
  const coordinator = coordinatorOf(nodes)
  const written = coordinator?.citus?.catalog ?? []
  const remedies = coordinator?.installed?.remedies ?? []
  const seen = { nodes, written, catalog: withoutRemedies(written, remedies), remedies }
  const wanted = groupsOf(seen.catalog).flatMap((group) => [
    ...(names.ofPrimaries ? primariesToLend(seen, group, names.promoting) : []),
    ...(names.ofSecondaries ? secondariesToLend(seen, group) : []),
  ])
  // Metadata workers connect as the coordinator does.
  const readers = nodes.filter(
    (node): node is Answered =>
      node.kind === 'answered' &&
      ['coordinator', 'standby coordinator', 'expand coordinator'].includes(kindOf(node)),
  )
  const own = new Map(wanted.map((address) => [formatAddress(address), address]))
  const asked = [...own.values()].flatMap((address) => {
    const alias = names.aliasOf(address)
    // One that a row has already was tried when it was given.
    if (alias === null || rowAt(written, alias)) return []
    return readers.map((reader) => prober.ask(reader.address, alias, address))
  })
  return await Promise.all(asked)
}

/** Whoever is, or becomes, the primary of a group in which a secondary's row is about to name a node that can't be read. */
function primariesToLend(seen: Seen, group: number, promoting: readonly HostPort[]): HostPort[] {
  const rows = secondariesIn(seen.catalog, group)
  const registered = primaryOf(seen.catalog, group)
  if (rows.length === 0 || !registered) return []
  const now = at(seen, registered.address)
  const members = seen.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && node.citus?.localGroup === group && !node.retired,
  )
  const news = members.filter(({ address, inRecovery, instance }) => {
    const isAnother = now?.kind !== 'answered' || instance !== now.instance
    return isAnother && (!inRecovery || promoting.some((each) => sameAddress(each, address)))
  })
  const isLost = (row: CatalogRow) => {
    const node = at(seen, row.address)
    return node?.kind === 'unreachable' || (node?.kind === 'answered' && !node.inRecovery)
  }
  const lost = rows.filter((row) => isLost(row) && !isRemedied(row, seen))
  // One that is down, or a standby by now, is read by nobody in another's place.
  const mayBeLent = lost.length > 0 && now?.kind === 'answered' && !now.inRecovery
  return [...news.map(({ address }) => address), ...(mayBeLent ? [registered.address] : [])]
}

/** The living secondaries of a group whose primary is gone, of which one may be read in its place. */
function secondariesToLend(seen: Seen, group: number): HostPort[] {
  const primary = primaryOf(seen.catalog, group)
  if (!primary?.isactive || isRemedied(primary, seen)) return []
  if (at(seen, primary.address)?.kind !== 'unreachable') return []
  const rows = secondariesIn(seen.catalog, group).map((row) => row.address)
  return rows.filter((address) => at(seen, address)?.kind === 'answered')
}

function secondariesIn(catalog: Catalog, group: number): CatalogRow[] {
  return catalog.filter(
    (row) => row.group === group && row.role === 'secondary' && row.isactive && !row.isclone,
  )
}

function isRemedied({ nodeid }: CatalogRow, { written, remedies }: Seen): boolean {
  const row = written.find((each) => each.nodeid === nodeid)
  return row !== undefined && remedyOf(row, remedies) !== undefined
}

const at = ({ nodes }: Seen, address: HostPort): Observation | undefined =>
  nodes.find((node) => sameAddress(node.address, address))
