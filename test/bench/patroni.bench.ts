import { cpus, loadavg } from 'node:os'
import { afterAll, beforeAll, describe, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { keysOf, shareOf, standin } from '../support/clients.ts'
import { client } from '../support/scenario.ts'
import { PatroniCitus, type PatroniMode, patroniVersion } from '../support/tools/patroni-citus.ts'
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
  try {
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
    await patroni.follows(from)
    return {
      coordinator: coordinator - promoted,
      other: other - promoted,
      promoted: own - promoted,
      gapMs: Math.max(...writers.map((writer) => writer.longestGapMs(asked))),
      failed: writers.reduce((sum, { failures }) => sum + failures, 0),
    }
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()))
  }
}

const COLUMNS: Readonly<Record<string, (seen: Seen) => number>> = {
  'coordinator, ms': ({ coordinator }) => coordinator,
  'other copy after it, ms': ({ coordinator, other }) => other - coordinator,
  'promoted node’s own after it, ms': ({ coordinator, promoted }) => promoted - coordinator,
  'longest gap, ms': ({ gapMs }) => gapMs,
  'failed statements': ({ failed }) => failed,
}

/** One line a column: median and worst. */
function table(arm: string, seen: readonly Seen[]): string {
  const lines = Object.entries(COLUMNS).map(([column, of]) => {
    const values = seen.map(of)
    const [p50, max] = [percentile(values, 50), Math.max(...values)].map((value) =>
      value.toFixed(0).padStart(7),
    )
    return `  ${column.padEnd(36)} p50 ${p50}  max ${max}\n`
  })
  return `${arm}: milliseconds after the promotion\n${lines.join('')}`
}

/** Switches over while a watcher with these settings runs. */
async function beside(apply: object, pair: readonly [Server, Server]): Promise<Seen> {
  const { cluster } = patroni.scenario
  const config = await patroni.scenario.configFile({
    coordinators: [cluster.coordinator, ...cluster.coordinatorStandbys].map((one) => ({
      url: one.url(cluster.database, 'citus_ha'),
    })),
    apply,
  })
  const watch = WatchProcess.start(['--config', config, '--log-level', 'debug'])
  try {
    await watch.says('this instance leads')
    return await switchover(...pair)
  } finally {
    await watch.stop()
    if (process.env.CITUS_HA_BENCH_LOG)
      process.stdout.write(watch.lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }
}

type Arm = (pair: readonly [Server, Server]) => Promise<Seen>

const MODES: readonly { readonly mode: PatroniMode; readonly arms: Readonly<Record<string, Arm>> }[] = [
  {
    mode: 'with its Citus mode',
    arms: {
      alone: (pair) => switchover(...pair),
      'citus-ha watch beside it': (pair) => beside({}, pair),
      'the same, apply.force: 0s': (pair) => beside({ force: '0s' }, pair),
    },
  },
  { mode: 'without its Citus mode', arms: { 'citus-ha watch instead of it': (pair) => beside({}, pair) } },
]

describe.skipIf(!present).each(MODES)('a switchover by Patroni $mode', ({ mode, arms }) => {
  beforeAll(async () => {
    patroni = await PatroniCitus.start(mode)
  })
  afterAll(async () => {
    await patroni?.stop()
  })

  it('under inserts through two nodes', async () => {
    const pair: [Server, Server] = [server('worker-1'), server('worker-1-standby')]
    const seen = new Map<string, Seen[]>(Object.keys(arms).map((arm) => [arm, []]))
    for (let n = 0; n < REPETITIONS; n++)
      for (const [arm, run] of Object.entries(arms)) {
        seen.get(arm)?.push(await run(pair))
        pair.reverse()
      }
    const load = loadavg()[0]?.toFixed(1)
    const { cluster } = patroni.scenario
    process.stdout.write(
      `\n${cluster.describe()}; Patroni ${version?.join('.')} ${mode}; ${REPETITIONS} each; ${cpus().length} cores, load ${load}\n\n`,
    )
    for (const [arm, all] of seen) process.stdout.write(table(arm, all))
  })
})
