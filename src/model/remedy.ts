import { type Catalog, type CatalogRow, rowAt } from './catalog.ts'
import { type HostPort, sameAddress } from './node.ts'
import type { Remedy } from './observation.ts'

/** Whether the row is still as the remedy made it: else somebody has changed it since, and it is not ours to undo. */
export function standsAsGiven(row: CatalogRow, { nodeid, address, given }: Remedy): boolean {
  if (row.nodeid !== nodeid || !sameAddress(row.address, given)) return false
  return !sameAddress(given, address) || !row.isactive
}

/** The remedy under which this row is; undefined where it is under none. */
export function remedyOf(row: CatalogRow, remedies: readonly Remedy[]): Remedy | undefined {
  return remedies.find((remedy) => standsAsGiven(row, remedy))
}

/** Whether no row is under it any more, since somebody has changed that row, or taken it away. */
export function isStale(remedy: Remedy, catalog: Catalog): boolean {
  return !catalog.some((row) => standsAsGiven(row, remedy))
}

/** The row at an address: its own, or the one that a remedy has lent out of it. */
export function rowOrLentAt(
  catalog: Catalog,
  address: HostPort,
  remedies: readonly Remedy[],
): CatalogRow | undefined {
  const lentOut = (row: CatalogRow) => {
    const remedy = remedyOf(row, remedies)
    return remedy !== undefined && sameAddress(remedy.address, address)
  }
  return rowAt(catalog, address) ?? catalog.find(lentOut)
}

/** The copy as it would be without its remedies: every row names its own node again. Physical order stays. */
export function withoutRemedies(catalog: Catalog, remedies: readonly Remedy[]): Catalog {
  if (remedies.length === 0) return catalog
  return catalog.map((row) => {
    const remedy = remedyOf(row, remedies)
    if (!remedy) return row
    const { address, rack, isactive } = remedy
    const taken = catalog.some((other) => other !== row && sameAddress(other.address, address))
    return taken ? row : { ...row, address, rack, isactive }
  })
}
