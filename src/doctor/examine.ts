import { byGroup, type Facts, type Finding, findingOf, type Severity } from './check.ts'
import { CHECKS } from './checks.ts'

const ORDER: readonly Severity[] = ['error', 'warning', 'info']

/** What would make the next failover fail, worst first. Pure. */
export function examine(facts: Facts): Finding[] {
  const findings = CHECKS.flatMap((check) =>
    byGroup(check.when(facts)).map((found) => findingOf(check, found)),
  )
  return findings.sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity))
}
