import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, standin, type Write, Writer } from '../support/clients.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'

/** What a machine with two busy processors may add to a limit, in milliseconds. */
const SLACK_MS = 700
const LOCK_TIMEOUT_MS = 200
/** How long each transaction goes on once it is in the way: less than the limit for one lock. */
const HELD_MS = 120
const HELD = 12

interface Shard extends Record<string, unknown> {
  readonly shard: number
  readonly ids: number[]
}

describe.skipIf(standin)('many locks that come one by one, each just in time', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
    const { coordinator, database } = scenario.cluster
    const run = (sql: string) => coordinator.query(sql, [], { database })
    await run('CREATE TABLE wide (id int PRIMARY KEY)')
    await run(`SELECT create_distributed_table('wide', 'id', shard_count := 32)`)
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** The shards of group 1, in the order in which they are locked, with some ids of each. */
  async function shards(): Promise<Shard[]> {
    const { coordinator, database } = scenario.cluster
    const sql = `SELECT p.shardid::int AS shard, array_agg(i) AS ids FROM generate_series(1, 100000) i
      JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('wide', i)
     WHERE p.groupid = 1 GROUP BY p.shardid ORDER BY p.shardid`
    return await coordinator.query<Shard>(sql, [], { database })
  }

  /** Commits when a change has waited for this session for a while. */
  async function letGo(session: pg.Client): Promise<void> {
    const { rows } = await session.query('SELECT pg_backend_pid() AS pid')
    await waitUntil(
      'a change waits for this session',
      async () => {
        const sql = `SELECT FROM pg_stat_activity a
        WHERE a.application_name = 'citus-ha' AND ${rows[0].pid} = ANY (pg_blocking_pids(a.pid))`
        return (await server('coordinator').query(sql)).length > 0
      },
      { limitMs: 70_000 },
    )
    await pause(HELD_MS)
    await session.query('COMMIT')
    await session.end()
  }

  it('do not keep a writer waiting for longer than one lock may take', { timeout: 180_000 }, async () => {
    const { coordinator, database } = scenario.cluster
    const all = await shards()
    const [first, ...later] = all
    if (!first) throw new Error('no shard of wide in group 1')
    const insert: Write = async (session, id) => {
      await session.query('INSERT INTO wide VALUES ($1)', [id])
    }
    const held = await Promise.all(
      later
        .slice(0, HELD)
        .map(({ ids }) => openTransaction(coordinator, database, `INSERT INTO wide VALUES (${ids[0]})`)),
    )
    const writer = new Writer(coordinator, database, first.ids, insert, 'one')
    const lettingGo = (async () => {
      for (const session of held) await letGo(session)
    })()
    await server('worker-1-standby').promote()
    const promoted = formatAddress(server('worker-1-standby'))
    const ran = await scenario.run('reconcile', '--group', '1', '--promoted', promoted, '--timeout', '60s')
    await lettingGo
    await writer.stop()
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    expect(held.length * HELD_MS).toBeGreaterThan(1.5 * (LOCK_TIMEOUT_MS + SLACK_MS))
    expect(writer.longestMs).toBeLessThan(LOCK_TIMEOUT_MS + SLACK_MS)
    await expectRight(
      scenario,
      ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
      truthOf(scenario, 'coordinator'),
    )
  })
})
