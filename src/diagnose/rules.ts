import type { DiagnosisCode, Standing } from '../model/diagnosis.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { GroupFacts, Member } from './facts.ts'
import { descent } from './timelines.ts'
import { show, witnesses } from './witnesses.ts'

export interface Verdict {
  readonly summary: string
  readonly evidence?: readonly string[]
  readonly warnings?: readonly string[]
  readonly primary?: Answered
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

const at = (member: Member): string => formatAddress(member.address)
const registeredAt = (facts: GroupFacts): string => (facts.row ? formatAddress(facts.row.address) : 'nowhere')

/** The vouched node, if it answered and nothing says that it is of another group. */
function vouchedMember(facts: GroupFacts): Member | undefined {
  const { vouched } = facts
  if (vouched?.observation?.kind !== 'answered') return undefined
  const { instance } = vouched.observation
  return facts.members.find((member) => member.node.instance === instance)
}

function isRegistered(facts: GroupFacts, member: Member): boolean {
  return facts.registered?.kind === 'answered' && facts.registered.instance === member.node.instance
}

/** The one writable member that is not the registered primary. */
function candidate(facts: GroupFacts): Member | undefined {
  const [only, ...more] = facts.writable
  return only && more.length === 0 && !isRegistered(facts, only) ? only : undefined
}

/** A physical copy of this group's primary names that primary in its own metadata, as the coordinator does. */
function knowsTheCluster(facts: GroupFacts, node: Answered): boolean {
  const own = node.citus?.catalog.find((row) => row.nodeid === facts.row?.nodeid)
  return own !== undefined && own.group === facts.group && own.role === 'primary'
}

export const RULES: readonly Rule[] = [
  {
    id: 'D010',
    code: 'no-primary-row',
    standing: 'refused',
    says: 'the coordinator’s copy has no primary row for the group',
    when: (facts) => (facts.row ? null : { summary: 'pg_dist_node has no primary for this group' }),
  },
  {
    id: 'D020',
    code: 'unproved',
    standing: 'refused',
    says: 'the node vouched for does not answer',
    when: ({ vouched }) =>
      vouched && vouched.observation?.kind !== 'answered'
        ? {
            summary: `${formatAddress(vouched.address)} was vouched for but does not answer`,
            evidence: [show(vouched.observation)],
          }
        : null,
  },
  {
    id: 'D021',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'the node vouched for belongs to another group or system; vouching does not override that',
    when: (facts) => {
      const vouched = vouchedMember(facts)
      const foreign = facts.foreign.find(({ member }) => member === vouched)
      return foreign ? { summary: `${at(foreign.member)} is not of this group: ${foreign.why}` } : null
    },
  },
  {
    id: 'D022',
    code: 'promotion-running',
    standing: 'refused',
    says: 'the node vouched for is still in recovery',
    when: (facts) => {
      const vouched = vouchedMember(facts)
      return vouched?.node.inRecovery
        ? { summary: `${at(vouched)} was vouched for but is still in recovery: it has not been promoted` }
        : null
    },
  },
  {
    id: 'D030',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'a server at one of the group’s addresses belongs to another group or system',
    when: (facts) => {
      const [foreign] = facts.foreign
      if (!foreign || facts.vouched) return null
      return {
        summary: `the server at ${at(foreign.member)} is not of this group: ${foreign.why}`,
        evidence: facts.foreign.map(({ member, why }) => `${at(member)}: ${why}`),
      }
    },
  },
  {
    id: 'D040',
    code: 'promoted',
    standing: 'proved',
    says: 'the node vouched for is a writable member of the group and not its registered primary',
    when: (facts) => {
      const vouched = vouchedMember(facts)
      if (!vouched || isRegistered(facts, vouched)) return null
      if (!facts.lineage && !knowsTheCluster(facts, vouched.node)) return null
      return {
        summary: `${at(vouched)} was vouched for and is a writable member of this group; registered is ${registeredAt(facts)}`,
        evidence: [show(vouched.node), show(facts.registered), ...witnesses(facts).evidence],
        warnings: warningsOfVouching(facts, vouched),
        primary: vouched.node,
      }
    },
  },
  {
    id: 'D041',
    code: 'split-brain',
    standing: 'refused',
    says: 'two members of one line take writes, and nobody vouches for one of them',
    when: (facts) => {
      if (facts.writable.length < 2 || facts.vouched) return null
      const timelines = facts.writable.map(
        (member) => `${at(member)} on timeline ${member.node.timeline ?? '?'}`,
      )
      return {
        summary: `${timelines.join(' and ')} both take writes`,
        evidence: facts.writable.map((member) => show(member.node)),
      }
    },
  },
  {
    id: 'D042',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'the registered primary takes writes on a timeline older than, or apart from, the group’s',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      if (!registered || !facts.lineage || facts.vouched) return null
      const line = descent(registered.node, facts.lineage)
      return line.of === 'line'
        ? null
        : { summary: `${at(registered)}: ${line.why}`, evidence: [show(registered.node)] }
    },
  },
  {
    id: 'D050',
    code: 'healthy',
    standing: 'sound',
    says: 'the registered primary takes writes',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      if (!registered) return null
      const others = facts.writable.filter((member) => member !== registered)
      return {
        summary: `${at(registered)} is the primary`,
        evidence: [show(registered.node)],
        warnings: others.map((member) => `${at(member)} takes writes as well`),
        primary: registered.node,
      }
    },
  },
  {
    id: 'D060',
    code: 'lineage-unknown',
    standing: 'refused',
    says: 'a member takes writes, but nothing tells that it is of this group’s line',
    when: (facts) => {
      const promoted = candidate(facts)
      return promoted && !facts.lineage
        ? {
            summary: `${at(promoted)} takes writes, but the group’s system identifier was never recorded and no other member answers`,
            evidence: [show(promoted.node), show(facts.registered)],
          }
        : null
    },
  },
  {
    id: 'D061',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'a member takes writes on a timeline that does not descend from the group’s',
    when: (facts) => {
      const promoted = candidate(facts)
      if (!promoted || !facts.lineage) return null
      const line = descent(promoted.node, facts.lineage)
      return line.of === 'line'
        ? null
        : { summary: `${at(promoted)}: ${line.why}`, evidence: [show(promoted.node)] }
    },
  },
  {
    id: 'D062',
    code: 'primary-alive-elsewhere',
    standing: 'refused',
    says: 'the registered primary does not answer us, but a witness reaches it',
    when: (facts) => {
      const { alive, evidence } = witnesses(facts)
      return alive.length > 0 && facts.registered?.kind !== 'answered'
        ? {
            summary: `${registeredAt(facts)} does not answer here, but ${alive.join(' and ')} reaches it`,
            evidence: [show(facts.registered), ...evidence],
          }
        : null
    },
  },
  {
    id: 'D063',
    code: 'promoted',
    standing: 'proved',
    says: 'another member of the group takes writes, and the registered primary is down or in recovery',
    when: (facts) => {
      const promoted = candidate(facts)
      const { isDown, evidence } = witnesses(facts)
      const demoted = facts.registered?.kind === 'answered' && facts.registered.inRecovery
      if (!promoted || !facts.lineage || !(isDown || demoted)) return null
      const line = descent(promoted.node, facts.lineage)
      return {
        summary: `${at(promoted)} was promoted; ${registeredAt(facts)} is ${demoted ? 'in recovery' : 'down'}`,
        evidence: [show(promoted.node), show(facts.registered), ...evidence],
        warnings: line.of === 'line' && line.note ? [`${at(promoted)}: ${line.note}`] : [],
        primary: promoted.node,
      }
    },
  },
  {
    id: 'D070',
    code: 'primary-in-recovery',
    standing: 'refused',
    says: 'the registered primary is in recovery and no member takes writes',
    when: (facts) =>
      facts.registered?.kind === 'answered' && facts.writable.length === 0
        ? {
            summary: `${registeredAt(facts)} is in recovery, and no member of the group takes writes`,
            evidence: [show(facts.registered)],
          }
        : null,
  },
  {
    id: 'D071',
    code: 'primary-down',
    standing: 'refused',
    says: 'the registered primary is down and no member takes writes',
    when: (facts) => {
      const { isDown, evidence } = witnesses(facts)
      return isDown && facts.writable.length === 0
        ? {
            summary: `${registeredAt(facts)} is down, and nothing has been promoted`,
            evidence: [show(facts.registered), ...evidence],
          }
        : null
    },
  },
  {
    id: 'D090',
    code: 'primary-unknown',
    standing: 'refused',
    says: 'fewer than two independent witnesses say that the registered primary is down',
    when: (facts) => ({
      summary: `whether ${registeredAt(facts)} is down is not known`,
      evidence: [
        show(facts.registered),
        ...facts.writable.map((member) => show(member.node)),
        ...witnesses(facts).evidence,
      ],
    }),
  },
]

function warningsOfVouching(facts: GroupFacts, vouched: Member): string[] {
  const warnings: string[] = []
  const others = facts.writable.filter((member) => member !== vouched)
  warnings.push(
    ...others.map((member) => `${at(member)} takes writes as well: what it accepts from now on is lost`),
  )
  if (!facts.lineage)
    warnings.push('the group’s system identifier was never recorded; its own metadata names this cluster')
  const line = facts.lineage && descent(vouched.node, facts.lineage)
  if (line?.of === 'another line') warnings.push(`${at(vouched)}: ${line.why}; it was vouched for`)
  const foreign = facts.foreign.filter(({ member }) => !sameAddress(member.address, vouched.address))
  warnings.push(...foreign.map(({ member, why }) => `${at(member)} is not of this group: ${why}`))
  return warnings
}
