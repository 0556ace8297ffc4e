import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SessionLike } from '../../src/db/pg.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { HostPort } from '../../src/model/node.ts'
import type { Answered } from '../../src/model/observation.ts'
import { Intents } from '../../src/switchover/intents.ts'
import type { Scope } from '../../src/switchover/scope.ts'
import { Side } from '../../src/switchover/side.ts'
import { loadCluster } from '../../src/walk/cluster.ts'
import { Connections } from '../../src/walk/connections.ts'
import { requestFor } from '../../src/walk/request.ts'
import { SpareSessions } from '../../src/watch/spares.ts'
import { client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

describe('what citus-ha writes down beside a change', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}, {}] }, {}] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function query<Row extends object>(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    const { coordinator, database } = scenario.cluster
    return await coordinator.query<Row>(sql, parameters, { database })
  }

  describe('Citus’s records of two-phase commits with a degraded group', () => {
    const GID = 'citus_0_4711_98_1'
    let args: string[]

    beforeEach(async () => {
      args = ['--config', await scenario.configFile({ routing: { primaryDown: 'secondary' } })]
      await server('worker-1').kill()
      const report = await scenario.reconcile(...args)
      expect(report.changes).toMatchObject([{ group: 1, kind: 'degraded' }])
      await query('INSERT INTO pg_dist_transaction (groupid, gid) VALUES (1, $1)', [GID])
    })

    const records = () => query('SELECT gid FROM pg_dist_transaction WHERE groupid = 1')

    /** Runs a reconcile while somebody else guards the same records, and has not committed yet. */
    async function beside(): Promise<string> {
      const other = await client(server('coordinator'), scenario.cluster.database)
      try {
        await other.query(`BEGIN; SELECT citus_ha.fence('{}'); SELECT citus_ha.guard_transactions('{1}')`)
        const running = scenario.run('reconcile', ...args)
        await waitUntil('it waits for the other', async () => {
          const sql = `SELECT FROM pg_stat_activity WHERE usename = 'citus_ha' AND wait_event_type = 'Lock'`
          return (await query(sql)).length > 0
        })
        await other.query('COMMIT')
        return (await running).stderr
      } finally {
        await other.end()
      }
    }

    it('may be put back by two at once', async () => {
      await scenario.reconcile(...args)
      await query('DELETE FROM pg_dist_transaction')
      expect(await beside()).not.toContain('could not be guarded')
      expect(await records()).toContainEqual({ gid: GID })
    })

    it('are kept by a role whose transactions are REPEATABLE READ by default', async () => {
      await query(`ALTER ROLE citus_ha SET default_transaction_isolation = 'repeatable read'`)
      expect(await beside()).not.toContain('could not be guarded')
      expect(await query('SELECT gid FROM citus_ha.kept_transaction')).toContainEqual({ gid: GID })
    })

    it('are put back without a synchronous standby', async () => {
      await scenario.reconcile(...args)
      await query('DELETE FROM pg_dist_transaction')
      await query(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
      await server('coordinator').reload()
      const ran = await scenario.run('reconcile', ...args)
      expect(ran.stderr).not.toContain('could not be guarded')
      expect(await records()).toContainEqual({ gid: GID })
    })
  })

  describe('a remedy whose row somebody else has changed', () => {
    let watching: Watching | null = null

    afterEach(async () => {
      await watching?.stop()
      watching = null
    })

    const remedies = () => query('SELECT nodeid FROM citus_ha.remedy')
    const changes = () => query('SELECT FROM citus_ha.change')

    async function secondaryDown(): Promise<void> {
      await server('worker-1-standby').kill()
      const report = await scenario.reconcile()
      expect(report.changes).toMatchObject([{ nodeid: 4, kind: 'remedy', to: 'inactive' }])
      expect(await remedies()).toEqual([{ nodeid: 4 }])
      await server('worker-1-standby').start()
      await scenario.streams(server('worker-1-standby'))
    }

    /** On every copy at once, so that nothing is left to be changed. */
    async function somebodyActivates(): Promise<void> {
      const { database } = scenario.cluster
      for (const name of ['worker-1', 'worker-2', 'coordinator'])
        await server(name).query('UPDATE pg_dist_node SET isactive = true', [], { database })
    }

    it('is forgotten by the next reconcile, and by no dry run', async () => {
      await secondaryDown()
      await somebodyActivates()
      const before = await changes()
      const dry = await scenario.reconcile('--dry-run')
      expect(dry).toMatchObject({ outcome: 'planned', changes: [] })
      expect(await remedies()).toEqual([{ nodeid: 4 }])
      const ran = await scenario.run('reconcile', '--json')
      expect(JSON.parse(ran.stdout)).toMatchObject({ outcome: 'converged', changes: [] })
      expect(ran.stderr).toBe(
        'group 1: node 4 was changed by another client: its recorded remedy was removed\n',
      )
      expect(await remedies()).toEqual([])
      expect(await changes()).toEqual(before)
      expect(await scenario.run('reconcile')).toMatchObject({ exitCode: 0, stderr: '' })
    })

    it('is kept while its row stands as it made it', async () => {
      await server('worker-1-standby').kill()
      await scenario.reconcile()
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
      expect(await query('SELECT * FROM citus_ha.forget_stale_remedies()')).toEqual([])
      expect(await remedies()).toEqual([{ nodeid: 4 }])
    })

    it('is not taken for one that a change is just setting anew', async () => {
      await secondaryDown()
      await somebodyActivates()
      const other = await client(server('coordinator'), scenario.cluster.database)
      try {
        await other.query(`BEGIN; UPDATE pg_dist_node SET isactive = false WHERE nodeid = 4;
                           UPDATE citus_ha.remedy SET recorded_at = now()`)
        const running = scenario.run('reconcile', '--timeout', '2s')
        await waitUntil('it waits for the other', async () => {
          const sql = `SELECT FROM pg_stat_activity WHERE usename = 'citus_ha' AND wait_event_type = 'Lock'`
          return (await query(sql)).length > 0
        })
        await other.query('COMMIT')
        await running
        expect(await remedies()).toEqual([{ nodeid: 4 }])
      } finally {
        await other.end()
      }
    })

    it('is forgotten by a watcher that leads', async () => {
      await secondaryDown()
      await somebodyActivates()
      watching = await Watching.start(scenario)
      await waitUntil('it is forgotten', async () => (await remedies()).length === 0)
      expect(watching.of('progress').map(({ line }) => line)).toContainEqual(
        expect.stringContaining('its recorded remedy was removed'),
      )
      expect(watching.of('failed')).toEqual([])
      expect(watching.changes).toEqual([])
    })
  })

  describe('what is about to be done', () => {
    it('leaves no session behind where not every database can be told', async () => {
      const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
      const { config, database } = await loadCluster({ env: {}, coordinators })
      const connections = new Connections(config, {})
      try {
        const { coordinator } = scenario.cluster
        const node = { host: coordinator.host, port: coordinator.port }
        const seen = (await connections.prober(database).probe(node)) as Answered
        const entry = { node, role: 'coordinator', server: seen, groups: null } as const
        const checked = { moves: [], entries: { entries: [entry], missing: [] }, refusals: [], warnings: [] }
        const caller = { signal: new AbortController().signal, progress: () => undefined }
        const scopes = [database, 'no_such_database'].map((name): Scope => {
          const request = requestFor(config, name, caller)
          return { request, checked, access: new SpareSessions(connections, name, 1000) }
        })
        await expect(Intents.open(scopes, 'one')).rejects.toThrow('no_such_database')
      } finally {
        await connections.close()
      }
      const sessions = `SELECT application_name FROM pg_stat_activity WHERE usename = 'citus_ha'`
      await waitUntil('its sessions end', async () => (await query(sessions)).length === 0, {
        limitMs: 5000,
      })
    })

    it('leaves no session behind where not every database of an old primary that is started again can be opened', async () => {
      const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
      const { config, database } = await loadCluster({ env: {}, coordinators })
      const connections = new Connections(config, {})
      const seen = async (name: string) => {
        const { host, port } = server(name)
        return (await connections.prober(database).probe({ host, port })) as Answered
      }
      const opened: SessionLike[] = []
      let left = Number.POSITIVE_INFINITY
      const open = async (address: HostPort, name: string): Promise<SessionLike> => {
        if (left-- <= 0) throw new Error('it does not answer any more')
        const session = await connections.open(address, name)
        opened.push(session)
        return session
      }
      const from = await seen('worker-1')
      const move = { group: 1, from, to: await seen('worker-1-standby') }
      const limits = { texts: 'shown', lockTimeoutMs: 200, idleMs: 10_000 } as const
      const side = await Side.open({ move, databases: [database, database], open, ...limits })
      left = 1
      try {
        await expect(side.reopen()).rejects.toThrow('it does not answer any more')
      } finally {
        await side.end()
        await connections.close()
      }
      const [last] = opened.slice(-1)
      expect(opened).toHaveLength(7)
      const there = `SELECT FROM pg_stat_activity WHERE pid = ${last?.pid}`
      await waitUntil('it ends', async () => (await server('worker-1').query(there)).length === 0, {
        limitMs: 5000,
      })
    })
  })
})
