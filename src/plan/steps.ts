import { type Catalog, differences } from '../model/catalog.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Step } from '../model/plan.ts'
import { flawOf, take } from './simulate.ts'

/** Where a row waits while others take its address: no resolver knows `.invalid` (RFC 2606). */
export function parkingAddress(nodeid: number, { port }: HostPort): HostPort {
  return { host: `citus-ha-moving-${nodeid}.invalid`, port }
}

/**
 * Steps that turn one copy into another with the same rows. Addresses are unique at every moment, so rows
 * that exchange theirs go through a third.
 * @returns null where the two differ in more than address, rack and activity: no step changes those.
 */
export function stepsBetween(before: Catalog, after: Catalog): Step[] | null {
  // Two rows with one goal would wait for each other for ever.
  if (before.length !== after.length || flawOf(after) !== null) return null
  for (const row of before) {
    const target = after.find((candidate) => candidate.nodeid === row.nodeid)
    if (!target || !differences(row, target).every((column) => CHANGEABLE.includes(column))) return null
  }
  return [...moves(before, after), ...settings(before, after)]
}

const CHANGEABLE: readonly string[] = ['address', 'rack', 'isactive', 'shouldhaveshards']

function moves(before: Catalog, after: Catalog): Step[] {
  const steps: Step[] = []
  let current = before
  const go = (step: Step) => {
    steps.push(step)
    current = take(current, step)
  }
  const goalOf = new Map(after.map((row) => [row.nodeid, row.address]))
  for (;;) {
    const pending = current.filter((row) => !sameAddress(row.address, goalOf.get(row.nodeid) ?? row.address))
    const [first] = pending
    if (!first) return steps
    const taken = new Set(current.map((row) => formatAddress(row.address)))
    const free = pending.find((row) => !taken.has(formatAddress(goalOf.get(row.nodeid) ?? row.address)))
    const row = free ?? first
    const to = free ? (goalOf.get(row.nodeid) ?? row.address) : parkingAddress(row.nodeid, row.address)
    go({ op: 'move', nodeid: row.nodeid, from: row.address, to })
  }
}

function settings(before: Catalog, after: Catalog): Step[] {
  return before.flatMap((row): Step[] => {
    const target = after.find((candidate) => candidate.nodeid === row.nodeid)
    if (!target) return []
    const { nodeid } = row
    const steps: Step[] = []
    if (row.rack !== target.rack) {
      steps.push({ op: 'set', nodeid, column: 'noderack', from: row.rack, to: target.rack })
    }
    for (const column of ['isactive', 'shouldhaveshards'] as const) {
      if (row[column] !== target[column])
        steps.push({ op: 'set', nodeid, column, from: row[column], to: target[column] })
    }
    return steps
  })
}
