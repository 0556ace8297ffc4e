import {
  BEGIN,
  commitPreparedSql,
  lockSql,
  prepareSql,
  registerSql,
  rewriteSql,
  TAKE_CHANGE_LOCK,
  unsyncedIn,
} from '../apply/statements.ts'
import { formatGid } from '../model/gid.ts'
import { formatAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import { changesNothing } from '../model/plan.ts'
import type { View } from './look.ts'
import { orderOf } from './register.ts'
import type { WalkRequest } from './walk-request.ts'

/** The exact statements, but for the epoch and the random part of gids, which are known under the lock only. */
export function dryRun(
  { plan, coordinator }: View,
  cluster: string,
  by: Pick<WalkRequest, 'madeBy'>,
): Report['sql'] {
  if (changesNothing(plan)) {
    const rows = plan.registrations.map((each) => registerSql(orderOf(each, by)))
    const each = rows.flatMap((sql) => [BEGIN, TAKE_CHANGE_LOCK, sql, 'COMMIT'])
    return rows.length === 0 ? [] : [{ node: formatAddress(coordinator.address), statements: each }]
  }
  const epoch = (coordinator.installed?.epoch.epoch ?? 0) + 1
  const stamp = { timeline: coordinator.timeline ?? 0, epoch }
  return plan.copies.map((copy, participant) => {
    const { node, role, steps } = copy
    const gid = formatGid({ cluster, database: plan.database, ...stamp, random: '00000000', participant })
    const body = [lockSql(plan.fence), rewriteSql(stamp, steps, unsyncedIn(copy, plan.unsynced))]
    const statements =
      role === 'coordinator'
        ? [BEGIN, TAKE_CHANGE_LOCK, ...body, 'SELECT citus_ha.decide(…)', 'COMMIT']
        : [BEGIN, ...body, prepareSql(gid), commitPreparedSql(gid)]
    return { node: formatAddress(node), statements }
  })
}
