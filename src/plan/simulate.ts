import { type Catalog, type CatalogRow, secondariesOf } from '../model/catalog.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Step } from '../model/plan.ts'

/** A step that the catalog would refuse, or that does not find what it expects. A bug of the plan, if it happens. */
export class UnsoundStep extends Error {
  override readonly name = 'UnsoundStep'
}

/**
 * The copy after one step, held against what PostgreSQL and Citus enforce on every statement: one row an
 * address, one primary a group, a primary in nodecluster `default`.
 * @throws UnsoundStep
 */
export function take(catalog: Catalog, step: Step): Catalog {
  const row = catalog.find((candidate) => candidate.nodeid === step.nodeid)
  if (!row) throw new UnsoundStep(`node ${step.nodeid} is not in this copy`)
  if (step.op === 'first') return readFirst(catalog, row)
  const after = catalog.map((candidate) => (candidate === row ? changed(row, step) : candidate))
  const flaw = flawOf(after)
  if (flaw) throw new UnsoundStep(`${describe(step)}: ${flaw}`)
  return after
}

/** The copy after all steps. @throws UnsoundStep */
export function simulate(catalog: Catalog, steps: readonly Step[]): Catalog {
  return steps.reduce(take, catalog)
}

function changed(row: CatalogRow, step: Exclude<Step, { op: 'first' }>): CatalogRow {
  if (step.op === 'move') {
    if (!sameAddress(row.address, step.from)) {
      throw new UnsoundStep(
        `node ${row.nodeid} is at ${formatAddress(row.address)}, not at ${formatAddress(step.from)}`,
      )
    }
    return { ...row, address: step.to }
  }
  const column = step.column === 'noderack' ? 'rack' : step.column
  if (row[column] !== step.from)
    throw new UnsoundStep(`${step.column} of node ${row.nodeid} is ${row[column]}`)
  return { ...row, [column]: step.to }
}

/** The others of its group and cluster go behind it. */
function readFirst(catalog: Catalog, row: CatalogRow): Catalog {
  const [first] = secondariesOf(catalog, row.group, row.cluster)
  if (first === undefined || first === row) return catalog
  return catalog.filter((each) => each !== row).flatMap((each) => (each === first ? [row, each] : [each]))
}

/** What the catalog's constraints would say of this copy; null if nothing. */
export function flawOf(catalog: Catalog): string | null {
  const addresses = new Set<string>()
  const primaries = new Set<number>()
  for (const row of catalog) {
    const address = formatAddress(row.address)
    if (addresses.has(address)) return `two rows with the address ${address}`
    addresses.add(address)
    if (row.role !== 'primary') continue
    if (primaries.has(row.group)) return `two primaries in group ${row.group}`
    if (row.cluster !== 'default') return `the primary of group ${row.group} in nodecluster ${row.cluster}`
    primaries.add(row.group)
  }
  return null
}

export function describe(step: Step): string {
  const node = `node ${step.nodeid}`
  switch (step.op) {
    case 'move':
      return `${node}: ${formatAddress(step.from)} -> ${formatAddress(step.to)}`
    case 'set':
      return `${node}: ${step.column} ${step.from} -> ${step.to}`
    case 'first':
      return `${node}: read before the other secondaries`
  }
}
