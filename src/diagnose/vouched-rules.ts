import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Warning } from '../model/remark.ts'
import type { GroupFacts, Member } from './facts.ts'
import { at, isRegistered, type Rule, registeredAt, type Verdict, warn } from './rule.ts'
import { type As, lineOf, type Shortfall, shortfall } from './shortfall.ts'
import { descent } from './timelines.ts'
import { show, witnesses } from './witnesses.ts'

/** The vouched node, if it answered and nothing says that it is of another group. */
function vouchedMember(facts: GroupFacts): Member | undefined {
  const { vouched } = facts
  if (vouched?.observation?.kind !== 'answered') return undefined
  const { instance } = vouched.observation
  return facts.members.find((member) => member.node.instance === instance)
}

/** A physical copy of this group's primary names that primary in its own metadata, as the coordinator does. */
function knowsTheCluster(facts: GroupFacts, node: Answered): boolean {
  const own = node.citus?.catalog.find((row) => row.nodeid === facts.row?.nodeid)
  return own !== undefined && own.group === facts.group && own.role === 'primary'
}

/** What speaks against a tool's word; null: nothing. It is late where the group has been promoted further since. */
function lateness(facts: GroupFacts, vouched: Member): string | null {
  const line = lineOf(facts, vouched.node)
  if (line.of === 'another line') return line.why
  if (line.note && facts.lineageFrom === 'recorded') return line.note
  const timeline = vouched.node.timeline ?? 0
  const foreign = new Set(facts.foreign.map(({ member }) => member))
  for (const other of facts.members) {
    if (other === vouched || foreign.has(other)) continue
    const on = other.node.timeline ?? 0
    if (on > timeline) return `it is on timeline ${timeline}, and ${at(other)} already on ${on}`
    if (other.node.inRecovery || on === 0) continue
    if (on === timeline) return `${at(other)} takes writes on timeline ${on} as well`
    if (other.node.history === null) continue
    const { systemIdentifier, history } = other.node
    const from = descent(vouched.node, { group: facts.group, systemIdentifier, timeline: on, history })
    if (from.of === 'another line') return `${at(other)} takes writes, and ${from.why}`
  }
  return null
}

/** What vouching can't override. */
export const VOUCHED_REFUSALS: readonly Rule[] = [
  {
    id: 'D020',
    code: 'unproved',
    standing: 'refused',
    says: 'the node named as promoted does not answer',
    when: ({ vouched }) =>
      vouched && vouched.observation?.kind !== 'answered'
        ? {
            summary: `${formatAddress(vouched.address)} was named as promoted but does not answer`,
            evidence: [show(vouched.observation)],
          }
        : null,
  },
  {
    id: 'D021',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'the node named as promoted belongs to another group or system; naming it does not override that',
    when: (facts) => {
      const seen = facts.vouched?.observation
      if (seen?.kind === 'answered' && facts.clones.has(seen.instance)) {
        return {
          summary: `${formatAddress(seen.address)} is registered as a clone: a clone cannot become the primary`,
        }
      }
      const vouched = vouchedMember(facts)
      const foreign = facts.foreign.find(({ member }) => member === vouched)
      return foreign
        ? { summary: `${at(foreign.member)} does not belong to this group: ${foreign.why}` }
        : null
    },
  },
  {
    id: 'D022',
    code: 'promotion-running',
    standing: 'refused',
    says: 'the node named as promoted is still in recovery',
    when: (facts) => {
      const vouched = vouchedMember(facts)
      return vouched?.node.inRecovery
        ? {
            summary: `${at(vouched)} was named as promoted but is still in recovery: it has not been promoted`,
          }
        : null
    },
  },
  {
    id: 'D023',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'a tool named a node that is not on the group’s newest timeline: the event came late',
    when: (facts) => {
      if (facts.vouched?.by !== 'tool') return null
      const vouched = vouchedMember(facts)
      const why = vouched && lateness(facts, vouched)
      return why
        ? {
            summary: `${at(vouched)} was named as promoted, but ${why}`,
            evidence: facts.members.map((member) => show(member.node)),
          }
        : null
    },
  },
  {
    id: 'D024',
    code: 'less-than-known',
    standing: 'refused',
    says: 'a tool named a node as promoted, or a switchover promoted it, that lacks WAL of the group that is known to exist',
    when: (facts) => {
      const vouched = vouchedMember(facts)
      if (!vouched || facts.vouched?.by === 'person') return null
      const found = shortfall(facts, vouched, roleOf(facts, vouched))
      return found.less.length === 0 ? null : tooLittle(facts, vouched, found)
    },
  },
]

