import type { TestContext } from 'vitest'
import type { Server } from '../../src/demo/server.ts'

/** What releases of Citus may lack: asked of the server that runs, never concluded from its version. */
const CAPABILITIES = {
  pause: {
    isThere: `to_regprocedure('pg_catalog.citus_pause_node_within_txn(int, boolean, int)') IS NOT NULL`,
    needs: 'citus_pause_node_within_txn (Citus 12.1)',
  },
  clones: {
    isThere: `EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'pg_catalog.pg_dist_node'::regclass
                         AND attname = 'nodeisclone')`,
    needs: 'the column nodeisclone of pg_dist_node (Citus 13.2)',
  },
} as const

export type Capability = keyof typeof CAPABILITIES

/** Whether the Citus, or the stand-in, of this database has it. */
export async function has(server: Server, capability: Capability, database?: string): Promise<boolean> {
  const sql = `SELECT ${CAPABILITIES[capability].isThere} AS there`
  const [row] = await server.query<{ there: boolean }>(sql, [], database === undefined ? {} : { database })
  return row?.there ?? false
}

/** Skips the test where that is not there, and says what is missing. */
export async function need(
  { skip }: TestContext,
  server: Server,
  capability: Capability,
  database?: string,
): Promise<void> {
  if (!(await has(server, capability, database))) skip(`needs ${CAPABILITIES[capability].needs}`)
}

/**
 * A statement that holds, until its transaction ends, the locks for which writers to the group of this primary wait:
 * `citus_pause_node_within_txn`, and where there is none what `citus_ha.fence` does without. To be run by a superuser.
 */
export function pauseNode(nodeid: number): string {
  return `DO $$ BEGIN
    IF ${CAPABILITIES.pause.isThere} THEN
      PERFORM citus_pause_node_within_txn(${nodeid});
    ELSE
      PERFORM lock_shard_metadata(7, array_agg(p.shardid ORDER BY p.shardid))
         FROM pg_dist_placement p JOIN pg_dist_node n USING (groupid)
        WHERE n.nodeid = ${nodeid} AND n.noderole = 'primary' HAVING count(*) > 0;
    END IF;
  END $$`
}
