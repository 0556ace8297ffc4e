import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { expect } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import type { ChangeHooks } from '../../src/apply/hooks.ts'
import { run } from '../../src/cli/program.ts'
import { type Cluster, type ClusterSpec, startCluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'

/** What a command printed and how it ended. */
export interface Ran {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line in this process. */
export async function citusHa(
  args: readonly string[],
  hooks?: ChangeHooks,
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const out: string[] = []
  const err: string[] = []
  const exitCode = await run(args, {
    stdout: { write: (text) => out.push(text) },
    stderr: { write: (text) => err.push(text) },
    env: { PATH: process.env.PATH, HOME: '/nonexistent', LC_ALL: 'C.UTF-8', ...env },
    etc: '/nonexistent',
    signal: new AbortController().signal,
    ...(hooks && { hooks }),
  })
  return { exitCode, stdout: out.join(''), stderr: err.join('') }
}

const reportSchema = z.object({
  outcome: z.string(),
  exitCode: z.number(),
  epoch: z.number().nullable(),
  database: z.string(),
  changes: z.array(
    z.object({ group: z.number(), kind: z.string(), nodeid: z.number(), from: z.string(), to: z.string() }),
  ),
  copies: z.array(
    z.object({
      node: z.string(),
      role: z.string(),
      state: z.string(),
      convergedMs: z.number().nullable(),
      detail: z.string().nullable(),
    }),
  ),
  refusals: z.array(
    z.object({ group: z.number(), reason: z.string(), summary: z.string(), evidence: z.array(z.string()) }),
  ),
  warnings: z.array(z.string()),
  durationMs: z.number(),
})

export type ReportDocument = z.infer<typeof reportSchema>

/** As the row of a secondary that is down says it, whose reads go to this server: another name of it. */
export function lentTo({ host, port }: Server): string {
  return `::ffff:${host}:${port}`
}

/** One row of a copy, as text that reads well in a failed assertion. */
export type Rows = readonly string[]

const ROWS = `SELECT format('%s group %s %s %s:%s%s', nodeid, groupid, noderole, nodename, nodeport,
                     CASE WHEN isactive THEN '' ELSE ' inactive' END) AS row FROM pg_dist_node ORDER BY nodeid`

/** A cluster with the schema installed, and the product as its users run it: the role without rights, the CLI. */
export class Scenario {
  readonly cluster: Cluster
  /** Options that every command gets. */
  readonly options: string[]
  #files = 0

  private constructor(cluster: Cluster) {
    this.cluster = cluster
    const { coordinator, database, coordinatorStandbys } = cluster
    this.options = [coordinator, ...coordinatorStandbys].flatMap((server) => [
      '--coordinator',
      server.url(database, 'citus_ha'),
    ])
  }

  /** Starts a cluster, installs as a superuser, makes the table `items`, and keeps a snapshot for `restore`. */
  static async start(spec: ClusterSpec & { readonly install?: 'no' } = {}): Promise<Scenario> {
    const { install, ...wanted } = spec
    const settings = { 'citus.shard_count': '8', ...wanted.settings }
    const cluster = await startCluster({ ...wanted, settings })
    const scenario = new Scenario(cluster)
    try {
      if (install !== 'no') await scenario.install()
      await scenario.#makeTable()
      await scenario.settle()
      await cluster.snapshot()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return scenario
  }

  async #makeTable(): Promise<void> {
    const { coordinator, database, backend } = this.cluster
    if (backend.kind !== 'citus') return
    const run = (sql: string) => coordinator.query(sql, [], { database })
    await run('CREATE TABLE items (id int PRIMARY KEY, note text)')
    await run(`SELECT create_distributed_table('items', 'id')`)
    await run(`INSERT INTO items SELECT i, 'before' FROM generate_series(1, 200) i`)
  }

  async restore(): Promise<void> {
    await this.cluster.restore()
  }

  async stop(): Promise<void> {
    await this.cluster.stop()
  }

  /** Runs any command with the cluster's coordinators. */
  async run(...args: string[]): Promise<Ran> {
    const [command = '', ...rest] = args
    return await citusHa([command, ...this.options, ...rest])
  }

  /** The same, with hooks that a change calls at each point. */
  async runWith(hooks: ChangeHooks, ...args: string[]): Promise<Ran> {
    const [command = '', ...rest] = args
    return await citusHa([command, ...this.options, ...rest], hooks)
  }

  /** `citus-ha install` as a superuser. */
  async install(...args: string[]): Promise<Ran> {
    const { coordinator, coordinatorStandbys, database } = this.cluster
    const candidates = [coordinator, ...coordinatorStandbys].flatMap((server) => [
      '--coordinator',
      server.url(database),
    ])
    const ran = await citusHa(['install', ...candidates, ...args])
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    return ran
  }

  /** A configuration file in the cluster's directory, which goes when the cluster goes. */
  async configFile(config: object, mode = 0o644): Promise<string> {
    const file = join(this.cluster.directory, `citus-ha-${this.#files++}.yaml`)
    await writeFile(file, stringify(config), { mode })
    return file
  }

  /** Every standby has replayed its primary. */
  async settle(): Promise<void> {
    const { cluster } = this
    for (const standby of cluster.coordinatorStandbys)
      await cluster.waitForReplay(standby, cluster.coordinator)
    for (const worker of cluster.workers) {
      for (const standby of worker.standbys) await cluster.waitForReplay(standby, worker.primary)
    }
  }

  /** Runs `reconcile --json`; the document is held against its schema. */
  async reconcile(...args: string[]): Promise<ReportDocument> {
    return await this.reconcileWith([...this.options, ...args])
  }

  async reconcileWith(args: readonly string[]): Promise<ReportDocument> {
    const ran = await citusHa(['reconcile', '--json', ...args])
    expect(ran.stdout, ran.stderr).not.toBe('')
    const report = reportSchema.parse(JSON.parse(ran.stdout))
    expect(report.exitCode).toBe(ran.exitCode)
    return report
  }

  async rows(server: Server, database = this.cluster.database): Promise<Rows> {
    const rows = await server.query<{ row: string }>(ROWS, [], { database })
    return rows.map(({ row }) => row)
  }

  /** Copies by server name, of all servers that run. */
  async copies(): Promise<Record<string, Rows>> {
    const running = this.cluster.servers.filter((server) => server.isRunning)
    const rows = await Promise.all(running.map((server) => this.rows(server)))
    return Object.fromEntries(running.map((server, n) => [server.name, rows[n] ?? []]))
  }

  /** Waits until the standby's receiver streams again: after a rejoin, before anything is asserted of it. */
  async streams(standby: Server): Promise<void> {
    await waitUntil(`${standby.name} streams`, async () => {
      const [row] = await standby.query<{ status: string }>('SELECT status FROM pg_stat_wal_receiver')
      return row?.status === 'streaming'
    })
  }

  /** Everything in the coordinator's database that a change writes: to show that nothing was. */
  async footprint(): Promise<unknown> {
    const { coordinator, database } = this.cluster
    const [row] = await coordinator.query<{ footprint: unknown }>(
      `SELECT jsonb_build_object('rows', (SELECT jsonb_agg(n ORDER BY nodeid) FROM pg_dist_node n),
         'versions', (SELECT jsonb_agg(n.xmin::text ORDER BY nodeid) FROM pg_dist_node n),
         'changes', (SELECT count(*) FROM citus_ha.change), 'epoch', (SELECT jsonb_agg(e) FROM citus_ha.epoch e),
         'lineage', (SELECT jsonb_agg(to_jsonb(l) - 'positions' ORDER BY groupid) FROM citus_ha.lineage l),
         'prepared', (SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'citus\\_ha%')) AS footprint`,
      [],
      { database },
    )
    return row?.footprint
  }
}

/** A session as an application has it: many statements on one connection. */
export async function client(server: Server, database: string): Promise<pg.Client> {
  const connection = new pg.Client({ connectionString: server.url(database), statement_timeout: 10_000 })
  connection.on('error', () => undefined)
  await connection.connect()
  return connection
}
