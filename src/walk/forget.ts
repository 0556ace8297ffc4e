import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { literal } from '../db/sql.ts'
import { codeOf, mayTryAgain, messageOf } from '../db/sqlstate.ts'
import { type CatalogRow, COORDINATOR_GROUP, rowAt } from '../model/catalog.ts'
import { CitusHaError } from '../model/failure.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { CopyReport } from '../model/outcome.ts'
import { rowOrLentAt } from '../model/remedy.ts'
import { entriesOf, readRoute } from '../plan/routes.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { changeRows, openForRows } from './coordinator-session.ts'
import { requireInstalled } from './install.ts'
import { observe, type View, view } from './look.ts'
import { prove } from './prove.ts'
import type { WalkRequest } from './walk-request.ts'

export interface ForgetOrder {
  readonly address: HostPort
  /** The group that it has to be of; null: any. */
  readonly group: number | null
}

/** What would be, or was, forgotten in one database. */
export interface Forgettable {
  readonly request: WalkRequest
  readonly seen: View
  readonly row: CatalogRow
  /** Readers through secondaries that would find none in its group any more. */
  readonly bereft: readonly string[]
  readonly warnings: readonly string[]
}

export interface Forgotten {
  readonly row: CatalogRow
  readonly copies: readonly CopyReport[]
}

/**
 * Finds the secondary's row at an address: its own, or the one that a remedy has lent out.
 * @returns null where no row has it
 * @throws CitusHaError for a primary's row, a clone's, one of another group, and one that `register` would bring back
 */
export async function findForgettable(
  access: Access,
  request: WalkRequest,
  order: ForgetOrder,
  clock: Clock,
): Promise<Forgettable | null> {
  const seen = view(await observe(access, request, clock), access, request)
  requireInstalled(seen.coordinator, access.migration)
  const { address } = order
  const catalog = seen.coordinator.citus?.catalog ?? []
  const row = rowOrLentAt(catalog, address, seen.coordinator.installed?.remedies ?? [])
  if (!row) return null
  requireForgettable(row, order, request)
  return { request, seen, row, bereft: bereftBy(row, seen), warnings: ownCopies(row, seen) }
}

function requireForgettable(row: CatalogRow, { address, group }: ForgetOrder, request: WalkRequest): void {
  const node = formatAddress(address)
  const refuse = (why: string) => new CitusHaError('usage', `${node} ${why}`)
  if (group !== null && row.group !== group) throw refuse(`belongs to group ${row.group}, not ${group}`)
  if (row.isclone) throw refuse('is registered as a clone: citus_remove_clone_node removes it')
  if (row.role === 'primary') {
    throw refuse(
      `is the primary of group ${row.group}: forget removes secondaries only; a switchover moves a primary’s row: citus-ha switchover --group ${row.group}`,
    )
  }
  if (request.register.some((standby) => sameAddress(standby.address, address))) {
    throw refuse(
      'is under "standbys" of the configuration and would be registered again: remove it there first',
    )
  }
}

/** Expand coordinators whose reads of the row's group work now, as far as was seen, and would not without the row. */
function bereftBy(row: CatalogRow, { survey, aliases }: View): string[] {
  const works = (entry: Answered) => readRoute(survey, entry, row.group, aliases).works !== 'no'
  return entriesOf(survey)
    .filter((entry) => kindOf(entry) === 'expand coordinator' && works(entry) && !works(without(row, entry)))
    .map((entry) => `${formatAddress(entry.address)} (cluster ${entry.citus?.clusterName})`)
}

/** A node as it would be once it has followed; one with rows of its own does not. */
function without(row: CatalogRow, entry: Answered): Answered {
  if (!entry.citus || hasOwnRows(entry)) return entry
  const catalog = entry.citus.catalog.filter((each) => each.nodeid !== row.nodeid)
  return { ...entry, citus: { ...entry.citus, catalog } }
}

/** A writable expand coordinator of group 0 is no copy of the coordinator's: nobody but its owner removes its rows. */
function hasOwnRows(node: Answered): boolean {
  const ofCoordinator = node.citus?.localGroup === COORDINATOR_GROUP
  return kindOf(node) === 'expand coordinator' && ofCoordinator && !node.inRecovery
}

function ownCopies({ address }: CatalogRow, { survey }: View): string[] {
  const row = formatAddress(address)
  return survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && hasOwnRows(node))
    .filter((node) => rowAt(node.citus?.catalog ?? [], address))
    .map((node) => `${formatAddress(node.address)} has rows of its own: remove ${row} there as well`)
}

const forgottenRow = z.object({ forgotten: z.unknown() })

/**
 * Removes the row on the coordinator, and waits until every copy is without it: Citus's own sync ships it.
 * @throws CitusHaError `blocked` where the row is gone, or not a secondary's any more; what the server says otherwise
 */
export async function forget(
  access: Access,
  { request, seen, row }: Forgettable,
  { address }: ForgetOrder,
  clock: Clock,
): Promise<Forgotten> {
  await removeRow(access, { request, seen }, address, clock)
  const decidedAt = performance.now()
  const now = view(await observe(access, request, clock), access, request)
  return { row, copies: await prove(access, request, now, decidedAt, clock) }
}

/** Tried again while locks are in the way and the deadline allows. */
async function removeRow(
  access: Access,
  { request, seen }: Pick<Forgettable, 'request' | 'seen'>,
  address: HostPort,
  clock: Clock,
): Promise<void> {
  for (;;) {
    try {
      return await removeRowOnce(access, { request, seen }, address)
    } catch (error) {
      if (!mayTryAgain(codeOf(error))) throw error
      const why = `${formatAddress(address)} is not forgotten: ${messageOf(error)}`
      if (clock.leftMs <= request.lockTimeoutMs) throw new CitusHaError('blocked', why, { cause: error })
      request.progress(`${why}; trying again`)
      await pause(request.lockTimeoutMs, undefined, { signal: request.signal })
    }
  }
}

async function removeRowOnce(
  access: Access,
  { request, seen }: Pick<Forgettable, 'request' | 'seen'>,
  address: HostPort,
): Promise<void> {
  const session = await openForRows(access, request, seen.coordinator)
  try {
    const parameters = [literal(address.host), literal(address.port), literal(request.madeBy)].join(', ')
    const sql = `SELECT citus_ha.forget_node(${parameters}) AS forgotten`
    const { forgotten } = forgottenRow.parse(await changeRows(session, sql, request))
    if (forgotten === null)
      throw new CitusHaError('blocked', `${formatAddress(address)} was removed by another session meanwhile`)
  } finally {
    await session.close()
  }
}
