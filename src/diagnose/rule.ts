import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { DiagnosisCode, Standing } from '../model/diagnosis.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Warning, WarningCode } from '../model/remark.ts'
import type { GroupFacts, Member } from './facts.ts'
import { lineOf } from './shortfall.ts'

export interface Verdict {
  readonly summary: string
  readonly evidence?: readonly string[]
  readonly warnings?: readonly Warning[]
  readonly primary?: Answered | undefined
}

export interface Rule {
  readonly id: string
  readonly code: DiagnosisCode
  readonly standing: Standing
  /** What the rule means, for `citus-ha rules` and the documentation. */
  readonly says: string
  /** The verdict, if the rule applies. The first that does decides. */
  readonly when: (facts: GroupFacts) => Verdict | null
}

export const at = (member: Member): string => formatAddress(member.address)

export function warn(code: WarningCode, { address }: Member, text: string): Warning {
  return { code, node: address, text }
}

export const registeredAt = (facts: GroupFacts): string =>
  facts.row ? formatAddress(facts.row.address) : 'none'

export function isRegistered(facts: GroupFacts, member: Member): boolean {
  return facts.registered?.kind === 'answered' && facts.registered.instance === member.node.instance
}

/** The one writable member that is not the registered primary. */
export function candidate(facts: GroupFacts): Member | undefined {
  const [only, ...more] = facts.writable
  return only && more.length === 0 && !isRegistered(facts, only) ? only : undefined
}

/**
 * Of several writable coordinators the one that leads: a coordinator's standby was promoted, and the old one, which nobody
 * stopped, must not lead any more; or a backup of it takes writes, and lacks what others have on record.
 */
export function leadingCoordinator(facts: GroupFacts): Member | undefined {
  if (facts.group !== COORDINATOR_GROUP || facts.writable.length < 2 || !facts.lineage) return undefined
  const leading = facts.writable.find(({ node }) => node.instance === facts.leading)
  return leading && lineOf(facts, leading.node).of === 'line' ? leading : undefined
}
