import type pg from 'pg'
import { z } from 'zod'
import { findBinaries } from '../../src/demo/binaries.ts'
import type { Cluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { client, type Ran } from './scenario.ts'

/** Only real Citus runs a distributed query. */
export const standin = (await findBinaries()).citus === null

/** New ids of `items` whose shards are in the group; asked of the coordinator's catalog. */
export async function keysOf(
  cluster: Cluster,
  group: number,
  from = 1000,
  to = 40_000,
  database = cluster.database,
): Promise<number[]> {
  const rows = await cluster.coordinator.query<{ id: number }>(
    `SELECT i AS id FROM generate_series($2::int, $3::int) i
       JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('items', i)
      WHERE p.groupid = $1 ORDER BY i`,
    [group, from, to],
    { database },
  )
  return rows.map(({ id }) => id)
}

/** An id that was in `items` from the start. */
export async function oldKeyOf(
  cluster: Cluster,
  group: number,
  database = cluster.database,
): Promise<number> {
  const [id] = await keysOf(cluster, group, 1, 200, database)
  if (id === undefined) throw new Error(`no shard of items in group ${group}`)
  return id
}

export interface Ack {
  readonly id: number
  /** `performance.now()`. */
  readonly at: number
}

/** One write of one id. It counts as acknowledged where this resolves. */
export type Write = (session: pg.Client, id: number) => Promise<void>

export const insert: Write = async (session, id) => {
  await session.query(`INSERT INTO items VALUES ($1, 'written')`, [id])
}

/** A COMMIT of a transaction that has failed answers ROLLBACK, and no error. */
export async function commit(session: pg.Client): Promise<void> {
  const { command } = await session.query('COMMIT')
  if (command !== 'COMMIT') throw new Error(`COMMIT answered ${command}`)
}

/** A node, or several of which the first that takes writes is meant: libpq's `target_session_attrs=read-write`. */
export type Way = Server | readonly Server[]

export function nameOf(way: Way): string {
  return 'name' in way ? way.name : way.map(({ name }) => name).join(' or ')
}

/** A session as an application has it. @throws Error where none of the servers takes writes */
export async function enter(way: Way, database: string): Promise<pg.Client> {
  if ('name' in way) return await client(way, database)
  return await waitUntil(`${nameOf(way)}: one takes writes`, () => firstWritable(way, database))
}

async function firstWritable(servers: readonly Server[], database: string): Promise<pg.Client | null> {
  for (const server of servers) {
    const session = await client(server, database).catch(() => null)
    const shown = await session?.query('SHOW transaction_read_only').catch(() => null)
    if (session && shown?.rows[0]?.transaction_read_only === 'off') return session
    await session?.end()
  }
  return null
}

/** Writes new rows without pause through one node, whatever happens, with a new session after every failure. */
export class Writer {
  readonly acknowledged: Ack[] = []
  readonly failures: string[] = []
  /** The longest that a statement took, failed ones included, in milliseconds. */
  longestMs = 0
  readonly #abort = new AbortController()
  readonly #done: Promise<void>

  constructor(entry: Way, database: string, keys: readonly number[], write: Write, sessions: 'one' | 'each') {
    this.#done = this.#run(entry, database, keys, write, sessions)
  }

  async #run(entry: Way, database: string, keys: readonly number[], write: Write, sessions: 'one' | 'each') {
    let session: pg.Client | null = null
    for (const id of keys) {
      if (this.#abort.signal.aborted) break
      const began = performance.now()
      try {
        session ??= await enter(entry, database)
        await write(session, id)
        this.acknowledged.push({ id, at: performance.now() })
      } catch (error) {
        this.failures.push(error instanceof Error ? error.message : String(error))
        await session?.end().catch(() => undefined)
        session = null
      }
      this.longestMs = Math.max(this.longestMs, performance.now() - began)
      if (sessions === 'each') {
        await session?.end().catch(() => undefined)
        session = null
      }
    }
    await session?.end().catch(() => undefined)
  }

  acknowledgedSince(at: number): number[] {
    return this.acknowledged.filter((ack) => ack.at >= at).map(({ id }) => id)
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#done
  }
}

/** Every n-th key, from the i-th on: what one of n writers gets. */
export function shareOf(keys: readonly number[], i: number, n: number): number[] {
  return keys.filter((_, index) => index % n === i)
}

/** A transaction that stays open, its statements run. The caller ends the session. */
export async function openTransaction(entry: Server, database: string, ...sql: string[]): Promise<pg.Client> {
  const session = await client(entry, database)
  await session.query(`SET application_name = 'the-idle-one'`)
  await session.query('BEGIN')
  for (const each of sql) await session.query(each)
  return session
}

const blockers = z.object({
  blockers: z.array(
    z.object({
      node: z.object({ host: z.string(), port: z.number() }),
      pid: z.number(),
      user: z.string().nullable(),
      application: z.string().nullable(),
      state: z.string().nullable(),
      ageMs: z.number().nullable(),
      statement: z.string().nullable(),
      client: z.object({ node: z.string(), pid: z.number() }).nullable(),
    }),
  ),
})

/** Who was in the way, by the document of `reconcile --json`. */
export function blockersOf(ran: Ran) {
  return blockers.parse(JSON.parse(ran.stdout)).blockers
}

/** What something gave, and how long it took in milliseconds. */
export async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const began = performance.now()
  const value = await work()
  return { value, ms: performance.now() - began }
}

/**
 * Citus's maintenance daemon is there. Before it is, `citus_update_node` ends the whole server (see `daemonRuns` in
 * `src/apply/participants.ts`).
 */
export async function daemonRuns(server: Server, database: string): Promise<void> {
  await waitUntil(`Citus’s daemon on ${server.name}`, async () => {
    const sql = `SELECT FROM pg_stat_activity
      WHERE application_name = 'Citus Maintenance Daemon' AND datname = current_database()`
    return (await server.query(sql, [], { database })).length > 0
  })
}