/** How what the vouched node lacks is weighed. */
function roleOf(facts: GroupFacts, vouched: Member): As {
  if (isRegistered(facts, vouched)) return 'registered'
  return facts.vouched?.by === 'intent' ? 'intended' : 'candidate'
}

/** Refuses a server that has less than is known to exist, with what a person types who wants it all the same. */
export function tooLittle(facts: GroupFacts, member: Member, { less, ahead }: Shortfall): Verdict {
  const others = [...new Set(ahead.map(({ address }) => formatAddress(address)))]
  const same = [...new Set(ahead.filter((one) => one.isOnSame).map(({ address }) => formatAddress(address)))]
  const { host, port } = member.address
  return {
    summary: `${at(member)} lacks WAL of the group that is known to exist: ${less[0]}`,
    evidence: [
      ...less.slice(1),
      ...facts.members.map(({ node }) => show(node)),
      ...(others.length === 0
        ? []
        : [
            `to lose nothing: stop ${at(member)}, promote ${others[0]} in its place, and rebuild ${at(member)} from that`,
          ]),
      `to accept it and lose what it lacks: citus-ha reconcile --promoted ${at(member)}`,
      ...same.map(
        (other) =>
          `${other} is ahead of it on the same timeline: --promoted counts for one run, and the next run is refused again until ${other} is rebuilt; run there: pg_basebackup -h ${host} -p ${port} -R -D DIRECTORY`,
      ),
    ],
  }
}

export const VOUCHED_PROMOTION: Rule = {
  id: 'D040',
  code: 'promoted',
  standing: 'proved',
  says: 'the node named as promoted is a writable member of the group and not its registered primary',
  when: (facts) => {
    const vouched = vouchedMember(facts)
    if (!vouched || isRegistered(facts, vouched)) return null
    if (!facts.lineage && !knowsTheCluster(facts, vouched.node)) return null
    return {
      summary: `${at(vouched)} was named as promoted and is a writable member of this group; the registered primary is ${registeredAt(facts)}`,
      evidence: [show(vouched.node), show(facts.registered), ...witnesses(facts).evidence],
      warnings: warningsOfVouching(facts, vouched),
      primary: vouched.node,
    }
  },
}

export function warningsOfVouching(facts: GroupFacts, vouched: Member): Warning[] {
  const others = facts.writable.filter((member) => member !== vouched)
  const line = lineOf(facts, vouched.node)
  const { less, lag } = shortfall(facts, vouched, roleOf(facts, vouched))
  const foreign = facts.foreign.filter(({ member }) => !sameAddress(member.address, vouched.address))
  return [
    ...others.map((member) =>
      member.node.readOnly
        ? warn(
            'old-primary-runs',
            member,
            `${at(member)} is still running, read-only by default: what it accepts nevertheless is lost`,
          )
        : warn(
            'another-writes',
            member,
            `${at(member)} takes writes as well: what it accepts from now on is lost`,
          ),
    ),
    ...(facts.lineage
      ? []
      : [
          warn(
            'line-unknown',
            vouched,
            'the group’s system identifier was never recorded; its own metadata names this cluster',
          ),
        ]),
    ...(line.of === 'another line'
      ? [
          warn(
            'other-line',
            vouched,
            `${at(vouched)}: ${line.why}; it is accepted because it was named as promoted`,
          ),
        ]
      : []),
    ...less.map((why) =>
      warn(
        'data-loss',
        vouched,
        `data loss: ${at(vouched)} was named as promoted, but lacks WAL that is known to exist: ${why}`,
      ),
    ),
    ...lag.map((why) => warn('data-may-be-lost', vouched, `data may be lost: ${at(vouched)}: ${why}`)),
    ...foreign.map(({ member, why }) =>
      warn('foreign-server', member, `${at(member)} does not belong to this group: ${why}`),
    ),
  ]
}
