import {
  BEGIN,
  commitPreparedSql,
  lockSql,
  prepareSql,
  rewriteSql,
  TAKE_CHANGE_LOCK,
} from '../apply/statements.ts'
import { formatGid } from '../model/gid.ts'
import { formatAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import { changesNothing } from '../model/plan.ts'
import type { View } from './look.ts'

/** The exact statements, but for the epoch and the random part of gids, which are known under the lock only. */
export function dryRun({ plan, coordinator }: View, cluster: string): Report['sql'] {
  if (changesNothing(plan)) return []
  const epoch = (coordinator.installed?.epoch.epoch ?? 0) + 1
  const stamp = { timeline: coordinator.timeline ?? 0, epoch }
  return plan.copies.map(({ node, role, steps }, participant) => {
    const gid = formatGid({ cluster, database: plan.database, ...stamp, random: '00000000', participant })
    const body = [lockSql(plan.fence), rewriteSql(stamp, steps, plan.unsynced)]
    const statements =
      role === 'coordinator'
        ? [BEGIN, TAKE_CHANGE_LOCK, ...body, 'SELECT citus_ha.decide(…)', 'COMMIT']
        : [BEGIN, ...body, prepareSql(gid), commitPreparedSql(gid)]
    return { node: formatAddress(node), statements }
  })
}
