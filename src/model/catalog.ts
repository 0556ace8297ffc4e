import { type HostPort, sameAddress } from './node.ts'

/** One row of `pg_dist_node`. Columns that an old Citus lacks have the value Citus would have given them. */
export interface CatalogRow {
  readonly nodeid: number
  readonly group: number
  readonly address: HostPort
  readonly rack: string
  readonly cluster: string
  readonly role: 'primary' | 'secondary'
  readonly isactive: boolean
  readonly hasmetadata: boolean
  readonly metadatasynced: boolean
  readonly shouldhaveshards: boolean
  /** Citus 13.2+: a row made by `citus_add_clone_node`; no candidate for a failover. */
  readonly isclone: boolean
}

/** In the table's physical order, which counts where Citus reads secondaries: it takes a group's first one. */
export type Catalog = readonly CatalogRow[]

/** Group 0 is the coordinator's (Citus: `COORDINATOR_GROUP_ID`). */
export const COORDINATOR_GROUP = 0

export function primaryOf(catalog: Catalog, group: number): CatalogRow | undefined {
  return catalog.find((row) => row.group === group && row.role === 'primary')
}

export function rowAt(catalog: Catalog, address: HostPort): CatalogRow | undefined {
  return catalog.find((row) => sameAddress(row.address, address))
}

export function groupsOf(catalog: Catalog): number[] {
  return [...new Set(catalog.map((row) => row.group))].sort((a, b) => a - b)
}

/**
 * The rows among which an expand coordinator of this cluster chooses for a group, in its order. Citus takes the first,
 * and looks only then whether it is active (`LookupNodeForGroup`, `ActiveShardPlacementList`).
 */
export function secondariesOf(catalog: Catalog, group: number, cluster: string): CatalogRow[] {
  return catalog.filter(
    (row) => row.group === group && row.role === 'secondary' && !row.isclone && row.cluster === cluster,
  )
}

/** Whether Citus reads this row before the other secondaries of its group and cluster. */
export function isReadFirst(catalog: Catalog, nodeid: number): boolean {
  const row = catalog.find((each) => each.nodeid === nodeid)
  return row !== undefined && secondariesOf(catalog, row.group, row.cluster)[0] === row
}

/** Columns in which two copies may differ by nature: Citus tracks its sync on the coordinator alone. */
const LOCAL_COLUMNS = ['hasmetadata', 'metadatasynced'] as const

/** Equal in everything that routes a query. The order of rows does not count. */
export function sameCatalog(a: Catalog, b: Catalog): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  const rows = new Map(b.map((row) => [row.nodeid, row]))
  return a.every((row) => {
    const other = rows.get(row.nodeid)
    return other !== undefined && sameRow(row, other)
  })
}

export function sameRow(a: CatalogRow, b: CatalogRow): boolean {
  return differences(a, b).length === 0
}

/** Names of the columns, of those that route a query, in which two rows differ. */
export function differences(a: CatalogRow, b: CatalogRow): (keyof CatalogRow)[] {
  const columns = (Object.keys(a) as (keyof CatalogRow)[]).filter(
    (column) => !(LOCAL_COLUMNS as readonly string[]).includes(column),
  )
  return columns.filter((column) =>
    column === 'address' ? !sameAddress(a.address, b.address) : a[column] !== b[column],
  )
}
