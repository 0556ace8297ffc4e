import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import type { HostPort } from '../../src/model/node.ts'
import type { Answered } from '../../src/model/observation.ts'
import { TooLate } from '../../src/switchover/patience.ts'
import { Side } from '../../src/switchover/side.ts'
import { loadCluster } from '../../src/walk/cluster.ts'
import { Connections } from '../../src/walk/connections.ts'
import { keysOf, openTransaction, standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

const LOCK_MS = 300
/** Its rows keep a slowed autovacuum busy for longer than any test takes. */
const ROWS = 6000

describe.skipIf(standin)('who is in the way of the shards of an old primary', () => {
  let switching: Switching
  let connections: Connections

  beforeAll(async () => {
    switching = await Switching.start()
    const coordinators = switching.scenario.options.filter((option) => option.startsWith('postgres'))
    connections = new Connections((await loadCluster({ env: {}, coordinators })).config, {})
  })
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await connections?.close()
    await switching?.scenario.stop()
  })

  describe('an autovacuum', () => {
    const vacuuming = `SELECT pid FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%public.items%'`

    async function vacuum(): Promise<void> {
      const { coordinator, database } = switching.scenario.cluster
      const old = switching.server('worker-1')
      await old.configure({ autovacuum_naptime: '1s' })
      // Of these tables alone: the catalog's would be slow, too, and come first.
      const slow = 'autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1'
      const soon = 'autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0'
      const shards = await old.query<{ name: string }>(
        'SELECT own_shards::text AS name FROM citus_ha.own_shards()',
        [],
        {
          database,
        },
      )
      for (const { name } of shards)
        await old.query(`ALTER TABLE ${name} SET (${slow}, ${soon})`, [], { database })
      const rows = `INSERT INTO items SELECT i, repeat('x', 500) FROM generate_series(1000, ${1000 + ROWS}) i`
      await coordinator.query(rows, [], { database })
      await coordinator.query('DELETE FROM items WHERE id >= 1000', [], { database })
      await switching.scenario.settle()
      await waitUntil('it runs', async () => (await old.query(vacuuming)).length > 0)
    }

    it('gives way to a switchover', async () => {
      await vacuum()
      await switching.switched('--group', '1')
      await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'] })
    })

    it('gives way to a failover while the old primary lives', async () => {
      await vacuum()
      await switching.server('worker-1-standby').promote()
      const promoted = switching.at('worker-1-standby')
      const report = await switching.scenario.reconcile('--promoted', promoted, '--timeout', '5s')
      expect(report, JSON.stringify(report)).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(report.durationMs).toBeLessThan(3000)
    })
  })

  describe('a client of its own', () => {
    /** Takes no lock that the fence would wait for. */
    async function holding(): Promise<pg.Client> {
      const { cluster } = switching.scenario
      const [id] = await keysOf(cluster, 1, 1, 200)
      const sql = `SELECT FROM items WHERE id = ${id} FOR UPDATE`
      return switching.keep(await openTransaction(switching.server('worker-1'), cluster.database, sql))
    }

    async function withSide(work: (side: Side) => Promise<void>): Promise<void> {
      const { database } = switching.scenario.cluster
      const seen = async (name: string) => {
        const { host, port } = switching.server(name)
        return (await connections.prober(database).probe({ host, port })) as Answered
      }
      const from = await seen('worker-1')
      const side = await Side.open({
        move: { group: 1, from, to: await seen('worker-1-standby') },
        databases: [database],
        open: (address: HostPort, name: string) => connections.open(address, name),
        texts: 'shown',
        lockTimeoutMs: LOCK_MS,
        idleMs: 30_000,
      })
      try {
        await work(side)
      } finally {
        await side.undo()
        await side.end()
      }
    }

    const pidOf = async (session: pg.Client): Promise<number> =>
      (await session.query('SELECT pg_backend_pid() AS pid')).rows[0].pid

    it('that holds rows is named by a switchover that comes to nothing', async () => {
      const client = await holding()
      const pid = await pidOf(client)
      const { exitCode, report } = await switching.switchover('--group', '1', '--total-limit', '2s')
      expect(exitCode, JSON.stringify(report)).toBe(4)
      expect(report.waitedFor).toMatchObject([{ pid, application: 'the-idle-one', client: null }])
      expect(report.why).toContain(`${switching.at('worker-1')}: its shards could not be locked`)
      await client.query('COMMIT')
      await switching.expectUntouched()
    })

    it('that holds rows is waited for until it is through', async () => {
      const client = await holding()
      const pid = await pidOf(client)
      await withSide(async (side) => {
        const held = side.hold(performance.now() + 20_000, null)
        const tries = new Set<string>()
        await waitUntil('it is tried again', async () => {
          const waiting = `SELECT query_start::text AS at FROM pg_stat_activity WHERE ${pid} = ANY (pg_blocking_pids(pid))`
          const rows = await switching.server('worker-1').query<{ at: string }>(waiting)
          for (const { at } of rows) tries.add(at)
          return tries.size > 1
        })
        await client.query('COMMIT')
        await held
        expect(side.ended).toEqual([])
        const locked = `SELECT FROM pg_locks WHERE locktype = 'relation' AND mode = 'ExclusiveLock' AND granted`
        expect(await switching.server('worker-1').query(locked)).not.toEqual([])
      })
    })

    it('that holds rows is named when the time is over', async () => {
      const client = await holding()
      const pid = await pidOf(client)
      await withSide(async (side) => {
        const began = performance.now()
        const late = await side.hold(began + 900, null).catch((error: unknown) => error)
        expect(late).toBeInstanceOf(TooLate)
        expect((late as TooLate).blockers).toMatchObject([{ pid, application: 'the-idle-one' }])
        expect(performance.now() - began).toBeGreaterThan(2 * LOCK_MS)
        expect(performance.now() - began).toBeLessThan(3000)
      })
      await client.query('COMMIT')
    })

    it('that waits for one who waits for us is not waited for either', async () => {
      const { cluster } = switching.scenario
      const old = switching.server('worker-1')
      const inApp = { database: cluster.database }
      await old.query('CREATE TABLE notes AS SELECT 1 AS id, 0 AS n', [], inApp)
      const [id] = await keysOf(cluster, 1)
      const begin = async (...sql: string[]) =>
        switching.keep(await openTransaction(old, cluster.database, ...sql))
      const waits = async (session: pg.Client, sql: string) => {
        const pid = await pidOf(session)
        const done = session.query(sql)
        const blocked = `SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event_type = 'Lock'`
        await waitUntil(`it waits: ${sql}`, async () => (await old.query(blocked)).length > 0)
        return { done }
      }
      const waiting: Promise<unknown>[] = []
      await withSide(async (side) => {
        await side.hold(performance.now() + 1000, null)
        const first = await begin('SELECT pg_advisory_xact_lock(1)')
        waiting.push((await waits(first, `INSERT INTO items VALUES (${id}, 'late')`)).done)
        waiting.push(
          (await waits(await begin(), 'SELECT pg_advisory_xact_lock(1)')).done.catch(() => undefined),
        )
        const reader = await begin('SELECT count(*) FROM notes')
        const open = await side.sessions.openSince(await side.now())
        expect(open.map(({ pid }) => pid)).toEqual([await pidOf(reader)])
      })
      await waiting[0]
    })

    it('that holds rows is ended when force is due, and not before', async () => {
      const client = await holding()
      const pid = await pidOf(client)
      await withSide(async (side) => {
        const forceAt = performance.now() + 600
        await side.hold(performance.now() + 10_000, forceAt)
        expect(performance.now()).toBeGreaterThan(forceAt)
        expect(side.ended).toMatchObject([{ pid, application: 'the-idle-one' }])
      })
      await expect(client.query('COMMIT')).rejects.toThrow()
    })
  })

  it('is named where he holds Citus’s record of transactions, and nothing waits longer than it may', async () => {
    const old = switching.server('worker-1')
    const { database } = switching.scenario.cluster
    const reached = async (point: string) => {
      if (point !== 'clear') return
      const locking = 'SET TRANSACTION READ WRITE; LOCK TABLE pg_dist_transaction IN ROW EXCLUSIVE MODE'
      switching.keep(await openTransaction(old, database, locking))
    }
    const args = ['--group', '1', '--yes', '--json', '--total-limit', '3s']
    const ran = await switching.scenario.runWith({ reached }, 'switchover', ...args)
    expect(ran.exitCode, ran.stdout).toBe(4)
    const report = JSON.parse(ran.stdout)
    expect(report.why).toContain('(pg_dist_transaction) is held')
    expect(report.waitedFor).toEqual([
      expect.objectContaining({ user: 'postgres', statement: expect.stringContaining('LOCK TABLE') }),
    ])
    expect(report.left).toEqual([])
    await switching.expectUntouched()
  })
})
