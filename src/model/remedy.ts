import type { Catalog, CatalogRow } from './catalog.ts'
import { sameAddress } from './node.ts'
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
