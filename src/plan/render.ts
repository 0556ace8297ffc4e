import { formatAddress } from '../model/node.ts'
import type { Plan, Step } from '../model/plan.ts'
import { describe } from './simulate.ts'

/** A plan for people, a line each. */
export function renderPlan(plan: Plan): string[] {
  const rows = plan.changes.map(
    (change) =>
      `group ${change.group}, node ${change.nodeid}: ${change.from} -> ${change.to}  (${change.kind}${change.why ? `: ${change.why}` : ''})`,
  )
  const copies = plan.copies.map((copy) => {
    const what =
      copy.steps.length === 0 ? 'takes part, nothing to rewrite' : net(copy.steps).map(describe).join('; ')
    return `${formatAddress(copy.node)} (${copy.role}): ${what}`
  })
  const left = plan.leftOut.map(
    (out) => `${formatAddress(out.node)}: left to Citus’s own metadata sync: ${out.why}`,
  )
  return [...rows, ...copies, ...left]
}

/** What the steps come to: a row that waits at a third address while others move is shown as one move. */
function net(steps: readonly Step[]): Step[] {
  const moved = new Map<number, Step & { op: 'move' }>()
  for (const step of steps) {
    if (step.op === 'move')
      moved.set(step.nodeid, { ...step, from: moved.get(step.nodeid)?.from ?? step.from })
  }
  return [...moved.values(), ...steps.filter((step) => step.op !== 'move')]
}
