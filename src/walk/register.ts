import { z } from 'zod'
import { type Watch, watched } from '../apply/blockers.ts'
import { registerSql } from '../apply/statements.ts'
import { messageOf } from '../db/sqlstate.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Registration, RowChange } from '../model/plan.ts'
import type { Access } from './access.ts'
import { changeRows, openForRows } from './coordinator-session.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

/** What became of the registrations of a plan. */
export interface Registered {
  readonly changes: readonly RowChange[]
  readonly warnings: readonly string[]
}

const nodeidRow = z.object({ nodeid: z.number().int() })

/**
 * Gives standbys their rows, on the coordinator and one by one; Citus's own sync ships them afterwards. Outside of the
 * coordinated transaction: no query is routed wrongly by a copy that lacks a secondary for a moment.
 * @throws what kept the first one from its row; where a later one fails, that is a warning
 */
export async function registerAll(
  access: Access,
  request: WalkRequest,
  view: View,
  watch: Watch,
): Promise<Registered> {
  const { coordinator, plan } = view
  const able = await Promise.all(plan.registrations.map((each) => unreached(access, request, view, each)))
  const wanted = plan.registrations.filter((_, n) => able[n] === null)
  const warnings = able.filter((why) => why !== null)
  const changes: RowChange[] = []
  if (wanted.length === 0) return { changes, warnings }
  const session = await openForRows(access, request, coordinator)
  try {
    for (const registration of wanted) {
      const sql = registerSql(orderOf(registration, request))
      const row = await watched(watch, coordinator.address, session.pid, request.lockTimeoutMs, () =>
        changeRows(session, sql, request),
      )
      changes.push(changeOf(registration, nodeidRow.parse(row).nodeid))
    }
  } catch (error) {
    if (changes.length === 0) throw error
    warnings.push(`not every standby was registered: ${messageOf(error)}`)
  } finally {
    await session.close()
  }
  return { changes, warnings }
}

/** As `citus_ha.register_secondary` takes it. */
export function orderOf(registration: Registration, { madeBy }: Pick<WalkRequest, 'madeBy'>): object {
  const { group, address, primary, cluster, rack, why } = registration
  return { group, address, primary, cluster, rack, madeBy, evidence: [why] }
}

/** @param nodeid 0: it has none yet */
export function changeOf({ group, address, why }: Registration, nodeid: number): RowChange {
  return { group, nodeid, kind: 'registered', from: 'no row', to: formatAddress(address), why }
}

/**
 * Citus reads from a group's first row in physical order, which a new one may become: who reads through secondaries has to
 * reach it. @returns why not; null: all do
 */
async function unreached(
  access: Access,
  { database }: WalkRequest,
  { survey, coordinator }: View,
  { group, address, cluster, primary }: Registration,
): Promise<string | null> {
  const readers = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && kindOf(node) === 'expand coordinator')
    .filter((node) => (node.citus?.clusterName ?? 'default') === cluster)
  const prober = access.prober(database)
  const asked = await Promise.all(
    [coordinator, ...readers].map((node) => prober.ask(node.address, address, primary)),
  )
  // The coordinator itself reads from primaries: that it can't say is nothing against a row.
  const against = asked.find(({ saw, control }, n) => saw !== 'reached' && (n > 0 || control === 'reached'))
  if (!against) return null
  const witness = formatAddress(against.witness)
  return `group ${group}: ${formatAddress(address)} has no row in pg_dist_node and is not registered: ${witness} ${against.detail}`
}
