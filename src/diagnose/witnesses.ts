import { formatAddress, sameAddress } from '../model/node.ts'
import type { Observation, Testimony } from '../model/observation.ts'
import { roleText } from '../model/server-state.ts'
import type { GroupFacts } from './facts.ts'
import { ENOUGH, wasSilent } from './silent.ts'

export interface Witnesses {
  /** To whom the registered primary gave any answer. */
  readonly alive: readonly string[]
  /** Two independent witnesses at least say that it is down, and none that it is alive. */
  readonly isDown: boolean
  /** What each of them said, for people. */
  readonly evidence: readonly string[]
}

/**
 * Whether the registered primary is down. We are one witness, if it was silent towards us (a server that
 * answers with an error is alive, and of a name that can't be looked up nothing is known); each metadata node asked
 * through Citus and each standby is another. What each may have seen and what that proves is in `SIGHTS`.
 */
export function witnesses(facts: GroupFacts): Witnesses {
  const alive = facts.testimony.filter((given) => given.says === 'alive').map(nameOf)
  const independent = facts.testimony.filter((given) => given.says === 'down' && isIndependent(given, facts))
  const silent = wasSilent(facts.registered)
  const spoke = facts.registered?.kind === 'unreadable'
  const down = new Set(independent.map(nameOf)).size + (silent ? 1 : 0)
  return {
    alive,
    isDown: alive.length === 0 && !spoke && facts.registered?.kind !== 'answered' && down >= ENOUGH,
    evidence: facts.testimony.map(
      (given) => `${formatAddress(given.witness)} (${given.how}): ${given.says}, ${given.detail}`,
    ),
  }
}

const nameOf = (given: Testimony): string => formatAddress(given.witness)

/**
 * A promoted node is no witness for its own promotion, and a standby of something else none at all. Of the group's
 * own members only those in recovery count, by their WAL receivers.
 */
function isIndependent(given: Testimony, facts: GroupFacts): boolean {
  const member = facts.members.find(({ node, address }) =>
    [node.address, address].some((known) => sameAddress(known, given.witness)),
  )
  if (!member) return given.how === 'citus_check_connection_to_node'
  const foreign = facts.foreign.some((each) => each.member === member)
  return !foreign && member.node.inRecovery && given.how === 'wal-receiver'
}

/** One observation in one line. */
export function show(node: Observation | undefined): string {
  if (node === undefined) return 'the registered primary was not asked'
  const address = formatAddress(node.address)
  switch (node.kind) {
    case 'unreachable':
      return `${address}: unreachable (${node.cause}): ${node.detail}`
    case 'unreadable':
      return `${address}: answers, but cannot be read (${node.cause}): ${node.detail}`
    case 'answered':
      return `${address}: ${roleText(node)}, timeline ${node.timeline ?? '?'}, system ${node.systemIdentifier}, group ${node.citus?.localGroup ?? '-'}`
  }
}
