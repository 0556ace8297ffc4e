import type { Inspection } from '../model/inspection.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { isWaitedFor } from '../model/sync-names.ts'
import type { Facts, Finding } from './check.ts'
import { examine } from './examine.ts'
import { nameOf, settingOf } from './servers.ts'

/**
 * What would be an error of the new primaries once they have taken the places of the old ones: the same checks, of the
 * servers as they will be. Pure.
 */
export function errorsAfter(facts: Facts, moves: readonly { from: Answered; to: Answered }[]): Finding[] {
  const after = afterMoves(facts, moves)
  const names = moves.map(({ to }) => formatAddress(nameOf(facts, to)))
  return examine(after).filter(
    ({ severity, node }) => severity === 'error' && node !== null && names.includes(node),
  )
}

function afterMoves(facts: Facts, moves: readonly { from: Answered; to: Answered }[]): Facts {
  const inspections = facts.inspections.flatMap((inspection): Inspection[] => {
    if (moves.some(({ from }) => from.instance === inspection.node.instance)) return []
    const isPromoted = moves.some(({ to }) => to.instance === inspection.node.instance)
    return isPromoted ? [{ ...inspection, node: promoted(inspection) }] : [inspection]
  })
  const heir = moves.find(({ from }) => from.instance === facts.coordinator.instance)?.to
  const leading = inspections.find(({ node }) => node.instance === heir?.instance)?.node
  return { ...facts, inspections, coordinator: leading ?? facts.coordinator }
}

/** Of its standbys those stay that stream from it already; others have to be pointed at it first, or rebuilt. */
function promoted(inspection: Inspection): Answered {
  const { node } = inspection
  const names = settingOf(inspection, 'synchronous_standby_names') ?? ''
  const senders = node.senders.map((sender) => ({
    ...sender,
    syncState: isWaitedFor(names, sender.applicationName ?? '') ? 'sync' : 'async',
  }))
  return { ...node, inRecovery: false, receiver: null, senders }
}
