import { type Catalog, primaryOf } from '../model/catalog.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'

interface Streamed {
  readonly from: HostPort
  readonly configured: string
  /** Since when it has had no WAL receiver while the primary was silent; milliseconds of `performance.now()`. */
  readonly goneSince: number | null
}

/**
 * Which standbys were seen to stream from their group's registered primary until it fell silent. A receiver that went while
 * the primary still answered, after a restart of the standby, after its configuration was read again (somebody may have
 * pointed it elsewhere), or in a survey that the standby missed, is forgotten: that it is gone proves nothing.
 */
export class ReceiverHistory {
  #streamed = new Map<string, Streamed>()

  /** Takes in one more survey, at `now`. */
  note(nodes: readonly Observation[], catalog: Catalog, freshnessMs: number, now: number): void {
    const next = new Map<string, Streamed>()
    for (const node of nodes) {
      if (node.kind !== 'answered' || !node.inRecovery || !node.readsStatistics) continue
      const streamed = afterSurvey(this.#streamed.get(node.instance), node, nodes, catalog, freshnessMs, now)
      if (streamed) next.set(node.instance, streamed)
    }
    this.#streamed = next
  }

  /** How long ago its receiver from that primary ended, in milliseconds; null: not known that it ever had one. */
  endedMsAgo(standby: Answered, primary: HostPort, now: number): number | null {
    const streamed = this.#streamed.get(standby.instance)
    if (!streamed || streamed.goneSince === null || !sameAddress(streamed.from, primary)) return null
    return now - streamed.goneSince
  }
}

function afterSurvey(
  known: Streamed | undefined,
  standby: Answered,
  nodes: readonly Observation[],
  catalog: Catalog,
  freshnessMs: number,
  now: number,
): Streamed | null {
  const { receiver, configured } = standby
  const row = catalog.find(({ address }) => sameAddress(address, standby.address))
  const group = row?.group ?? standby.citus?.localGroup
  const primary = group === undefined ? undefined : primaryOf(catalog, group)
  if (group === undefined || !primary) return null
  if (receiver !== null) {
    const isFrom = receiver.sender !== null && sameAddress(receiver.sender, primary.address)
    const isFresh = receiver.heardMsAgo !== null && receiver.heardMsAgo <= freshnessMs
    if (!isFrom) return null
    if (isFresh) return { from: primary.address, configured, goneSince: null }
    return known ? { ...known, goneSince: null } : null
  }
  const name = formatAddress(primary.address)
  const seen = nodes.find((node) => formatAddress(node.address) === name)
  if (!known || seen?.kind !== 'unreachable' || known.configured !== configured) return null
  return { ...known, goneSince: known.goneSince ?? now }
}
