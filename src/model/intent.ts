import { formatAddress, type HostPort } from './node.ts'

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
  const next = phase === 'quiescing' ? 'undoes it' : 'completes it'
  return `group ${group}: a switchover from ${formatAddress(from)} to ${formatAddress(to)} is ${phase} (${madeBy}); if that switchover has died, citus-ha reconcile ${next}`
}
