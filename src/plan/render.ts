import { formatAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'
import { describe } from './simulate.ts'

/** A plan for people, a line each. */
export function renderPlan(plan: Plan): string[] {
  const rows = plan.changes.map(
    (change) =>
      `group ${change.group}, node ${change.nodeid}: ${change.from} -> ${change.to}  (${change.kind}${change.why ? `: ${change.why}` : ''})`,
  )
  const copies = plan.copies.map((copy) => {
    const what =
      copy.steps.length === 0 ? 'takes part, nothing to rewrite' : copy.steps.map(describe).join('; ')
    return `${formatAddress(copy.node)} (${copy.role}): ${what}`
  })
  const left = plan.leftOut.map(
    (out) => `${formatAddress(out.node)}: left to Citus’s own metadata sync: ${out.why}`,
  )
  return [...rows, ...copies, ...left]
}
