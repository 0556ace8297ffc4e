import { cpus, loadavg } from 'node:os'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requestOf, withCluster } from '../../src/cli/cluster.ts'
import type { Io } from '../../src/cli/io.ts'
import { type Cluster, startCluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { walk } from '../../src/walk/walk.ts'
import { daemonRuns, standin } from '../support/clients.ts'
import { citusHa } from '../support/scenario.ts'
import { type Message, recording, type Window, windowOf } from './messages.ts'
import { type Line, median, table } from './samples.ts'

/** Copies that a change writes: the coordinator's, the promoted worker's, and the other metadata workers'. */
const SIZES = [32, 16, 8, 3]
const REPETITIONS = Math.max(7, Number(process.env.CITUS_HA_BENCH_REPEAT) || 7)
const LIMIT_MS = 900_000
/** Many servers on one machine. */
const SMALL = { shared_buffers: '2MB', 'citus.shard_count': '8' }

let cluster: Cluster
let pair: [primary: Server, standby: Server]

const on = (sql: string) => cluster.coordinator.query(sql, [], { database: cluster.database })

beforeAll(async () => {
  if (standin) return
  const others = Array.from({ length: Math.max(...SIZES) - 2 }, () => ({}))
  const workers = [{ standbys: [{}] }, ...others]
  cluster = await startCluster({ workers, coordinatorStandbys: [], settings: SMALL })
  pair = [cluster.server('worker-1'), cluster.server('worker-1-standby')]
  const installed = await citusHa(['install', '--coordinator', cluster.coordinator.url(cluster.database)])
  expect(installed, installed.stderr).toMatchObject({ exitCode: 0 })
  // Shards on the first two alone: the others are removed one by one.
  for (const { primary } of cluster.workers.slice(2)) {
    await on(`SELECT citus_set_node_property('${primary.host}', ${primary.port}, 'shouldhaveshards', false)`)
  }
  await on('CREATE TABLE items (id int PRIMARY KEY)')
  await on(`SELECT create_distributed_table('items', 'id')`)
}, LIMIT_MS)
afterAll(async () => {
  await cluster?.stop()
})

async function shrinkTo(copies: number): Promise<void> {
  for (const { primary } of cluster.workers.slice(copies - 1)) {
    if (!primary.isRunning) continue
    await on(`SELECT citus_remove_node('${primary.host}', ${primary.port})`)
    await primary.stop()
  }
}

/** Worker 1 fails over, a reconcile follows in this process, and the old primary comes back as a standby. */
async function failOver(copies: number): Promise<Window> {
  const [primary, standby] = pair
  await daemonRuns(cluster.coordinator, cluster.database)
  const silent = { write: () => true }
  const io: Io = { stdout: silent, stderr: silent, env: {}, signal: new AbortController().signal }
  const url = cluster.coordinator.url(cluster.database, 'citus_ha')
  const log: Message[] = []
  await withCluster({ coordinator: [url] }, io, async (session) => {
    // Warm: the survey's connections are open.
    await walk(session.access, requestOf(session, io))
    await primary.kill()
    await standby.promote()
    const report = await walk(recording(session.access, log), requestOf(session, io))
    expect(report.outcome, JSON.stringify(report)).toBe('changed')
    const written = report.copies.filter(({ role }) => !role.includes('standby'))
    expect(written.map(({ state }) => state)).toEqual(Array.from({ length: copies }, () => 'right'))
  })
  await cluster.rejoin(primary, standby)
  pair = [standby, primary]
  return windowOf(log)
}

it.skipIf(standin)(
  'the window in which writers wait, by the number of copies',
  async () => {
    const windows = new Map<number, Window[]>()
    for (const copies of SIZES) {
      await shrinkTo(copies)
      const measured: Window[] = []
      for (let n = 0; n < REPETITIONS; n++) measured.push(await failOver(copies))
      windows.set(copies, measured)
    }
    const lines = [...windows].flatMap(([copies, measured]): Line[] => [
      { what: `${copies} copies: locked`, samples: measured.map(({ ms }) => ms) },
      { what: `${copies} copies: a copy`, samples: measured.map(({ ms }) => ms / copies) },
    ])
    const trips = [...windows].map(([copies, measured]) => {
      const all = [...new Set(measured.map(({ roundTrips }) => roundTrips))]
      const messages = [...new Set(measured.map((window) => window.messages))]
      return `${copies} copies: ${all.join(' or ')} round trips under the locks, ${messages.join(' or ')} messages\n`
    })
    const [large, small] = [SIZES[0], SIZES.at(-1)].map((size) => ({
      size: size ?? 0,
      ms: median((windows.get(size ?? 0) ?? []).map(({ ms }) => ms)),
    }))
    if (!large || !small) throw new Error('two sizes at least')
    const each = (large.ms - small.ms) / (large.size - small.size)
    const title = `${cluster.describe()}; Node ${process.version}; loopback; ${cpus().length} cores for all servers, load ${loadavg()[0]?.toFixed(1)}`
    process.stdout.write(
      `\n${title}\n\n${table(lines)}${trips.join('')}one more copy: ${each.toFixed(2)} ms\n`,
    )
    const counts = new Set([...windows.values()].flat().map(({ roundTrips }) => roundTrips))
    expect(counts, 'round trips under the locks do not grow with the copies').toEqual(new Set([5]))
  },
  LIMIT_MS,
)
