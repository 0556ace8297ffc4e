import { COORDINATOR_GROUP } from './catalog.ts'
import { coordinatorOf } from './kinds.ts'
import { formatAddress, type HostPort, sameAddress } from './node.ts'
import type { Answered, Observation } from './observation.ts'

/** What a switchover is doing to a group (`citus_ha.intent`, on the coordinator and on the old primary itself). */
export interface Intent {
  readonly group: number
  /** The primary: it takes no writes meanwhile. */
  readonly from: HostPort
  /** The standby that is to be promoted. */
  readonly to: HostPort
  /** `quiescing`: whoever finds it left behind undoes it; `promoting`: carries it on, since nobody knows how far it came. */
  readonly phase: 'quiescing' | 'promoting'
  /** It is promoted by a command that only its maker knows. */
  readonly byCommand: boolean
  /** The primary was stopped first, by such a command. */
  readonly stopped: boolean
  readonly madeBy: string
  /** The run of a switchover that wrote it, and ends it. */
  readonly run: string
}

export function describeIntent({ group, from, to, phase, madeBy }: Intent): string {
  const next = phase === 'quiescing' ? 'undoes it' : 'carries it on'
  return `group ${group}: a switchover from ${formatAddress(from)} to ${formatAddress(to)} is ${phase} (${madeBy}); if it has died, citus-ha reconcile ${next}`
}

/** Registered primaries of workers whose own server says that a switchover has begun with their group. */
export function primariesWithIntents(nodes: readonly Observation[]): Answered[] {
  const rows = coordinatorOf(nodes)?.citus?.catalog ?? []
  return rows.flatMap(({ role, group, address }): Answered[] => {
    const node = nodes.find((each) => sameAddress(each.address, address))
    const isNoted = node?.kind === 'answered' && node.installed?.intents.some((each) => each.group === group)
    return role === 'primary' && group !== COORDINATOR_GROUP && isNoted ? [node] : []
  })
}

/**
 * What switchovers are doing, or have left behind. The coordinator and the group's primary itself have it written down, and may
 * differ: a coordinator's standby that took over was told late, or never. Of one run `promoting` counts, whoever says it:
 * that can't be undone. Of two runs the primary's counts: none is written down there before the one before it is over.
 */
export function intentsIn(nodes: readonly Observation[]): Intent[] {
  const coordinator = coordinatorOf(nodes)
  const known = coordinator?.installed?.intents ?? []
  const own = primariesWithIntents(nodes).flatMap((node) =>
    (node.installed?.intents ?? []).filter(({ group }) => group === node.citus?.localGroup),
  )
  const told = known.map((intent) => {
    const first = own.find(({ group }) => group === intent.group)
    const isLate = first && (first.run !== intent.run || first.phase === 'promoting')
    return isLate ? first : intent
  })
  return [...told, ...own.filter(({ group }) => !known.some((each) => each.group === group))]
}
