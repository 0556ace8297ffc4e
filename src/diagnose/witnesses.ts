import { formatAddress } from '../model/node.ts'
import type { Observation } from '../model/observation.ts'
import type { GroupFacts } from './facts.ts'

export interface Witnesses {
  /** Who reached the registered primary. */
  readonly alive: readonly string[]
  /** Two independent witnesses at least say that it is down, and none that it is alive. */
  readonly isDown: boolean
  /** What each of them said, for people. */
  readonly evidence: readonly string[]
}

/** How many have to agree that a primary is down: ourselves and one more, or two others. */
const ENOUGH = 2

/**
 * Whether the registered primary is down. We are one witness, if it was silent towards us (a server that
 * answers with an error is alive); each metadata node asked through Citus and each standby is another.
 */
export function witnesses(facts: GroupFacts): Witnesses {
  const who = (says: 'alive' | 'down') =>
    facts.testimony.filter((given) => given.says === says).map((given) => formatAddress(given.witness))
  const silent = facts.registered?.kind === 'unreachable'
  const spoke = facts.registered?.kind === 'unreadable'
  const alive = who('alive')
  const down = new Set(who('down')).size + (silent ? 1 : 0)
  return {
    alive,
    isDown: alive.length === 0 && !spoke && facts.registered?.kind !== 'answered' && down >= ENOUGH,
    evidence: facts.testimony.map(
      (given) => `${formatAddress(given.witness)} (${given.how}): ${given.says}, ${given.detail}`,
    ),
  }
}

/** One observation in one line. */
export function show(node: Observation | undefined): string {
  if (node === undefined) return 'the registered primary was not asked'
  const address = formatAddress(node.address)
  switch (node.kind) {
    case 'unreachable':
      return `${address}: unreachable (${node.cause}): ${node.detail}`
    case 'unreadable':
      return `${address}: answers, but can't be read (${node.cause}): ${node.detail}`
    case 'answered': {
      const role = node.inRecovery ? 'in recovery' : 'writable'
      return `${address}: ${role}, timeline ${node.timeline ?? '?'}, system ${node.systemIdentifier}, group ${node.citus?.localGroup ?? '-'}`
    }
  }
}
