import { formatAddress, sameAddress } from '../model/node.ts'
import type { Warning } from '../model/remark.ts'
import { putBack } from '../model/retired.ts'
import type { GroupFacts, Member } from './facts.ts'
import { at, candidate, isRegistered, leadingCoordinator, type Rule, registeredAt, warn } from './rule.ts'
import { lineOf, shortfall } from './shortfall.ts'
import { tooLittle, VOUCHED_PROMOTION, VOUCHED_REFUSALS, warningsOfVouching } from './vouched-rules.ts'
import { show, witnesses } from './witnesses.ts'

function othersThatWrite(facts: GroupFacts, registered: Member): Warning[] {
  const others = facts.writable.filter((member) => member !== registered)
  return [
    ...others.map((member) => warn('another-writes', member, `${at(member)} takes writes as well`)),
    ...retiredThatWrite(facts).map((member) =>
      warn(
        'old-primary-writes',
        member,
        `${at(member)}, a retired primary, still takes writes from its own clients; these writes are lost: stop it`,
      ),
    ),
  ]
}

/** Nothing is routed there any more; clients that are connected to it can write all the same. */
function retiredThatWrite({ members, foreign }: GroupFacts): Member[] {
  return members
    .filter((member) => !foreign.some((each) => each.member === member))
    .filter(({ node }) => node.retired && !node.inRecovery && !node.readOnly)
}

/** Why the registered primary, which answers, is none any more; null: nothing says so. */
function demotionOf({ registered }: GroupFacts): 'in recovery' | 'retired' | null {
  if (registered?.kind !== 'answered') return null
  if (registered.inRecovery) return 'in recovery'
  return registered.retired ? 'retired' : null
}

/** Others of whom it is not known whose line is the right one. */
function strays(facts: GroupFacts, registered: Member): Warning[] {
  const { lag } = shortfall(facts, registered, 'registered')
  return lag.map((why) => warn('data-may-be-lost', registered, `${at(registered)}: ${why}`))
}

/**
 * A server without any copy at a secondary's address (a lost volume, made anew), or a coordinator of another cluster, is
 * nobody's member, and left alone.
 */
function isNeeded(facts: GroupFacts, { node, address }: Member): boolean {
  const isPrimary = facts.row !== undefined && sameAddress(facts.row.address, address)
  if (isPrimary || node.inRecovery) return true
  return (node.citus?.catalog.length ?? 0) > 0 && !facts.strangers.has(node.instance)
}

const believeIt = (member: Member): string =>
  `to accept it and lose what it lacks: citus-ha reconcile --promoted ${at(member)}`

/** Where a primary is proved and the name in the row follows it by itself: whoever moves the name is waited for. */
function nameToFollow(proved: Rule, id: string): Rule {
  return {
    id,
    code: 'name-to-follow',
    standing: 'refused',
    says: `as ${proved.id}, but the name in the primary’s row follows the primary by itself (\`follows\`) and does not lead to the new one yet`,
    when: (facts) => {
      const verdict = facts.nameFollows ? proved.when(facts) : null
      return verdict
        ? {
            ...verdict,
            summary: `${verdict.summary}; ${registeredAt(facts)} follows the primary by itself (addresses, follows) and does not lead to the new one yet: pg_dist_node is up to date as soon as it does`,
            primary: undefined,
          }
        : null
    },
  }
}

/** The id under which a rule that proves a primary waits for a name. */
const WAITING: ReadonlyMap<string, string> = new Map([
  ['D039', 'D037'],
  ['D040', 'D038'],
  ['D063', 'D065'],
])

