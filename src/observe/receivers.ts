import type { Catalog, CatalogRow } from '../model/catalog.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Observation, Testimony } from '../model/observation.ts'
import { testify } from '../model/testify.ts'
import { ReceiverHistory } from './receiver-history.ts'

/**
 * What the WAL receivers of a group's standbys say of its registered primary.
 *
 * A receiver that heard something lately proves its sender alive, whatever name it knows it by, unless the
 * sender is another node that answered us (a cascade). `streaming` alone proves nothing: a receiver says so
 * for as long as its TCP connection lasts. A standby without a receiver may never have had one.
 */
export function heardFrom(
  nodes: readonly Observation[],
  catalog: Catalog,
  primary: CatalogRow,
  freshnessMs: number,
  history = new ReceiverHistory(),
  now = performance.now(),
): Testimony[] {
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  const registered = new Set(
    catalog.filter((row) => row.group === primary.group).map((row) => formatAddress(row.address)),
  )
  const standbys = answered.filter(
    (node) =>
      node.inRecovery &&
      node.readsStatistics &&
      (registered.has(formatAddress(node.address)) || node.citus?.localGroup === primary.group),
  )
  return standbys.map((standby) => {
    const endedMsAgo = history.endedMsAgo(standby, primary.address, now)
    return testimonyOf(standby, primary.address, answered, freshnessMs, endedMsAgo)
  })
}

function testimonyOf(
  standby: Answered,
  about: HostPort,
  answered: readonly Answered[],
  freshnessMs: number,
  endedMsAgo: number | null,
): Testimony {
  const given = { witness: standby.address, about, how: 'wal-receiver' } as const
  const { receiver } = standby
  if (receiver === null && endedMsAgo !== null && endedMsAgo > freshnessMs)
    return testify(given, 'receiver-ended')
  if (receiver === null) return testify(given, 'receiver-absent')
  const from = receiver.sender ? formatAddress(receiver.sender) : 'an unnamed sender'
  if (answered.some((node) => formatAddress(node.address) === from)) {
    return testify(given, 'receiver-elsewhere', `streams from ${from}`)
  }
  if (receiver.heardMsAgo !== null && receiver.heardMsAgo <= freshnessMs) {
    return testify(given, 'receiver-hears', `received a message from ${from} ${receiver.heardMsAgo} ms ago`)
  }
  const age = receiver.heardMsAgo === null ? 'never' : `${receiver.heardMsAgo} ms ago`
  return testify(given, 'receiver-deaf', `streams from ${from}, last message ${age}`)
}
