import { z } from 'zod'
import { saidOf } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import { statement } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import { type Catalog, COORDINATOR_GROUP, groupsOf, primaryOf, sameCatalog } from '../model/catalog.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Survey } from '../model/observation.ts'
import { readLocalGroup } from '../model/retired.ts'
import { intentRow, readCatalog } from '../observe/rows.ts'
import type { Move } from './check.ts'
import { GaveWay, Overtaken, TooLate } from './patience.ts'
import type { Scope } from './scope.ts'

const LIMIT_MS = 2000

const stateRow = z.object({
  /** As in `Answered`. */
  instance: z.string(),
  in_recovery: z.boolean(),
  read_only: z.boolean(),
  local_group: z.number().int(),
  rows: z.unknown().transform(readCatalog),
  intents: z.array(intentRow),
})

/** What was seen, and is to be so still. */
interface Before {
  readonly checked: Scope['checked']
  /** By which it was worked out where writes enter, just before the fence. */
  readonly survey: Survey
}

/** Sessions of one database that are open since before the locks, outside of a transaction. */
export interface Asked {
  readonly coordinator: SessionLike
  /** To the old primaries, in the order of the moves. */
  readonly primaries: readonly SessionLike[]
}

/**
 * What was checked may be over by the time in which the locks come: another run may have been before us in the line for
 * them. Asked with the locks in hand, so that it stays true; in one statement, since everybody waits meanwhile.
 * @param run whose intents are our own
 * @throws Overtaken with what is different; GaveWay where only the survey is too old; TooLate where that can't be said, or
 * something is left to be settled
 */
export async function requireUnchanged(
  { checked, survey }: Before,
  moves: readonly Move[],
  asked: Asked,
  run: string,
): Promise<void> {
  const [coordinator] = checked.entries.entries
  if (!coordinator) throw new Error('a switchover needs the coordinator')
  const [seen, ...primaries] = await Promise.all([
    stateOf(asked.coordinator, coordinator.node),
    ...moves.map(({ from }, n) => stateOf(asked.primaries[n], from.address)),
  ])
  for (const [n, { group, from }] of moves.entries())
    if (primaries[n]?.in_recovery)
      throw new Overtaken(
        `group ${group}: another run was faster: ${formatAddress(from.address)} is a standby now`,
      )
  if (!seen) return
  const at = formatAddress(coordinator.node)
  const { retired } = readLocalGroup(seen.local_group)
  if (seen.instance !== coordinator.server.instance || seen.in_recovery || retired || seen.read_only)
    throw new Overtaken(
      `${at} is no longer the coordinator, as it was when this was checked: run the same command again`,
    )
  for (const { group } of moves) {
    const [was, is] = [coordinator.server.citus?.catalog ?? [], seen.rows].map((rows) =>
      rows.filter((row) => row.group === group),
    )
    const primary = primaryOf(is ?? [], group)
    if (!was || !is || !sameCatalog(was, is))
      throw new Overtaken(
        `group ${group}: its rows were changed by another run meanwhile${primary ? `; its primary is ${formatAddress(primary.address)}` : ''}: run the same command again`,
      )
  }
  const moved = movedPrimary(coordinatorOf(survey.nodes)?.citus?.catalog ?? [], seen.rows)
  if (moved) throw new GaveWay(`${moved} since the survey: writes that enter there are not fenced`)
  // Whoever lives holds the lock that is ours now. Of another group as well: the check refuses it too.
  const own = primaries.flatMap((each, n) =>
    (each?.intents ?? []).filter(({ group }) => group === moves[n]?.group && group !== COORDINATOR_GROUP),
  )
  const [left] = [...seen.intents, ...own].filter((intent) => intent.run !== run)
  if (left)
    throw new TooLate(
      `group ${left.group}: another switchover, to ${formatAddress(left.to)}, was interrupted meanwhile (${left.phase}); citus-ha reconcile completes or undoes it`,
    )
}

/** A primary, through which writes may enter, that is another one by now. @returns which, in words; null: none */
function movedPrimary(was: Catalog, is: Catalog): string | null {
  for (const group of groupsOf([...was, ...is])) {
    const [before, now] = [primaryOf(was, group), primaryOf(is, group)]
    const isSame = before && now && before.nodeid === now.nodeid && sameAddress(before.address, now.address)
    if (isSame && before.hasmetadata === now.hasmetadata) continue
    const [from, to] = [before, now].map((row) => (row ? formatAddress(row.address) : 'nobody'))
    return `group ${group}: its primary was ${from}, and is ${to}${from === to ? ', with other metadata,' : ''}`
  }
  return null
}

async function stateOf(session: SessionLike | undefined, node: HostPort) {
  try {
    const [rows] = (await session?.run(statement('switchover/unchanged'), LIMIT_MS)) ?? []
    return stateRow.parse(rows?.[0])
  } catch (error) {
    throw new TooLate(saidOf(node, messageOf(error)))
  }
}
