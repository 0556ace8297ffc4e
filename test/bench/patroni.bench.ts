import { cpus, loadavg } from 'node:os'
import { afterAll, beforeAll, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { keysOf, shareOf, standin } from '../support/clients.ts'
import { client } from '../support/scenario.ts'
import { PatroniCitus, patroniVersion } from '../support/tools/patroni-citus.ts'
import { installed } from '../support/tools/process.ts'
import { SteadyWriter } from '../support/tools/writer.ts'
import { WatchProcess } from '../support/watch-process.ts'
import { percentile } from './samples.ts'

const REPETITIONS = Number(process.env.CITUS_HA_BENCH_REPEAT) || 4
const EVERY_MS = 4
const LIMIT = { limitMs: 60_000, everyMs: EVERY_MS }

const version = await patroniVersion()
const present = !standin && version !== null && (await installed('Patroni', ['etcd', 'etcdctl']))

let patroni: PatroniCitus
const server = (name: string): Server => patroni.scenario.cluster.server(name)
beforeAll(async () => {
  if (present) patroni = await PatroniCitus.start()
})
afterAll(async () => {
  await patroni?.stop()
})

/** Milliseconds after the promotion, each by a session of its own on that node; and what clients noticed. */
interface Seen {
  readonly coordinator: number
  readonly other: number
  readonly promoted: number
  readonly gapMs: number
  readonly failed: number
}

/** When the node's own copy names `primary` for group 1. */
async function rightAt(node: Server, primary: Server): Promise<number> {
  const session = await client(node, patroni.scenario.cluster.database)
  try {
    await waitUntil(
      `${node.name} is right`,
      async () => {
        const { rows } = await session.query(
          `SELECT FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary' AND nodename = '127.0.0.1' AND nodeport = $1`,
          [primary.port],
        )
        return rows.length === 1
      },
      LIMIT,
    )
    return performance.now()
  } finally {
    await session.end()
  }
}

async function promotedAt(standby: Server): Promise<number> {
  await waitUntil(`${standby.name} is promoted`, async () => !(await standby.isInRecovery()), LIMIT)
  return performance.now()
}

let next = 1000

async function switchover(from: Server, to: Server): Promise<Seen> {
  const { cluster } = patroni.scenario
  const keys = await keysOf(cluster, 1, next, next + 20_000)
  next += 20_001
  const writers = ['coordinator', 'worker-2'].map(
    (entry, n) => new SteadyWriter(server(entry), cluster.database, shareOf(keys, n, 2)),
  )
  const began = performance.now()
  await waitUntil('they write', () => writers.every((writer) => writer.since(began) > 20))
  const asked = performance.now()
  const [promoted, coordinator, other, own] = await Promise.all([
    promotedAt(to),
    rightAt(cluster.coordinator, to),
    rightAt(server('worker-2'), to),
    rightAt(to, to),
    patroni.switchover(from, to),
  ])
  const done = performance.now()
  await waitUntil('they go on', () => writers.every((writer) => writer.since(done) > 20), LIMIT)
  await Promise.all(writers.map((writer) => writer.stop()))
  await patroni.follows(from)
  return {
    coordinator: coordinator - promoted,
    other: other - promoted,
    promoted: own - promoted,
    gapMs: Math.max(...writers.map((writer) => writer.longestGapMs(asked))),
    failed: writers.reduce((sum, { failures }) => sum + failures, 0),
  }
}

function table(what: string, seen: readonly Seen[]): string {
  const keys = ['coordinator', 'other', 'promoted', 'gapMs', 'failed'] as const
  const cell = (key: (typeof keys)[number]) => {
    const values = seen.map((one) => one[key])
    return `${key} ${percentile(values, 50).toFixed(0)} (max ${Math.max(...values).toFixed(0)})`
  }
  return `${what.padEnd(20)} ${keys.map(cell).join('  ')}\n`
}

it.skipIf(!present)(
  'Patroni’s Citus mode, alone and with a watcher beside it',
  async () => {
    const { cluster } = patroni.scenario
    const config = await patroni.scenario.configFile({
      coordinators: [cluster.coordinator, ...cluster.coordinatorStandbys].map((one) => ({
        url: one.url(cluster.database, 'citus_ha'),
      })),
    })
    const pair: [Server, Server] = [server('worker-1'), server('worker-1-standby')]
    const alone: Seen[] = []
    const beside: Seen[] = []
    for (let n = 0; n < REPETITIONS; n++) {
      alone.push(await switchover(...pair))
      pair.reverse()
      const watch = WatchProcess.start(['--config', config, '--log-level', 'debug'])
      try {
        await watch.says('this instance leads')
        beside.push(await switchover(...pair))
        pair.reverse()
      } finally {
        await watch.stop()
        if (process.env.CITUS_HA_TOOL_LOGS)
          process.stdout.write(`${watch.lines.map((line) => JSON.stringify(line)).join('\n')}\n`)
      }
    }
    const load = loadavg()[0]?.toFixed(1)
    process.stdout.write(
      `\n${cluster.describe()}; Patroni ${version?.join('.')}; ${REPETITIONS} each; ${cpus().length} cores, load ${load}; ms after the promotion\n\n`,
    )
    process.stdout.write(table('alone', alone) + table('with citus-ha watch', beside))
    process.stdout.write(`${JSON.stringify({ alone, beside })}\n`)
  },
  600_000,
)
