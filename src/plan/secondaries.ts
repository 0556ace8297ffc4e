import { type CatalogRow, primaryOf, secondariesOf } from '../model/catalog.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import { remark } from '../model/remark.ts'
import { remedyOf } from '../model/remedy.ts'
import { aliasOf, describeSecondName } from './alias.ts'
import { type Draft, deactivate, lend } from './draft.ts'
import type { TargetInput } from './target-input.ts'

/**
 * `routing.secondaryDown`: what becomes of the rows of a group's secondaries that are down, cluster by cluster. The draft
 * has the rows without remedies; what is still wanted of those is made again, so that nothing moves without need. The
 * primary has one other name to lend: the cluster that has it keeps it, and else one whose reads work now comes first.
 */
export function settleSecondaries(draft: Draft, input: TargetInput, group: number): void {
  const clusters = new Set(
    draft.catalog.filter((row) => row.group === group && row.role === 'secondary').map((row) => row.cluster),
  )
  const rank = new Map([...clusters].map((cluster) => [cluster, claimOf(cluster, input, group)]))
  for (const cluster of [...clusters].sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0)))
    settleCluster(draft, input, group, cluster)
  for (const row of input.catalog.filter((each) => each.group === group && each.role === 'secondary')) {
    const stands = draft.remedies.some(({ nodeid }) => nodeid === row.nodeid)
    if (remedyOf(row, input.remedies) && !stands && !draft.why.has(row.nodeid))
      draft.why.set(row.nodeid, { kind: 'remedy-ended', why: 'it streams from the primary again' })
  }
}

/** The less, the more a cluster has to lose. */
function claimOf(cluster: string, { catalog, remedies, conditions }: TargetInput, group: number): number {
  const [first] = secondariesOf(catalog, group, cluster)
  if (!first?.isactive || !['good', 'serves'].includes(conditions.of(group, first.address))) return 2
  return remedyOf(first, remedies) ? 0 : 1
}

function settleCluster(draft: Draft, input: TargetInput, group: number, cluster: string): void {
  const { routing } = input
  const rows = secondariesOf(draft.catalog, group, cluster).filter((row) => row.isactive)
  const missing = rows.filter((row) => isMissing(row, input))
  // A row that is lent out goes on serving a reader that is away for a moment.
  const isRead = input.isRead(cluster) || missing.some((row) => isLent(row, input))
  if (missing.length === 0) return
  if (routing.secondaryDown === 'leave') {
    sayIfRead(draft, isRead, missing, 'left as they are')
    return
  }
  const nobodyLeft = missing.length === rows.length
  const lent =
    nobodyLeft && isRead && routing.secondaryDown === 'auto' ? lendOne(draft, input, missing) : null
  if (nobodyLeft && isRead && lent === null && routing.secondaryDown === 'auto') {
    // Nothing is gained by an inactive row: as it is, it is read again as soon as its node is back, whoever looks then.
    sayIfRead(draft, isRead, missing, 'left as they are')
    return
  }
  for (const row of missing.filter((each) => each !== lent)) {
    // Without anybody who reads by it, and nobody to read instead, nothing is gained by touching the row.
    if (nobodyLeft && !isRead && !wasRemedied(row, input)) continue
    deactivate(draft, row)
    draft.why.set(row.nodeid, {
      kind: 'remedy',
      why: nobodyLeft ? 'down' : 'down: its reads go to another secondary',
    })
  }
  if (nobodyLeft && !lent) sayIfRead(draft, isRead, missing, 'set inactive')
}

/** Down; or was, and does not follow the primary closely again. */
function isMissing(row: CatalogRow, input: TargetInput): boolean {
  const condition = input.conditions.of(row.group, row.address)
  return wasRemedied(row, input) ? condition !== 'good' : condition === 'bad'
}

function isLent(row: CatalogRow, input: TargetInput): boolean {
  const now = input.catalog.find(({ nodeid }) => nodeid === row.nodeid)
  return wasRemedied(row, input) && now !== undefined && !sameAddress(now.address, row.address)
}

function wasRemedied({ nodeid, address }: CatalogRow, { catalog, remedies }: TargetInput): boolean {
  const row = catalog.find((each) => each.nodeid === nodeid)
  const remedy = row && remedyOf(row, remedies)
  // After a swap the row stands for another node: that one's state counts, and not what the row was.
  return remedy !== undefined && sameAddress(remedy.address, address)
}

/** With no secondary left, one row carries another name of the primary. The one that does already goes on. */
function lendOne(draft: Draft, input: TargetInput, missing: readonly CatalogRow[]): CatalogRow | null {
  const [first] = missing
  const primary = first && primaryOf(draft.catalog, first.group)
  if (!primary || input.conditions.of(primary.group, primary.address) !== 'good') return null
  const alias = aliasOf(primary.address, input.aliases)
  const carries = (row: CatalogRow) =>
    alias !== null &&
    input.catalog.some((each) => each.nodeid === row.nodeid && sameAddress(each.address, alias))
  const row = missing.find(carries) ?? first
  const obstacle = lend(draft, row, primary, input)
  if (obstacle !== null) {
    const text = `group ${row.group}: ${obstacle}; configure an alias for it under "addresses"`
    draft.remarks.push(remark('no-alias', text, { group: row.group, node: primary.address }))
    return null
  }
  const given = draft.catalog.find(({ nodeid }) => nodeid === row.nodeid)?.address ?? primary.address
  const why = `down: its reads go to the primary: ${describeSecondName(given, primary.address)}`
  draft.why.set(row.nodeid, { kind: 'remedy', why })
  return row
}

function sayIfRead(draft: Draft, isRead: boolean, rows: readonly CatalogRow[], what: string): void {
  const [first] = rows
  if (!first || !isRead) return
  const names = rows.map((row) => formatAddress(row.address)).join(' and ')
  const text = `group ${first.group}: reads through secondaries of cluster ${first.cluster} may fail: ${names} down and ${what}`
  draft.remarks.push(remark('reads-fail', text, { group: first.group, node: first.address }))
}
