import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { daemonRuns, standin, timed } from '../support/clients.ts'
import { leftPrepared } from '../support/crash.ts'
import { client, Scenario } from '../support/scenario.ts'

/** Changes in a row beside each of Citus's own operations: back and forth between a primary and its standby. */
const ROUNDS = 2

describe.skipIf(standin)('a change beside what Citus does itself', () => {
  let scenario: Scenario
  let loops: Loop[] = []
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, { standbys: [{}] }, {}],
      settings: { 'citus.metadata_sync_retry_interval': '200ms', 'citus.metadata_sync_interval': '300ms' },
    })
  })
  beforeEach(async () => {
    await scenario.restore()
    await daemonRuns(server('coordinator'), scenario.cluster.database)
  })
  afterEach(async () => {
    await Promise.all(loops.map((each) => each.stop()))
    loops = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  interface Loop {
    /** How often it went well. */
    readonly done: number
    readonly errors: readonly string[]
    stop(): Promise<void>
  }

  /** Does something on the coordinator again and again, and keeps what went wrong. */
  function loop(
    turn: (query: (sql: string) => Promise<Record<string, unknown>[]>, n: number) => Promise<void>,
  ): Loop {
    const abort = new AbortController()
    const state = { done: 0, errors: [] as string[] }
    const running = (async () => {
      const session = await client(server('coordinator'), scenario.cluster.database)
      const query = async (sql: string) => (await session.query(sql)).rows
      for (let n = 0; !abort.signal.aborted; n++) {
        try {
          await turn(query, n)
          state.done++
        } catch (error) {
          state.errors.push(error instanceof Error ? error.message : String(error))
        }
      }
      await session.end()
    })()
    const result = {
      get done() {
        return state.done
      },
      get errors() {
        return state.errors
      },
      stop: async () => {
        abort.abort()
        await running
      },
    }
    loops.push(result)
    return result
  }

  /** Promotions of worker 1's standby and back, a reconcile after each. @returns the longest, in milliseconds */
  async function changes(): Promise<number> {
    let [primary, standby] = [server('worker-1'), server('worker-1-standby')]
    let longest = 0
    for (let round = 0; round < ROUNDS; round++) {
      await primary.kill()
      await standby.promote()
      const { value: report, ms } = await timed(() => scenario.reconcile('--timeout', '6s'))
      // 5: a copy that Citus went on changing is not what was planned; `expectCalm` is the judge of it.
      expect([0, 5], JSON.stringify([report.refusals, report.warnings])).toContain(report.exitCode)
      expect(report.epoch).not.toBeNull()
      longest = Math.max(longest, ms)
      await scenario.cluster.rejoin(primary, standby)
      ;[primary, standby] = [standby, primary]
    }
    const [row] = await scenario.cluster.coordinator.query<{ nodeport: number }>(
      `SELECT nodeport FROM pg_dist_node WHERE nodeid = 2`,
      [],
      { database: scenario.cluster.database },
    )
    expect(row).toEqual({ nodeport: primary.port })
    return longest
  }

  /** All copies the same, all flags set, nothing prepared by us, and no lock that nobody gives back. */
  async function expectCalm(): Promise<void> {
    const { coordinator, database } = scenario.cluster
    await waitUntil('Citus has nothing left to sync', async () => {
      const sql = `SELECT FROM pg_dist_node WHERE hasmetadata AND NOT metadatasynced`
      return (await coordinator.query(sql, [], { database })).length === 0
    })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    expect(await leftPrepared(scenario)).toEqual([])
    await scenario.settle()
    const [first, ...rest] = Object.entries(await scenario.copies())
    for (const [name, rows] of rest) expect(rows, name).toEqual(first?.[1])
    const write = `UPDATE items SET note = 'after' WHERE id <= 200`
    await coordinator.withClient(async (session) => {
      await session.query('SET lock_timeout = 2000')
      expect((await session.query(write)).rowCount).toBe(200)
    })
  }

  /** Errors that another session's work may cause in Citus's own; a deadlock is none of them. */
  const expectNoDeadlock = (each: Loop) =>
    expect(each.errors.filter((error) => /deadlock/i.test(error))).toEqual([])

  it('citus_update_node on another group', async () => {
    const { host, port } = server('worker-2-standby')
    const { coordinator, database } = scenario.cluster
    const sql = 'SELECT nodeid FROM pg_dist_node WHERE nodeport = $1'
    const [row] = await coordinator.query<{ nodeid: number }>(sql, [port], { database })
    const moves = loop(async (query, n) => {
      await query(`SELECT citus_update_node(${row?.nodeid}, '${n % 2 === 0 ? 'localhost' : host}', ${port})`)
    })
    await changes()
    await moves.stop()
    expect(moves.done).toBeGreaterThan(ROUNDS)
    expectNoDeadlock(moves)
    await expectCalm()
  })

  it('citus_add_node and citus_remove_node', async () => {
    const { database } = scenario.cluster
    const added = server('worker-3')
    await server('coordinator')
      .query(`SELECT rebalance_table_shards()`, [], { database })
      .catch(() => undefined)
    const drain = `SELECT citus_drain_node('${added.host}', ${added.port}, shard_transfer_mode := 'block_writes')`
    await server('coordinator').query(drain, [], { database })
    const adds = loop(async (query) => {
      await query(`SELECT citus_remove_node('${added.host}', ${added.port})`)
      await query(`SELECT citus_add_node('${added.host}', ${added.port})`)
    })
    await changes()
    await adds.stop()
    expect(adds.done).toBeGreaterThan(0)
    expectNoDeadlock(adds)
    const known = await server('coordinator').query(
      `SELECT FROM pg_dist_node WHERE nodeport = ${added.port}`,
      [],
      { database },
    )
    if (known.length === 0) {
      await server('coordinator').query(`SELECT citus_add_node('${added.host}', ${added.port})`, [], {
        database,
      })
    }
    await expectCalm()
  })

  it('a shard move', async () => {
    const moves = loop(async (query) => {
      const [shard] = await query(`SELECT p.shardid, f.nodename AS "from", f.nodeport AS "fromPort",
          t.nodename AS "to", t.nodeport AS "toPort"
        FROM pg_dist_placement p
        JOIN pg_dist_shard s USING (shardid)
        JOIN pg_dist_node f ON f.groupid = p.groupid AND f.noderole = 'primary'
        JOIN pg_dist_node t ON t.groupid = 5 - p.groupid AND t.noderole = 'primary'
       WHERE s.logicalrelid = 'items'::regclass AND p.groupid IN (2, 3) ORDER BY random() LIMIT 1`)
      if (!shard) throw new Error('no shard to move')
      const { shardid, from, fromPort, to, toPort } = shard
      await query(`SELECT citus_move_shard_placement(${shardid}, '${from}', ${fromPort}, '${to}', ${toPort},
        shard_transfer_mode := 'force_logical')`)
    })
    await changes()
    await waitUntil('a move came through', () => moves.done > 0)
    await moves.stop()
    expectNoDeadlock(moves)
    await expectCalm()
  })

  it('create_distributed_table', async () => {
    const tables = loop(async (query, n) => {
      await query(`CREATE TABLE IF NOT EXISTS made_${n} (id int PRIMARY KEY)`)
      await query(`SELECT create_distributed_table('made_${n}', 'id', shard_count := 4)`)
    })
    await changes()
    await waitUntil('a table came through', () => tables.done > 0)
    await tables.stop()
    expectNoDeadlock(tables)
    await expectCalm()
  })

  it('Citus’s metadata sync, asked for again and again', async () => {
    const { host, port } = server('worker-2')
    const syncs = loop(async (query) => {
      await query(`UPDATE pg_dist_node SET metadatasynced = false WHERE nodeid = 3`)
      await query(`SELECT start_metadata_sync_to_node('${host}', ${port})`)
    })
    await changes()
    await syncs.stop()
    expect(syncs.done).toBeGreaterThan(ROUNDS)
    expectNoDeadlock(syncs)
    await expectCalm()
  })

  it('one of three workers hung: the others are right, and it is when it goes on', async () => {
    const hung = server('worker-3')
    const healthy = ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
    hung.freeze()
    try {
      // Its old primary goes on running, as in `old-primary.test.ts`.
      await server('worker-1-standby').promote()
      const promoted = `127.0.0.1:${server('worker-1-standby').port}`
      const { value: report, ms } = await timed(() =>
        scenario.reconcile('--promoted', promoted, '--group', '1', '--timeout', '6s'),
      )
      expect(report).toMatchObject({ exitCode: 5, epoch: 1 })
      expect(ms).toBeLessThan(6000 + 2000 + 1500)
      const wrong = report.copies.filter(({ state }) => state !== 'right' && state !== 'does not follow')
      expect(wrong).toMatchObject([{ node: `127.0.0.1:${hung.port}`, state: 'unreachable' }])
      const [first, ...rest] = await Promise.all(healthy.map((each) => scenario.rows(each)))
      expect(first?.[1]).toContain(promoted)
      for (const rows of rest) expect(rows).toEqual(first)
    } finally {
      hung.thaw()
    }
    const truth = await scenario.rows(server('coordinator'))
    await waitUntil('the hung copy is right by itself', async () => {
      return JSON.stringify(await scenario.rows(hung)) === JSON.stringify(truth)
    })
    expect(await leftPrepared(scenario)).toEqual([])
  })
})
