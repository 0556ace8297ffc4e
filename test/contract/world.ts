import pg from 'pg'
import { findBinaries } from '../../src/demo/binaries.ts'
import { type Cluster, type ClusterSpec, startCluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'

/** What the same facts are asserted on. */
export interface Backend {
  readonly name: string
  readonly spec: ClusterSpec
}

const installed = await findBinaries()

/** Real Citus where the local PostgreSQL has it, and always the stand-in. */
export const backends: readonly Backend[] = [
  ...(installed.citus === null ? [] : [{ name: 'real Citus', spec: { backend: 'auto' } as const }]),
  { name: 'the stand-in', spec: { backend: 'standin', prefer: 'embedded' } },
]

export const START_LIMIT_MS = 60_000

export interface SessionOptions {
  readonly user?: string
  /** Settings fixed at session start. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface NodeRow {
  readonly nodeid: number
  readonly groupid: number
  readonly nodename: string
  readonly nodeport: number
  readonly noderack: string
  readonly hasmetadata: boolean
  readonly isactive: boolean
  readonly noderole: string
  readonly nodecluster: string
  readonly metadatasynced: boolean
  readonly shouldhaveshards: boolean
}

/** A coordinator and two metadata workers with a distributed table `items` and a reference table `units`. */
export class World {
  readonly cluster: Cluster
  readonly #keys = new Map<number, number>()
  readonly #shards = new Map<number, string>()
  readonly #sessions: pg.Client[] = []
  #rows: NodeRow[] = []

  private constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  /** @param spec more than the backend: standbys, settings */
  static async start(backend: Backend, spec: ClusterSpec = {}): Promise<World> {
    const cluster = await startCluster({
      workers: [{}, {}],
      coordinatorStandbys: [],
      ...spec,
      ...backend.spec,
      settings: { 'citus.metadata_sync_retry_interval': '200ms', ...spec.settings },
    })
    const world = new World(cluster)
    try {
      await world.#prepare()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return world
  }

  async #prepare(): Promise<void> {
    await this.coordinator.query('create table items (id bigint primary key, note text)')
    await this.coordinator.query(`select create_distributed_table('items', 'id', shard_count := 4)`)
    await this.coordinator.query('create table units (id bigint primary key, note text)')
    await this.coordinator.query(`select create_reference_table('units')`)
    const placements = await this.coordinator.query<{ groupid: number; shardid: string }>(
      `select p.groupid, min(p.shardid)::text as shardid
         from pg_dist_placement p join pg_dist_shard s using (shardid)
        where s.logicalrelid = 'items'::regclass group by p.groupid`,
    )
    for (const { groupid, shardid } of placements) this.#shards.set(groupid, shardid)
    if (this.isCitus) await this.#findKeys()
    this.#rows = await this.rows()
  }

  async #findKeys(): Promise<void> {
    const keys = await this.coordinator.query<{ groupid: number; key: number }>(
      `select p.groupid, min(k)::int as key from generate_series(1, 100) k
         join pg_dist_placement p on p.shardid = get_shard_id_for_distribution_column('items', k)
        where p.shardid = any ($1::bigint[]) group by p.groupid`,
      [[...this.#shards.values()]],
    )
    for (const { groupid, key } of keys) this.#keys.set(groupid, key)
  }

  get isCitus(): boolean {
    return this.cluster.backend.kind === 'citus'
  }

  get coordinator(): Server {
    return this.cluster.coordinator
  }

  /** The primary of a worker group. */
  worker(group: number): Server {
    const found = this.cluster.workers.find((worker) => worker.group === group)
    if (found === undefined) throw new Error(`no group ${group}`)
    return found.primary
  }

  /** pg_dist_node of one copy, by nodeid. */
  async rows(server = this.coordinator): Promise<NodeRow[]> {
    return server.query<NodeRow>('select *, noderole::text from pg_dist_node order by nodeid')
  }

  /** The nodeid of a group's primary, as it was at the start. */
  primaryId(group: number): number {
    const row = this.#rows.find(({ groupid, noderole }) => groupid === group && noderole === 'primary')
    if (row === undefined) throw new Error(`group ${group} has no primary`)
    return row.nodeid
  }

  /** A shard of `items` on a group. */
  shardOf(group: number): string {
    return this.#shards.get(group) ?? fail(`no shard on group ${group}`)
  }

  async open(server: Server, { user = 'postgres', settings = {} }: SessionOptions = {}): Promise<pg.Client> {
    const options = Object.entries(settings).map(
      ([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`,
    )
    const client = new pg.Client({
      connectionString: server.url(undefined, user),
      ssl: false,
      options: options.join(' '),
    })
    client.on('error', () => {})
    await client.connect()
    this.#sessions.push(client)
    return client
  }

  /** Ends every session that `open` gave, and puts every copy of pg_dist_node back as it was at the start. */
  async tidy(): Promise<void> {
    await Promise.all(this.#sessions.splice(0).map((session) => session.end().catch(() => {})))
    // The coordinator first: its lock waits for a sync that runs, and then there is nothing left to sync.
    await this.coordinator.withClient((client) => this.#reset(client))
    const workers = this.cluster.workers.map(({ primary }) => primary)
    await Promise.all(workers.map((server) => server.withClient((client) => this.#reset(client))))
  }

  async #reset(client: pg.Client): Promise<void> {
    const { rows: prepared } = await client.query<{ gid: string }>(
      `select gid from pg_prepared_xacts where database = current_database() and gid = 'change'`,
    )
    for (const { gid } of prepared) await client.query(`rollback prepared '${gid}'`)
    const rows = JSON.stringify(this.#rows)
    await client.query(
      `begin; lock table pg_dist_node in exclusive mode; delete from pg_dist_node;
       insert into pg_dist_node select * from json_populate_recordset(null::pg_dist_node, '${rows}'); commit`,
    )
  }

  /** Waits until every metadata worker is marked synced on the coordinator and has its very rows. */
  async synced(limitMs = 5_000): Promise<void> {
    await waitUntil('the copies to be equal', () => this.areCopiesEqual(), { limitMs, everyMs: 10 })
  }

  async areCopiesEqual(): Promise<boolean> {
    const here = await this.rows()
    const copies = await Promise.all(this.cluster.workers.map(({ primary }) => this.rows(primary)))
    const behind = here.filter((row) => row.hasmetadata && !row.metadatasynced)
    return behind.length === 0 && copies.every((copy) => JSON.stringify(copy) === JSON.stringify(here))
  }

  /** Writes to a group, entering by this session's node; holds what a writer holds till the transaction ends. */
  async write(session: pg.Client, group: number): Promise<void> {
    if (this.isCitus) {
      const key = this.#keys.get(group)
      await session.query(`insert into items values ($1) on conflict (id) do update set note = 'again'`, [
        key,
      ])
    } else await session.query('select citus_standin.write($1)', [this.shardOf(group)])
  }

  /** Writes to the reference table. */
  async writeReference(session: pg.Client): Promise<void> {
    if (this.isCitus) {
      await session.query(`insert into units values (1) on conflict (id) do update set note = 'again'`)
    } else {
      await session.query(
        `select citus_standin.write(shardid) from pg_dist_shard where logicalrelid = 'units'::regclass`,
      )
    }
  }

  /** Reads from a group; returns the address the query was sent to, HOST:PORT. */
  async read(session: pg.Client, group: number): Promise<string> {
    return this.isCitus
      ? this.#explain(session, `select * from items where id = ${this.#keys.get(group)}`)
      : this.#route(session, group, 'read')
  }

  /** Where a write to a group would go. */
  async writeTarget(session: pg.Client, group: number): Promise<string> {
    return this.isCitus
      ? this.#explain(session, `update items set note = 'x' where id = ${this.#keys.get(group)}`)
      : this.#route(session, group, 'write')
  }

  async #explain(session: pg.Client, query: string): Promise<string> {
    const { rows } = await session.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${query}`)
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    const [, host, port] = /Node: host=(\S+) port=(\d+)/.exec(plan) ?? fail(`no node in this plan:\n${plan}`)
    return `${host}:${port}`
  }

  async #route(session: pg.Client, group: number, kind: 'read' | 'write'): Promise<string> {
    const { rows } = await session.query<{ at: string }>('select citus_standin.route($1, $2) as at', [
      group,
      kind,
    ])
    return rows[0]?.at ?? fail('no route')
  }
}

/** The error that a statement must end in. */
export async function refusal(statement: Promise<unknown>): Promise<pg.DatabaseError> {
  const outcome = await statement.then(
    () => new Error('it was let through'),
    (error: unknown) => error,
  )
  if (outcome instanceof pg.DatabaseError) return outcome
  throw outcome
}

function fail(why: string): never {
  throw new Error(why)
}
