import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { Answered } from '../../src/model/observation.ts'
import { Intents } from '../../src/switchover/intents.ts'
import type { SwitchoverOrder } from '../../src/switchover/order.ts'
import type { Scope } from '../../src/switchover/stage.ts'
import { loadCluster } from '../../src/walk/cluster.ts'
import { Connections } from '../../src/walk/connections.ts'
import { requestFor } from '../../src/walk/request.ts'
import { SpareSessions } from '../../src/watch/spares.ts'
import { client, Scenario } from '../support/scenario.ts'

describe('what citus-ha writes down beside a change', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
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
        await other.query(`BEGIN; SELECT citus_ha.guard_transactions('{1}')`)
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
        await expect(Intents.open(scopes, [], {} as SwitchoverOrder)).rejects.toThrow('no_such_database')
      } finally {
        await connections.close()
      }
      const sessions = `SELECT application_name FROM pg_stat_activity WHERE usename = 'citus_ha'`
      await waitUntil('its sessions end', async () => (await query(sessions)).length === 0, {
        limitMs: 5000,
      })
    })
  })
})
