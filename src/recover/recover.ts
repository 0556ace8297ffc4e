import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { jsonLiteral, literal } from '../db/sql.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import type { HostPort } from '../model/node.ts'
import { decide, type Resolution } from './decide.ts'

/** Whose prepared transactions are looked for. */
export interface Scope {
  readonly cluster: string
  readonly database: string
}

/** A writable node and a session to it. */
export interface Reached {
  readonly node: HostPort
  readonly session: SessionLike
}

/** What became of a prepared transaction. */
export interface Resolved {
  readonly node: HostPort
  readonly resolution: Resolution
  /** null: done. */
  readonly failed: string | null
}

const gidRow = z.object({ gid: z.string() })
const timelineRow = z.object({ timeline: z.number().int() })

const LIST = `SELECT p.gid FROM pg_prepared_xacts p
  WHERE p.database = current_database() AND p.gid LIKE 'citus\\_ha\\_%' ORDER BY p.gid`

/**
 * Finds what earlier changes left prepared, and what the coordinator decided of it.
 *
 * The coordinator's session, the first, has to hold the change lock: while a change runs, its decision may be
 * on its way and can't be seen. (A commit that waits for synchronous replication is invisible.)
 */
export async function findInDoubt(
  { cluster, database }: Scope,
  [coordinator, ...others]: readonly Reached[],
  limitMs: number,
): Promise<Resolved[]> {
  if (!coordinator) return []
  const found = await Promise.all(
    [coordinator, ...others].map(async ({ node, session }) => {
      const [rows] = await session.run(LIST, limitMs)
      return (rows ?? []).map((row) => ({ node, gid: gidRow.parse(row).gid }))
    }),
  )
  const all = found.flat()
  if (all.length === 0) return []
  const gids = jsonLiteral(all.map(({ gid }) => gid))
  const [decided, identity] = await coordinator.session.run(
    `SELECT g.gid FROM citus_ha.change c, unnest(c.gids) AS g(gid) WHERE ${gids} ? g.gid;
     SELECT timeline FROM citus_ha.node_identity()`,
    limitMs,
  )
  const committed = new Set((decided ?? []).map((row) => gidRow.parse(row).gid))
  const { timeline } = timelineRow.parse(identity?.[0])
  return all.map(({ node, gid }) => ({
    node,
    resolution: decide(gid, { cluster, database, timeline, committed }),
    failed: null,
  }))
}

/** Carries out what `findInDoubt` found. A transaction that somebody else resolved meanwhile is no failure. */
export async function resolveInDoubt(
  scope: Scope,
  reached: readonly Reached[],
  limitMs: number,
): Promise<Resolved[]> {
  const found = await findInDoubt(scope, reached, limitMs)
  const results: Resolved[] = []
  for (const each of found) {
    const session = reached.find(({ node }) => node === each.node)?.session
    results.push(session ? await resolve(each, session, limitMs) : each)
  }
  return results
}

async function resolve(found: Resolved, session: SessionLike, limitMs: number): Promise<Resolved> {
  const { action, gid } = found.resolution
  if (action === 'leave') return found
  const verb = action === 'commit' ? 'COMMIT' : 'ROLLBACK'
  try {
    await session.run(`${verb} PREPARED ${literal(gid)}`, limitMs)
    return found
  } catch (error) {
    if (codeOf(error) === SqlState.undefinedObject) return found
    return { ...found, failed: error instanceof Error ? error.message : String(error) }
  }
}
