import { setTimeout as pause } from 'node:timers/promises'
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

/** How long recovery may take, in milliseconds. */
export interface Limits {
  /** For any one answer. */
  readonly answerMs: () => number
  /** For sessions of a change that died to come to their end. */
  readonly endingMs: number
  /** Told of a node that could not be asked: what is prepared there waits until it can be. */
  readonly unasked: (node: HostPort, error: unknown) => void
}

const gidRow = z.object({ gid: z.string() })
const timelineRow = z.object({ timeline: z.number().int() })

// Who holds a copy while the change lock is ours belongs to a change that died: its PREPARE may be under way there.
const LIST = `SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE a.application_name = 'citus-ha' AND has_function_privilege(a.usesysid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE')
    AND a.datname = current_database() AND l.granted
    AND l.relation = 'pg_catalog.pg_dist_node'::regclass AND l.mode = 'ExclusiveLock';
SELECT p.gid FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner
  WHERE p.database = current_database() AND p.gid LIKE 'citus\\_ha\\_%'
    AND (r.rolsuper OR has_function_privilege(r.oid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE')) ORDER BY p.gid`
const POLL_MS = 20

/**
 * Finds what earlier changes left prepared, and what the coordinator decided of it.
 *
 * The coordinator's session, the first, has to hold the change lock: while a change runs, its decision may be
 * on its way and can't be seen. (A commit that waits for synchronous replication is invisible.)
 */
export async function findInDoubt(
  { cluster, database }: Scope,
  [coordinator, ...others]: readonly Reached[],
  { answerMs, endingMs, unasked }: Limits,
): Promise<Resolved[]> {
  if (!coordinator) return []
  const found = [
    listed(coordinator, { answerMs, endingMs: 0 }),
    ...others.map((other) =>
      listed(other, { answerMs, endingMs }).catch((error: unknown) => {
        unasked(other.node, error)
        return []
      }),
    ),
  ]
  const all = (await Promise.all(found)).flat()
  if (all.length === 0) return []
  const gids = jsonLiteral(all.map(({ gid }) => gid))
  const [decided, identity] = await coordinator.session.run(
    `SELECT g.gid FROM citus_ha.change c, unnest(c.gids) AS g(gid) WHERE ${gids} ? g.gid;
     SELECT timeline FROM citus_ha.node_identity()`,
    answerMs(),
  )
  const committed = new Set((decided ?? []).map((row) => gidRow.parse(row).gid))
  const { timeline } = timelineRow.parse(identity?.[0])
  return all.map(({ node, gid }) => ({
    node,
    resolution: decide(gid, { cluster, database, timeline, committed }),
    failed: null,
  }))
}

async function listed(
  { node, session }: Reached,
  { answerMs, endingMs }: Pick<Limits, 'answerMs' | 'endingMs'>,
) {
  const until = performance.now() + endingMs
  for (;;) {
    const [holders, rows] = await session.run(LIST, answerMs())
    if (holders?.length === 0 || performance.now() >= until)
      return (rows ?? []).map((row) => ({ node, gid: gidRow.parse(row).gid }))
    await pause(POLL_MS)
  }
}

/** Carries out what `findInDoubt` found. A transaction that somebody else resolved meanwhile is no failure. */
export async function resolveInDoubt(
  scope: Scope,
  reached: readonly Reached[],
  limits: Limits,
): Promise<Resolved[]> {
  const found = await findInDoubt(scope, reached, limits)
  const results: Resolved[] = []
  for (const each of found) {
    const session = reached.find(({ node }) => node === each.node)?.session
    results.push(session ? await resolve(each, session, limits.answerMs()) : each)
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
