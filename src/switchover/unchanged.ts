import { primaryOf, sameCatalog } from '../model/catalog.ts'
import { intentsIn } from '../model/intent.ts'
import { formatAddress } from '../model/node.ts'
import type { Move } from './check.ts'
import { Overtaken, TooLate } from './patience.ts'
import type { Scope } from './stage.ts'

/**
 * What was checked may be over by the time in which the locks come: another run may have been before us in the line for
 * them. Asked with the locks in hand, so that it stays true.
 * @throws Overtaken with what is different; TooLate where that can't be said, or something is left to be settled
 */
export async function requireUnchanged(
  { access, request, checked }: Scope,
  moves: readonly Move[],
): Promise<void> {
  const [coordinator] = checked.entries.entries
  if (!coordinator) throw new Error('a switchover needs the coordinator')
  const prober = access.prober(request.database)
  const [seen, ...primaries] = await Promise.all([
    prober.probe(coordinator.node),
    ...moves.map(({ from }) => prober.probe(from.address)),
  ])
  const at = formatAddress(coordinator.node)
  if (seen?.kind !== 'answered') throw new TooLate(`${at} does not answer: ${seen?.detail}`)
  if (seen.instance !== coordinator.server.instance || seen.inRecovery || seen.retired || seen.readOnly)
    throw new Overtaken(
      `${at} is not the coordinator any more, as it was when this was checked: order it again`,
    )
  for (const { group } of moves) {
    const [was, is] = [coordinator.server, seen].map(({ citus }) =>
      (citus?.catalog ?? []).filter((row) => row.group === group),
    )
    const primary = primaryOf(is ?? [], group)
    if (!was || !is || !sameCatalog(was, is))
      throw new Overtaken(
        `group ${group}: its rows were changed by another run meanwhile${primary ? `; its primary is ${formatAddress(primary.address)}` : ''}: order it again`,
      )
  }
  // Whoever lives holds the lock that is ours now. Of another group as well: the check refuses it too.
  const [left] = intentsIn([seen, ...primaries])
  if (left)
    throw new TooLate(
      `group ${left.group}: another switchover, to ${formatAddress(left.to)}, has died meanwhile (${left.phase}); citus-ha reconcile settles it`,
    )
}
