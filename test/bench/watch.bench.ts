import { cpus, loadavg } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'
import { percentile } from './samples.ts'

const PROMOTIONS = Math.max(50, Number(process.env.CITUS_HA_BENCH_REPEAT) || 50)
const AIMS: Readonly<Record<string, readonly [p50: number, p99: number | null]>> = {
  noticed: [25, null],
  'every copy right': [75, 250],
}

let scenario: Scenario
let key = 0
beforeAll(async () => {
  scenario = await Scenario.start()
  key = await keyOfGroup(1)
})
afterAll(async () => {
  await scenario?.stop()
})

/** A key whose shard is in the group; 0 on the stand-in, which has no shards. */
async function keyOfGroup(group: number): Promise<number> {
  const { coordinator, database, backend } = scenario.cluster
  if (backend.kind !== 'citus') return 0
  const sql = `SELECT k FROM generate_series(1, 500) k JOIN pg_dist_placement p
      ON p.shardid = get_shard_id_for_distribution_column('items', k) WHERE p.groupid = $1 LIMIT 1`
  const [row] = await coordinator.query<{ k: number }>(sql, [group], { database })
  if (!row) throw new Error('no key')
  return row.k
}

/** This machine's clock in milliseconds, in the scale of `performance.now()`. */
const now = () => performance.timeOrigin + performance.now()

/** When a standby stops to be one, by its own clock, looked at every millisecond. */
async function promotionOf(standby: Server): Promise<{ at: Promise<number>; end(): Promise<void> }> {
  const session = await client(standby, scenario.cluster.database)
  await session.query(`SET statement_timeout = '60s'`)
  const wait = `DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.001); END LOOP;
    PERFORM set_config('bench.at', (extract(epoch FROM clock_timestamp()) * 1000)::text, false); END $$`
  const at = session
    .query(wait)
    .then(() => session.query<{ at: string }>(`SELECT current_setting('bench.at') AS at`))
    .then(({ rows }) => Number(rows[0]?.at))
  return { at, end: async () => await session.end() }
}

/** Writes to the group again and again through one entry node, from the death on. @returns when one first succeeded */
async function firstWrite(session: pg.Client, died: Promise<unknown>): Promise<number> {
  await died
  for (;;) {
    const done = await session
      .query('UPDATE items SET note = $2 WHERE id = $1', [key, 'bench'])
      .then(() => true)
      .catch(() => false)
    if (done) return now()
    // Without it the failing statements would take the processors from what is measured.
    await pause(2)
  }
}

/** A pulse tells of it; or, where that one had just ended with the old primary, the survey that was under way. */
function isNotice(event: WatchEvent): boolean {
  if (event.kind === 'noticed') return event.what === 'promoted'
  return event.kind === 'diagnosed' && event.code === 'promoted'
}

type Stages = Record<string, number[]>

async function once(watching: Watching, primary: Server, standby: Server, stages: Stages): Promise<void> {
  const { cluster } = scenario
  const seen = watching.events.length
  const changes = watching.changes.length
  const promotion = await promotionOf(standby)
  const entries = key === 0 ? [] : ['coordinator', 'worker-2']
  const sessions = await Promise.all(entries.map((name) => client(cluster.server(name), cluster.database)))
  const dead = primary.kill()
  const writes = sessions.map((session) => firstWrite(session, dead))
  await dead
  await standby.promote()
  const at = await promotion.at
  await watching.changed(changes + 1)
  const put = (stage: string, ms: number) => {
    stages[stage] = [...(stages[stage] ?? []), ms - at]
  }
  const report = watching.changes.at(-1)
  const decided = watching.decisions.at(-1) ?? Number.NaN
  const copies = report?.copies.map(({ convergedMs }) => convergedMs ?? Number.NaN) ?? []
  put('noticed', watching.timeOf(seen, isNotice))
  put('decided', decided)
  put('every copy right', decided + Math.max(...copies))
  for (const [n, write] of writes.entries()) put(`first write through ${entries[n]}`, await write)
  await Promise.all([promotion.end(), ...sessions.map((session) => session.end())])
  await cluster.rejoin(primary, standby)
  await scenario.streams(primary)
  await waitUntil('it is quiet', () => {
    const { groups, pulses } = watching.state
    return groups.every(({ code }) => code === 'healthy') && pulses.every(({ state }) => state === 'up')
  })
}

it('from a promotion to each stage', async () => {
  const watching = await Watching.start(scenario, { detect: { cooldown: '0s' } })
  const stages: Stages = {}
  let [primary, standby] = [scenario.cluster.server('worker-1'), scenario.cluster.server('worker-1-standby')]
  try {
    for (let n = 0; n < PROMOTIONS; n++) {
      await once(watching, primary, standby, stages)
      ;[primary, standby] = [standby, primary]
    }
  } finally {
    await watching.stop()
  }
  const rows = Object.entries(stages).map(([stage, samples]) => {
    const [p50, p99] = [percentile(samples, 50), percentile(samples, 99)]
    const aim = AIMS[stage]
    const met = aim && p50 < aim[0] && (aim[1] === null || p99 < aim[1])
    const verdict = aim
      ? `p50 < ${aim[0]}${aim[1] === null ? '' : `, p99 < ${aim[1]}`}: ${met ? 'met' : 'MISSED'}`
      : ''
    const of = (ms: number) => ms.toFixed(1)
    return {
      stage,
      p50: of(p50),
      p99: of(p99),
      min: of(Math.min(...samples)),
      n: samples.length,
      aim: verdict,
    }
  })
  process.stdout.write(
    `\n${scenario.cluster.describe()}; ms from the promotion; ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}\n`,
  )
  console.table(rows)
})
