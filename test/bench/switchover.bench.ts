import { cpus, loadavg } from 'node:os'
import { afterAll, beforeAll, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { insert, keysOf, shareOf, standin, Writer } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'
import { percentile, type Samples } from './samples.ts'

const REPETITIONS = Math.max(20, Number(process.env.CITUS_HA_BENCH_REPEAT) || 20)
const AIM_PAUSE_MS = 300
const AIM_OWN_MS = 40

let scenario: Scenario
const server = (name: string): Server => scenario.cluster.server(name)
beforeAll(async () => {
  scenario = await Scenario.start()
  await scenario.install('--switchover')
  await scenario.settle()
  await scenario.cluster.snapshot()
})
afterAll(async () => {
  await scenario?.stop()
})

interface Ran {
  /** As the report says; null where there is none. */
  readonly pauseMs: number | null
  readonly ownMs: number | null
  /** The longest that a write took, of all clients, failed ones included. */
  readonly gapMs: number
  readonly failed: number
  readonly timings: Readonly<Record<string, number>>
}

/** Clients that write through the coordinator and through worker 2 while something is done. */
async function beside(work: () => Promise<Pick<Ran, 'pauseMs' | 'ownMs' | 'timings'>>): Promise<Ran> {
  await scenario.restore()
  const keys = await keysOf(scenario.cluster, 1, 1000, 100_000)
  const entries = ['coordinator', 'worker-2'].map(server)
  const writers = entries.map(
    (entry, n) =>
      new Writer(entry, scenario.cluster.database, shareOf(keys, n, entries.length), insert, 'one'),
  )
  const counts = () => writers.map(({ acknowledged }) => acknowledged.length)
  await waitUntil('they write', () => counts().every((count) => count > 50))
  for (const writer of writers) writer.longestMs = 0
  const done = await work()
  const then = counts()
  await waitUntil('they go on', () => counts().every((count, n) => count > (then[n] ?? 0) + 20))
  await Promise.all(writers.map((writer) => writer.stop()))
  const gapMs = Math.max(...writers.map(({ longestMs }) => longestMs))
  return { ...done, gapMs, failed: writers.reduce((sum, { failures }) => sum + failures.length, 0) }
}

async function fenced() {
  const ran = await scenario.run('switchover', '--group', '1', '--yes', '--json')
  if (ran.exitCode !== 0) throw new Error(ran.stdout + ran.stderr)
  const { pauseMs, othersMs, timings } = JSON.parse(ran.stdout)
  return { pauseMs, ownMs: pauseMs - othersMs, timings }
}

async function unfenced() {
  await server('worker-1').stop('fast')
  await server('worker-1-standby').promote()
  const report = await scenario.reconcile('--group', '1')
  if (report.exitCode !== 0) throw new Error(JSON.stringify(report))
  return { pauseMs: null, ownMs: null, timings: {} }
}

function line(what: string, samples: Samples, aim?: number): string {
  const p50 = percentile(samples, 50)
  const verdict = aim === undefined ? '' : `  aim < ${aim}: ${p50 < aim ? 'met' : 'MISSED'}`
  return `${what.padEnd(44)} p50 ${p50.toFixed(1).padStart(8)}  max ${Math.max(...samples)
    .toFixed(1)
    .padStart(8)}${verdict}\n`
}

const known = (values: readonly (number | null)[]): number[] => values.filter((value) => value !== null)

it('a switchover, beside the same without the fence', async ({ skip }) => {
  if (standin) return skip('only Citus runs a distributed query')
  const [ours, theirs]: [Ran[], Ran[]] = [[], []]
  for (let n = 0; n < REPETITIONS; n++) {
    ours.push(await beside(fenced))
    theirs.push(await beside(unfenced))
  }
  const load = loadavg()[0]?.toFixed(1)
  process.stdout.write(
    `\n${scenario.cluster.describe()}; ${REPETITIONS} each; 2 writers; Node ${process.version}; loopback; ${cpus().length} cores, load ${load}\n\n`,
  )
  process.stdout.write(line('switchover: pause, ms', known(ours.map(({ pauseMs }) => pauseMs)), AIM_PAUSE_MS))
  process.stdout.write(
    line('  of it citus-ha’s own share', known(ours.map(({ ownMs }) => ownMs)), AIM_OWN_MS),
  )
  process.stdout.write(
    line(
      '  longest write',
      ours.map(({ gapMs }) => gapMs),
    ),
  )
  process.stdout.write(
    line(
      '  failed statements',
      ours.map(({ failed }) => failed),
    ),
  )
  for (const step of Object.keys(ours[0]?.timings ?? {}))
    process.stdout.write(
      line(
        `    ${step}`,
        ours.map(({ timings }) => timings[step] ?? 0),
      ),
    )
  process.stdout.write(
    line(
      'stop, promote, reconcile: longest write',
      theirs.map(({ gapMs }) => gapMs),
    ),
  )
  process.stdout.write(
    line(
      '  failed statements',
      theirs.map(({ failed }) => failed),
    ),
  )
})
