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
