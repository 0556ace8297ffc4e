import { type Catalog, type CatalogRow, rowAt } from '../model/catalog.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Remedy, Testimony } from '../model/observation.ts'
import type { RowChange } from '../model/plan.ts'
import type { Remark, WarningCode } from '../model/remark.ts'
import { type AliasOf, aliasOf, refutationOf } from './alias.ts'

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

interface Names {
  /** The coordinator's copy as it is. */
  readonly catalog: Catalog
  readonly aliases: readonly AliasOf[]
  readonly heard: readonly Testimony[]
}

/**
 * Points the row at a node that has a row of its own, by another name of it, and remembers what it was.
 * @returns null; or why it can't, for people: there is no such name, a row has it, or who reads does not reach the node by it
 */
export function lend(
  draft: Draft,
  row: CatalogRow,
  to: CatalogRow,
  { catalog, aliases, heard }: Names,
): string | null {
  const given = aliasOf(to.address, aliases)
  const node = formatAddress(to.address)
  if (given === null || rowAt(draft.catalog, given))
    return `${node} has no second name (alias) that the row of node ${row.nodeid} could use`
  // Where a row has the name already nothing is gained by taking it away.
  const against = rowAt(catalog, given) ? undefined : refutationOf(given, heard)
  if (against) {
    const { witness, detail } = against
    return `${formatAddress(witness)} reaches ${node} by this name, but not by ${formatAddress(given)}: ${detail}`
  }
  const { nodeid, group, address, rack, isactive } = row
  draft.remedies.push({ nodeid, group, address, rack, isactive, given })
  edit(draft, row, { address: given, rack: to.rack })
  return null
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
