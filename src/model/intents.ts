import { type CatalogRow, COORDINATOR_GROUP } from './catalog.ts'
import type { Intent } from './intent.ts'
import { coordinatorOf } from './kinds.ts'
import { sameAddress } from './node.ts'
import type { Answered, Observation } from './observation.ts'

/** What a worker's registered primary, which answers, has written down itself of its group; null: nothing. */
export interface Word {
  readonly node: Answered
  readonly intent: Intent | null
}

export function wordOf(nodes: readonly Observation[], { group, address }: CatalogRow): Word | null {
  const node = nodes.find((each) => sameAddress(each.address, address))
  if (node?.kind !== 'answered' || !node.installed || node.inRecovery || node.citus?.localGroup !== group)
    return null
  return { node, intent: node.installed.intents.find((each) => each.group === group) ?? null }
}

/**
 * What switchovers are doing, or have left behind. The coordinator and the group's primary itself have it written down, and may
 * differ: a coordinator's standby that took over was told late, or never. The primary's word counts where it gives one: what is
 * done to it is written down there before, and forgotten there after it is undone; nothing is promoted before it says so. One
 * that says nothing, or takes writes, is held by nobody any more: nothing is to be promoted beside it. Only where it was stopped by
 * a command is the coordinator alone told what follows.
 */
export function intentsIn(nodes: readonly Observation[]): Intent[] {
  const coordinator = coordinatorOf(nodes)
  const known = coordinator?.installed?.intents ?? []
  const primaries = (coordinator?.citus?.catalog ?? []).filter(
    ({ role, group }) => role === 'primary' && group !== COORDINATOR_GROUP,
  )
  const words = new Map(
    primaries.flatMap((row) => {
      const word = wordOf(nodes, row)
      return word ? [[row.group, word] as const] : []
    }),
  )
  const told = known.map((intent) =>
    intent.group === COORDINATOR_GROUP
      ? ofCoordinator(intent, coordinator)
      : agreed(intent, words.get(intent.group)),
  )
  const own = [...words.values()].flatMap(({ node, intent }) => (intent ? [unlessFree(intent, node)] : []))
  return [...told, ...own.filter(({ group }) => !known.some((each) => each.group === group))]
}

/** The old primary is the coordinator that says so, unless another has taken its place. */
export function ofCoordinator(intent: Intent, coordinator: Answered | undefined): Intent {
  return coordinator && sameAddress(coordinator.address, intent.from)
    ? unlessFree(intent, coordinator)
    : intent
}

export function agreed(intent: Intent, word: Word | undefined): Intent {
  if (!word || !sameAddress(word.node.address, intent.from)) return word?.intent ?? intent
  const { node, intent: own } = word
  if (!own) return { ...intent, phase: 'quiescing' }
  return unlessFree(own.run === intent.run && intent.stopped ? intent : own, node)
}

/** From before a promotion is asked for until the change is made, whoever is left behind takes no writes. */
export function unlessFree(intent: Intent, { readOnly }: Answered): Intent {
  return readOnly ? intent : { ...intent, phase: 'quiescing' }
}

/** Whether a switchover that has come to its promotion keeps this server, the old primary of the group, read-only. */
export function isHeld({ readOnly, installed }: Answered, group: number): boolean {
  const noted = installed?.intents ?? []
  return readOnly && noted.some((intent) => intent.group === group && intent.phase === 'promoting')
}
