import type { Cluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { client } from './scenario.ts'

export type Works = 'works' | 'fails'

/** By group: does a read, does a write that enters at this server work? */
export type Routes = Record<number, { readonly read: Works; readonly write: Works }>

/**
 * Tries it, as an application would: on real Citus by distributed statements that touch one shard of the group,
 * on the stand-in by connecting to where it says that a statement would go.
 */
export async function routesOf(cluster: Cluster, entry: Server, groups: readonly number[]): Promise<Routes> {
  const cells = await Promise.all(
    groups.map(async (group) => {
      const [read, write] = await Promise.all(
        ['read', 'write'].map((what) => attempt(cluster, entry, group, what)),
      )
      return [group, { read, write }] as const
    }),
  )
  return Object.fromEntries(cells) as Routes
}

async function attempt(cluster: Cluster, entry: Server, group: number, what: string): Promise<Works> {
  const connection = await client(entry, cluster.database)
  try {
    if (cluster.backend.kind === 'citus') {
      const id = await keyIn(cluster, group)
      const sql =
        what === 'read'
          ? 'SELECT note FROM items WHERE id = $1'
          : `UPDATE items SET note = 'after' WHERE id = $1`
      const { rowCount } = await connection.query(sql, [id])
      return rowCount === 1 ? 'works' : 'fails'
    }
    const { rows } = await connection.query<{ address: string }>(
      'SELECT citus_standin.route($1, $2) AS address',
      [group, what],
    )
    return await accepts(cluster, rows[0]?.address ?? '', what)
  } catch {
    return 'fails'
  } finally {
    await connection.end()
  }
}

const keys = new Map<string, number>()

/** An id of `items` whose shard is in this group; asked of the coordinator's catalog, which no failover changes. */
async function keyIn(cluster: Cluster, group: number): Promise<number> {
  const known = keys.get(`${cluster.directory} ${group}`)
  if (known !== undefined) return known
  const [row] = await cluster.coordinator.query<{ id: number }>(
    `SELECT i AS id FROM generate_series(1, 200) i
       JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('items', i)
      WHERE p.groupid = $1 ORDER BY i LIMIT 1`,
    [group],
    { database: cluster.database },
  )
  if (!row) throw new Error(`no shard of items in group ${group}`)
  keys.set(`${cluster.directory} ${group}`, row.id)
  return row.id
}

/** The server at an address, as an application would find it: is it there, and does it take this statement? */
async function accepts(cluster: Cluster, address: string, what: string): Promise<Works> {
  const port = Number(address.slice(address.lastIndexOf(':') + 1))
  const server = cluster.servers.find((each) => each.port === port)
  if (!server?.isRunning) return 'fails'
  return what === 'read' || !(await server.isInRecovery()) ? 'works' : 'fails'
}
