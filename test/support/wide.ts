import type { Observation } from '../../src/model/observation.ts'
import { installed, lineage, primaryRow, secondaryRow, standby, writable } from './builders.ts'

/** A coordinator, and so many groups of a primary and a standby; `altered`: others in the place of some, by host. */
export function wideCluster(
  groups: number,
  altered: Readonly<Record<string, Observation>> = {},
): Observation[] {
  const numbers = Array.from({ length: groups }, (_, i) => i + 1)
  const catalog = [
    primaryRow(1, 0, { at: 'cn1' }),
    ...numbers.flatMap((n) => [
      primaryRow(2 * n, n, { at: `w${n}a` }),
      secondaryRow(2 * n + 1, n, { at: `w${n}b` }),
    ]),
  ]
  const known = installed({ lineage: [0, ...numbers].map((n) => lineage(n)) })
  const all = [
    writable('cn1', 0, { catalog, installed: known }),
    ...numbers.flatMap((n) => [
      writable(`w${n}a`, n, { catalog }),
      standby(`w${n}b`, n, `w${n}a`, { catalog }),
    ]),
  ]
  return all.map((node) => altered[node.address.host] ?? node)
}
