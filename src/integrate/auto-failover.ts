import { z } from 'zod'
import { formatAddress } from '../model/node.ts'
import { addressOf, type Word } from './word.ts'

/** Rows of `pgautofailover.node` on a monitor, as `sql/integrate/auto-failover.sql` gives them. */
export const monitorRows = z.object({
  nodes: z.array(
    z.object({
      formation: z.string(),
      group: z.number(),
      id: z.number(),
      name: z.string(),
      host: z.string(),
      port: z.number(),
      reported: z.string(),
      goal: z.string(),
    }),
  ),
})

export type MonitorNode = z.infer<typeof monitorRows>['nodes'][number]

/** Goals of a node that takes writes, or is being promoted (pg_auto_failover's manual, "Failover State Machine"). */
const PRIMARY = new Set([
  'single',
  'primary',
  'wait_primary',
  'join_primary',
  'apply_settings',
  'prepare_promotion',
  'stop_replication',
])

/** Whom the monitor wants for primaries now, one word a node. What it said before is not asked for: it is late. */
export function readMonitor(nodes: readonly MonitorNode[]): Word[] {
  const primaries = nodes.filter(({ reported, goal }) => PRIMARY.has(goal) && reported !== 'init')
  return primaries.flatMap(({ formation, group, id, name, host, port, reported }): Word[] => {
    const address = addressOf(host, String(port))
    if (!address) return []
    const says = `pg_auto_failover ${formation}/${group}: node ${id} (${name}) is ${reported}`
    return [{ kind: 'promoted', names: [name, formatAddress(address)], address, says }]
  })
}
