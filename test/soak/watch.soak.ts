import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { leftPrepared } from '../support/crash.ts'
import { Valve } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'
import { type Gauge, WatchProcess } from '../support/watch-process.ts'
import { Faults } from './faults.ts'
import { Random } from './random.ts'
import { SoakWriter } from './writer.ts'

const MINUTES = Number(process.env.CITUS_HA_SOAK_MINUTES ?? 10)
const SEED = Number(process.env.CITUS_HA_SOAK_SEED ?? Date.now() % 1_000_000)
const DETECT = { interval: '300ms', timeout: '600ms', confirm: 8, cooldown: '0s', witnessFreshness: '700ms' }
/** A write that waits for a primary that stands still would be in the way for ever. */
const APPLY = { force: '3s' }
const UNCONFIRMED_MS = 1800
const MEGABYTE = 1 << 20

/** What may be more at the end than at the beginning. */
const MARGIN = { files: 3, resources: 5, heapUsed: 8 * MEGABYTE, rss: 40 * MEGABYTE }

const say = (line: string) => process.stdout.write(`${line}\n`)

describe(`faults for ${MINUTES} minutes, seed ${SEED}`, () => {
  let scenario: Scenario
  let faults: Faults
  const valves = new Map<Server, Valve>()
  const watchers: WatchProcess[] = []
  const ended: WatchProcess[] = []
  const writers: SoakWriter[] = []

  beforeAll(async () => {
    scenario = await Scenario.start()
    const { servers } = scenario.cluster
    // Whatever was acknowledged is on the standby: no promotion may lose it.
    await Promise.all(servers.map((server) => server.configure({ synchronous_standby_names: '*' })))
    for (const server of servers) valves.set(server, await Valve.open(server))
    const rules = [...valves].map(([server, { address }]) => [formatAddress(server), { connect: address }])
    const file = await scenario.configFile({
      detect: DETECT,
      apply: APPLY,
      addresses: Object.fromEntries(rules),
    })
    const startWatcher = async () => {
      const watcher = WatchProcess.startGauged([...scenario.options, '--config', file])
      ended.push(watcher)
      await watcher.says(/this instance leads|another instance leads/)
      return watcher
    }
    watchers.push(await startWatcher(), await startWatcher())
    const stage = { scenario, valves, watchers, startWatcher, unconfirmedMs: UNCONFIRMED_MS }
    faults = new Faults(stage, new Random(SEED))
  })
  afterAll(async () => {
    await Promise.all(writers.map((writer) => writer.stop()))
    await Promise.all(ended.map((watcher) => watcher.stop()))
    for (const valve of valves.values()) await valve.close()
    await scenario?.stop()
  })

  async function inject(name: string): Promise<void> {
    const began = performance.now()
    const from = watchers.map((watcher) => ({ watcher, line: watcher.lines.length }))
    const failed = (what: string) => (cause: unknown) => {
      for (const { watcher, line } of from)
        for (const each of watcher.lines.slice(line)) say(JSON.stringify(each))
      throw new Error(`${what} (seed ${SEED})`, { cause })
    }
    const what = await faults.kinds[name]?.().catch(failed(name))
    await faults.settled().catch(failed(`after: ${name}: ${what}`))
    say(`${name}: ${what}; right again, ${Math.round(performance.now() - began)} ms in all`)
  }

  async function quiet(): Promise<{ gauge: Gauge; sessions: number }> {
    await faults.settled()
    const [first] = watchers
    if (!first) throw new Error('no watcher')
    return { gauge: await first.gauge(), sessions: await sessionsOfOurs() }
  }

  /** On all servers together. */
  async function sessionsOfOurs(): Promise<number> {
    const sql = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'citus_ha'`
    const counts = await Promise.all(
      scenario.cluster.servers.map((server) => server.query<{ n: number }>(sql)),
    )
    return counts.flat().reduce((sum, { n }) => sum + n, 0)
  }

  it('ends with every copy right, nothing lost, and nothing grown', async () => {
    const { database } = scenario.cluster
    const entries = [() => faults.group(0).primary, () => faults.group(2).primary]
    writers.push(...entries.map((entry, n) => new SoakWriter(entry, database, 100_000 + n, entries.length)))
    const kinds = Object.keys(faults.kinds)
    // What is loaded and kept once is there before the first measurement.
    for (const name of ['primary killed, standby promoted', 'node cut off from us']) await inject(name)
    const before = await quiet()
    const until = performance.now() + MINUTES * 60_000
    const random = new Random(SEED + 1)
    let left: string[] = []
    let injected = 0
    for (; performance.now() < until; injected++) {
      if (left.length === 0) left = [...kinds]
      const name = random.pick(left)
      left = left.filter((each) => each !== name)
      await inject(name)
    }
    await Promise.all(writers.map((writer) => writer.stop()))

    const after = await waitUntil(
      'no more files and sessions than before',
      async () => {
        const now = await quiet()
        const enough =
          now.gauge.files <= before.gauge.files + MARGIN.files &&
          now.sessions <= before.sessions + MARGIN.files
        return enough && now
      },
      { limitMs: 90_000, everyMs: 1000 },
    ).catch(async () => await quiet())
    const acknowledged = writers.flatMap((writer) => writer.acknowledged)
    const failed = writers.reduce((sum, writer) => sum + writer.failed, 0)
    say(
      `${injected} faults, ${faults.failovers} promotions; ${acknowledged.length} rows acknowledged, ${failed} refused`,
    )
    say(`before ${JSON.stringify(before)}`)
    say(`after  ${JSON.stringify(after)}`)
    for (const line of tally(ended)) say(line)

    expect(await leftPrepared(scenario)).toEqual([])
    const rows = await faults.group(0).primary.query<{ id: number }>('SELECT id FROM items', [], { database })
    const there = new Set(rows.map(({ id }) => id))
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([])
    for (const [name, margin] of Object.entries(MARGIN))
      expect(after.gauge[name as keyof Gauge], name).toBeLessThanOrEqual(
        before.gauge[name as keyof Gauge] + margin,
      )
    expect(after.sessions).toBeLessThanOrEqual(before.sessions + MARGIN.files)
    expect(await primaryMoves()).toBe(faults.failovers)
    expect(ended.flatMap(({ lines }) => lines.filter(({ msg }) => msg.includes('unexpected:')))).toEqual([])
    expect(ended.flatMap(({ rest }) => rest)).toEqual([])
  })

  /** Changes on record that moved a primary. */
  async function primaryMoves(): Promise<number> {
    const sql = `SELECT count(*)::int AS n FROM citus_ha.change WHERE reason LIKE '%primary-moved%'`
    const { database } = scenario.cluster
    const [row] = await faults.group(0).primary.query<{ n: number }>(sql, [], { database })
    return row?.n ?? 0
  }
})

/** How often each loud line was told. */
function tally(watchers: readonly WatchProcess[]): string[] {
  const counts = new Map<string, number>()
  for (const { msg, level } of watchers.flatMap(({ lines }) => lines)) {
    const text = `${level >= 50 ? 'error' : 'warn'}: ${msg.replaceAll(/\d+/g, 'N')}`
    if (level >= 40) counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([text, count]) => `${count} × ${text}`)
}
