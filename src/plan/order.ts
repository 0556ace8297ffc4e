import { type Catalog, type CatalogRow, secondariesOf } from '../model/catalog.ts'
import type { Step } from '../model/plan.ts'
import type { Condition, Conditions } from './conditions.ts'

export interface OrderInput {
  readonly groups: readonly number[]
  readonly conditions: Conditions
  /** Racks of those who read through secondaries by this copy: a node of the same rack is nearer to them. */
  readonly racks: readonly string[]
  /** Whether somebody reads, or is assumed to, through the secondaries of this `nodecluster`. */
  readonly isRead: (cluster: string) => boolean
}

/**
 * Steps by which, in every group and cluster that somebody reads, a secondary that serves is the one that Citus reads. One
 * that serves already stays; `touched`, nodeids, may stand elsewhere by now, since an update writes a row to a new place.
 * @param after the copy as the other steps leave it
 */
export function orderSteps(after: Catalog, touched: readonly number[], input: OrderInput): Step[] {
  const kinds = new Map(
    after
      .filter((row) => row.role === 'secondary' && !row.isclone && input.groups.includes(row.group))
      .map((row) => [`${row.group} ${row.cluster}`, row]),
  )
  return [...kinds.values()].flatMap(({ group, cluster }): Step[] => {
    const rows = secondariesOf(after, group, cluster)
    const first = firstOf(rows, input)
    if (first === null || rows.length < 2) return []
    const isTouched = rows.some((row) => touched.includes(row.nodeid))
    const isWrong = rows[0] !== first && input.isRead(cluster)
    return isTouched || isWrong ? [{ op: 'first', nodeid: first.nodeid }] : []
  })
}

function firstOf(rows: readonly CatalogRow[], input: OrderInput): CatalogRow | null {
  const usable = rows.filter((row) => row.isactive && conditionOf(row, input) !== 'bad')
  const [first] = rows
  if (first && usable.includes(first)) return first
  return best(usable, input)
}

const RANKS: Record<Condition, number> = { good: 0, serves: 1, unclear: 2, bad: 3 }

/** Near enough to its primary, then near to those who read, then least behind. */
export function best(
  rows: readonly CatalogRow[],
  input: Pick<OrderInput, 'conditions' | 'racks'>,
): CatalogRow | null {
  const weights = (row: CatalogRow): readonly (number | bigint)[] => [
    RANKS[conditionOf(row, input)],
    input.racks.includes(row.rack) ? 0 : 1,
    input.conditions.lagOf(row.group, row.address) ?? BigInt(Number.MAX_SAFE_INTEGER),
    row.nodeid,
  ]
  return [...rows].sort((a, b) => compare(weights(a), weights(b)))[0] ?? null
}

function compare(a: readonly (number | bigint)[], b: readonly (number | bigint)[]): number {
  for (const [n, left] of a.entries()) {
    const right = b[n] ?? 0
    if (left !== right) return left < right ? -1 : 1
  }
  return 0
}

function conditionOf(row: CatalogRow, { conditions }: Pick<OrderInput, 'conditions'>): Condition {
  return conditions.of(row.group, row.address)
}