const BY_ADDRESS: readonly Rule[] = [
  {
    id: 'D010',
    code: 'no-primary-row',
    standing: 'refused',
    says: 'the coordinator’s copy has no primary row for the group',
    when: (facts) => (facts.row ? null : { summary: 'pg_dist_node has no primary for this group' }),
  },
  ...VOUCHED_REFUSALS,
  {
    id: 'D011',
    code: 'disabled',
    standing: 'sound',
    says: 'the group’s primary was disabled (citus_disable_node) and does not answer',
    when: ({ row, registered, vouched, writable }) => {
      if (!row || row.isactive || vouched || registered?.kind === 'answered' || writable.length > 0)
        return null
      return {
        summary: `${formatAddress(row.address)} is disabled and does not answer: citus-ha leaves the group alone until you run SELECT citus_activate_node('${row.address.host}', ${row.address.port})`,
      }
    },
  },
  {
    id: 'D030',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'the server at the primary’s address, or one that has a copy, belongs to another group or system',
    when: (facts) => {
      const [foreign] = facts.foreign.filter(({ member }) => isNeeded(facts, member))
      if (!foreign || facts.vouched) return null
      return {
        summary: `the server at ${at(foreign.member)} does not belong to this group: ${foreign.why}`,
        evidence: facts.foreign.map(({ member, why }) => `${at(member)}: ${why}`),
      }
    },
  },
  VOUCHED_PROMOTION,
  {
    id: 'D039',
    code: 'promoted',
    standing: 'proved',
    says: 'two coordinators take writes, and the one that leads by the timeline history is not the registered one',
    when: (facts) => {
      const leading = leadingCoordinator(facts)
      if (!leading || facts.vouched || isRegistered(facts, leading)) return null
      const others = facts.writable.filter((member) => member !== leading)
      return {
        summary: `${at(leading)} is the coordinator on timeline ${leading.node.timeline}; the registered one is ${registeredAt(facts)}`,
        evidence: facts.writable.map((member) => show(member.node)),
        warnings: others.map((member) =>
          warn(
            'another-writes',
            member,
            `${at(member)}, an old coordinator, still takes writes: what it accepts is lost`,
          ),
        ),
        primary: leading.node,
      }
    },
  },
  {
    id: 'D041',
    code: 'split-brain',
    standing: 'refused',
    says: 'two members with one timeline history take writes, and neither was named as promoted',
    when: (facts) => {
      if (facts.writable.length < 2 || facts.vouched || leadingCoordinator(facts)) return null
      const { writable } = facts
      const timelines = writable.map((member) => {
        const { timeline, readOnly } = member.node
        return `${at(member)} on timeline ${timeline ?? '?'}${readOnly ? ' (read-only)' : ''}`
      })
      const all = writable.length === 2 ? 'both' : 'all'
      const what = writable.some(({ node }) => node.readOnly) ? `are ${all} primaries` : `${all} take writes`
      return {
        summary: `${timelines.join(' and ')} ${what}`,
        evidence: writable.map((member) => show(member.node)),
      }
    },
  },
  {
    id: 'D042',
    code: 'lineage-mismatch',
    standing: 'refused',
    says: 'the registered primary takes writes on a timeline that is older than the group’s, or not in its timeline history',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      if (!registered || !facts.lineage || facts.vouched) return null
      const line = lineOf(facts, registered.node)
      return line.of === 'line'
        ? null
        : {
            summary: `${at(registered)}: ${line.why}`,
            evidence: [show(registered.node), believeIt(registered)],
          }
    },
  },
  {
    id: 'D043',
    code: 'less-than-known',
    standing: 'refused',
    says: 'the registered primary takes writes, but lacks WAL of the group that it had before, or that a standby has',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      if (!registered || facts.vouched) return null
      const found = shortfall(facts, registered, 'registered')
      return found.less.length === 0 ? null : tooLittle(facts, registered, found)
    },
  },
  {
    id: 'D047',
    code: 'old-primary-writes',
    standing: 'sound',
    says: 'the registered primary takes writes, and a retired primary still takes writes from its own clients',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      const retired = retiredThatWrite(facts)
      // The secondary that is not back yet may be that very server: then this says more.
      const isIt = ({ seen }: GroupFacts['secondaries'][number]) =>
        seen?.kind === 'answered' && retired.some(({ node }) => node.instance === seen.instance)
      const isNext =
        registered?.node.readOnly ||
        facts.secondaries.some((each) => (each.isDown || each.isRemedied) && !isIt(each))
      if (!registered || retired.length === 0 || isNext || facts.vouched) return null
      return {
        summary: `${at(registered)} is the primary; ${retired.map(at).join(', ')}, a retired primary, still takes writes from its own clients; these writes are lost: stop it`,
        evidence: [show(registered.node), ...retired.map(({ node }) => show(node))],
        warnings: [...othersThatWrite(facts, registered), ...strays(facts, registered)],
        primary: registered.node,
      }
    },
  },
  {
    id: 'D048',
    code: 'read-only',
    standing: 'sound',
    says: 'the registered primary is the primary, but takes no writes: it is read-only by default',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      if (!registered?.node.readOnly || facts.vouched) return null
      return {
        summary: `${at(registered)} is the primary, but takes no writes: default_transaction_read_only is on there. If a switchover left it on, citus-ha reconcile resets it; otherwise run there: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(). citus-ha doctor (H181) names what else a switchover left there`,
        evidence: [show(registered.node)],
        warnings: [
          warn('takes-no-writes', registered, `${at(registered)} takes no writes`),
          ...othersThatWrite(facts, registered),
        ],
        primary: registered.node,
      }
    },
  },
  {
    id: 'D049',
    code: 'secondary-down',
    standing: 'sound',
    says: 'the registered primary takes writes, and a secondary is down or not back yet',
    when: (facts) => {
      const registered = facts.writable.find((member) => isRegistered(facts, member))
      const missing = facts.secondaries.filter((each) => each.isDown || each.isRemedied)
      if (!registered || missing.length === 0 || facts.vouched) return null
      const told = missing.map(
        ({ row, isDown }) => `secondary ${formatAddress(row.address)} is ${isDown ? 'down' : 'not back yet'}`,
      )
      return {
        summary: `${at(registered)} is the primary; ${told.join(', ')}`,
        evidence: [show(registered.node), ...missing.map(({ seen }) => show(seen))],
        warnings: [...othersThatWrite(facts, registered), ...strays(facts, registered)],
        primary: registered.node,
      }
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
      return {
        summary: `${at(registered)} is the primary`,
        evidence: [show(registered.node)],
        warnings: facts.vouched
          ? warningsOfVouching(facts, registered)
          : [...othersThatWrite(facts, registered), ...strays(facts, registered)],
        primary: registered.node,
      }
    },
  },
  {
    id: 'D060',
    code: 'lineage-unknown',
    standing: 'refused',
    says: 'a member takes writes, but nothing proves that it belongs to this group',
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
      const line = lineOf(facts, promoted.node)
      const compared = line.of === 'line' && (line.note === null || facts.lineageFrom !== 'recorded')
      return compared
        ? null
        : {
            summary: `${at(promoted)}: ${line.of === 'line' ? line.note : line.why}`,
            evidence: [show(promoted.node), believeIt(promoted)],
          }
    },
  },
  {
    id: 'D064',
    code: 'less-than-known',
    standing: 'refused',
    says: 'the member that takes writes lacks WAL of the group that a running server has, or that is on record',
    when: (facts) => {
      const promoted = candidate(facts)
      if (!promoted || !facts.lineage) return null
      const found = shortfall(facts, promoted, 'candidate')
      return found.less.length === 0 ? null : tooLittle(facts, promoted, found)
    },
  },
  {
    id: 'D062',
    code: 'primary-alive-elsewhere',
    standing: 'refused',
    says: 'the registered primary does not answer citus-ha, but it answers a witness',
    when: (facts) => {
      const { alive, evidence } = witnesses(facts)
      const { registered } = facts
      const seen =
        registered?.kind === 'unreadable'
          ? `cannot be read (${registered.cause}: ${registered.detail}), but it answers`
          : 'does not answer citus-ha, but it answers'
      return alive.length > 0 && registered?.kind !== 'answered'
        ? {
            summary: `${registeredAt(facts)} ${seen} ${alive.join(' and ')}; citus-ha doctor names what blocks the connection`,
            evidence: [show(facts.registered), ...evidence],
          }
        : null
    },
  },
  {
    id: 'D063',
    code: 'promoted',
    standing: 'proved',
    says: 'another member of the group takes writes, and the registered primary is down, in recovery or retired',
    when: (facts) => {
      const promoted = candidate(facts)
      const { isDown, evidence } = witnesses(facts)
      const demoted = demotionOf(facts)
      if (!promoted || !facts.lineage || !(isDown || demoted)) return null
      const line = lineOf(facts, promoted.node)
      const { lag } = shortfall(facts, promoted, 'candidate')
      return {
        summary: `${at(promoted)} was promoted; ${registeredAt(facts)} is ${demoted ?? 'down'}`,
        evidence: [show(promoted.node), show(facts.registered), ...evidence],
        warnings: [
          ...(line.of === 'line' && line.note
            ? [warn('line-unknown', promoted, `${at(promoted)}: ${line.note}`)]
            : []),
          ...lag.map((why) =>
            warn('data-may-be-lost', promoted, `data may be lost: ${at(promoted)}: ${why}`),
          ),
        ],
        primary: promoted.node,
      }
    },
  },
  {
    id: 'D070',
    code: 'primary-in-recovery',
    standing: 'refused',
    says: 'the registered primary is in recovery, or retired, and no member takes writes',
    when: (facts) =>
      facts.registered?.kind === 'answered' && facts.writable.length === 0
        ? {
            summary: `${registeredAt(facts)} is ${demotionOf(facts) ?? 'in recovery'}, and no member of the group takes writes${putBack(facts.registered)}`,
            evidence: [show(facts.registered)],
          }
        : null,
  },
  {
    id: 'D071',
    code: 'primary-down',
    standing: 'refused',
    says: 'the registered primary is down, and no server of its group that pg_dist_node or the configuration names takes writes',
    when: (facts) => {
      const { isDown, evidence } = witnesses(facts)
      return isDown && facts.writable.length === 0
        ? {
            summary: `${registeredAt(facts)} is down, and no other server of its group known to citus-ha takes writes`,
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
      summary: `it is not known whether ${registeredAt(facts)} is down`,
      evidence: [
        show(facts.registered),
        ...facts.writable.map((member) => show(member.node)),
        ...witnesses(facts).evidence,
      ],
    }),
  },
]

/** In order; the first that applies decides. Ids are stable: they are in logs, history and reports. */
export const RULES: readonly Rule[] = BY_ADDRESS.flatMap((rule) => {
  const id = WAITING.get(rule.id)
  return id === undefined ? [rule] : [nameToFollow(rule, id), rule]
})
