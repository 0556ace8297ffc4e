import { type Catalog, type CatalogRow, rowAt } from '../model/catalog.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Remedy } from '../model/observation.ts'
import type { RowChange } from '../model/plan.ts'
import type { Remark, WarningCode } from '../model/remark.ts'
import { type AliasOf, aliasOf } from './alias.ts'

/** The coordinator's copy while its target is worked out: rows without remedies, and the remedies that are to stand. */
export interface Draft {
  catalog: Catalog
  remedies: Remedy[]
  readonly why: Map<number, { kind: RowChange['kind']; why: string }>
  readonly remarks: Remark<WarningCode>[]
}

export function edit(draft: Draft, { nodeid }: CatalogRow, change: Partial<CatalogRow>): void {
  draft.catalog = draft.catalog.map((each) => (each.nodeid === nodeid ? { ...each, ...change } : each))
}

/** Sets the row inactive, and remembers what it was. */
export function deactivate(draft: Draft, row: CatalogRow): void {
  const { nodeid, group, address, rack, isactive } = row
  draft.remedies.push({ nodeid, group, address, rack, isactive, given: address })
  edit(draft, row, { isactive: false })
}

/**
 * Points the row at a node that has a row of its own, by another name of it, and remembers what it was.
 * @returns whether there is such a name, and no row has it
 */
export function lend(draft: Draft, row: CatalogRow, to: CatalogRow, aliases: readonly AliasOf[]): boolean {
  const given = aliasOf(to.address, aliases)
  if (given === null || rowAt(draft.catalog, given)) return false
  const { nodeid, group, address, rack, isactive } = row
  draft.remedies.push({ nodeid, group, address, rack, isactive, given })
  edit(draft, row, { address: given, rack: to.rack })
  return true
}

/** For people: the rows in which two copies differ. */
export function changesBetween(before: Catalog, after: Catalog, why: Draft['why']): RowChange[] {
  return [...before]
    .sort((a, b) => a.nodeid - b.nodeid)
    .flatMap((row): RowChange[] => {
      const target = after.find((each) => each.nodeid === row.nodeid)
      if (!target) return []
      const reason = why.get(row.nodeid) ?? { kind: 'drift-repaired' as const, why: '' }
      const given = { group: row.group, nodeid: row.nodeid, ...reason }
      if (!sameAddress(row.address, target.address)) {
        return [{ ...given, from: formatAddress(row.address), to: formatAddress(target.address) }]
      }
      if (row.isactive === target.isactive) return []
      return [
        { ...given, from: row.isactive ? 'active' : 'inactive', to: target.isactive ? 'active' : 'inactive' },
      ]
    })
}
