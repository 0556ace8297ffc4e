import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { pauseNode } from '../support/capabilities.ts'
import { daemonRuns, standin, timed } from '../support/clients.ts'
import { expectRight, killedAt, leftPrepared, truthOf } from '../support/crash.ts'
import { client, lentTo, type Ran, Scenario } from '../support/scenario.ts'

const COPIES = ['coordinator', 'worker-1-standby', 'worker-2']

describe('a change and its rivals', () => {
  let scenario: Scenario
  let open: { end(): Promise<void> }[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    // Without the two jobs that would keep Citus's daemon from its metadata sync while a worker hangs.
    const jobs = {
      'citus.distributed_deadlock_detection_factor': '-1',
      'citus.recover_2pc_interval': '-1',
      'citus.metadata_sync_retry_interval': '200ms',
    }
    scenario = await Scenario.start({ settings: jobs })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    for (const each of scenario.cluster.servers) each.thaw()
    await Promise.all(open.map((each) => each.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function failOver(worker: string): Promise<void> {
    await server(worker).kill()
    await server(`${worker}-standby`).promote()
  }

  /** The rows after the failover of both workers. */
  const bothMoved = () => [
    `1 group 0 primary ${at('coordinator')}`,
    `2 group 1 primary ${at('worker-1-standby')}`,
    `3 group 2 primary ${at('worker-2-standby')}`,
    `4 group 1 secondary ${lentTo(server('worker-1-standby'))}`,
    `5 group 2 secondary ${lentTo(server('worker-2-standby'))}`,
  ]

  interface Change {
    readonly epoch: number
    readonly groups: readonly number[]
  }

  async function changes(): Promise<Change[]> {
    const { coordinator, database } = scenario.cluster
    const sql = 'SELECT epoch::int, groups FROM citus_ha.change ORDER BY epoch'
    return await coordinator.query<Change & Record<string, unknown>>(sql, [], { database })
  }

  const codes = (runs: readonly Ran[]) => runs.map(({ exitCode }) => exitCode)

  describe('several instances at once', () => {
    it('on the same group: one changes, the others find nothing to do', async () => {
      await failOver('worker-1')
      const runs = await Promise.all([1, 2, 3, 4].map(() => scenario.run('reconcile', '--json')))
      expect(codes(runs), runs.map(({ stderr }) => stderr).join('')).toEqual([0, 0, 0, 0])
      const outcomes = runs.map(({ stdout }) => JSON.parse(stdout).outcome).sort()
      expect(outcomes).toEqual(['changed', 'converged', 'converged', 'converged'])
      expect(await changes()).toEqual([{ epoch: 1, groups: [1] }])
      await expectRight(scenario, COPIES.map(server), truthOf(scenario, 'coordinator'))
    })

    it('on different groups: one epoch each, and neither undoes the other', async () => {
      await failOver('worker-1')
      await failOver('worker-2')
      const each = ['1', '2', '1', '2'].map((group) => scenario.run('reconcile', '--group', group))
      const runs = await Promise.all(each)
      expect(codes(runs), runs.map(({ stderr }) => stderr).join('')).toEqual([0, 0, 0, 0])
      const made = await changes()
      expect(made.map(({ epoch }) => epoch)).toEqual([1, 2])
      expect(made.flatMap(({ groups }) => groups).sort()).toEqual([1, 2])
      const copies = ['coordinator', 'worker-1-standby', 'worker-2-standby'].map(server)
      await expectRight(scenario, copies, bothMoved())
    })

    it('a change that waits between its rounds lets another group’s through', async () => {
      const idle = await client(server('worker-2'), scenario.cluster.database)
      open.push(idle)
      await failOver('worker-1')
      // Whoever holds only the fence of group 1 there keeps that group's change out.
      await idle.query(`BEGIN; ${pauseNode(2)}`)
      await server('worker-2-standby').promote()
      const waits = scenario.run('reconcile', '--group', '1', '--timeout', '20s')
      const { value: other, ms } = await timed(() =>
        scenario.run('reconcile', '--group', '2', '--promoted', at('worker-2-standby'), '--timeout', '20s'),
      )
      expect(other, other.stderr).toMatchObject({ exitCode: 0 })
      expect(ms).toBeLessThan(5000)
      await idle.query('ROLLBACK')
      const waited = await waits
      expect(waited, waited.stderr).toMatchObject({ exitCode: 0 })
      const copies = ['coordinator', 'worker-1-standby', 'worker-2-standby'].map(server)
      await expectRight(scenario, copies, bothMoved())
    })

    it('one that was stopped with a plan in its hands does nothing when it goes on', async () => {
      await failOver('worker-1')
      let stopped = false
      const late = await scenario.runWith(
        {
          reached: async (point) => {
            if (point !== 'opened' || stopped) return
            stopped = true
            expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, outcome: 'changed' })
            // And the world moves on: back to where it was, as a later failover would have it.
            await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
            await scenario.streams(server('worker-1'))
            await server('worker-1-standby').kill()
            await server('worker-1').promote()
            expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, outcome: 'changed' })
          },
        },
        'reconcile',
        '--json',
      )
      expect(stopped).toBe(true)
      expect([0, 3], late.stderr).toContain(late.exitCode)
      expect((await changes()).map(({ epoch }) => epoch)).toEqual([1, 2])
      const rows = await scenario.rows(server('coordinator'))
      expect(rows[1]).toBe(`2 group 1 primary ${at('worker-1')}`)
      await expectRight(scenario, ['coordinator', 'worker-1', 'worker-2'].map(server), rows)
    })
  })

  describe('a second failover while leftovers of the first last', () => {
    it.each(['all-prepared', 'decided'])('a change cut off at “%s”, and its worker hung', async (point) => {
      await failOver('worker-1')
      expect(await killedAt(point, ['reconcile', ...scenario.options])).toBe('SIGKILL')
      expect(await leftPrepared(scenario)).toHaveLength(2)
      server('worker-2').freeze()
      await server('worker-2-standby').promote()
      const args = ['--promoted', at('worker-2-standby'), '--timeout', '20s']
      const { value: report, ms } = await timed(() => scenario.reconcile(...args))
      expect(report, JSON.stringify(report)).toMatchObject({ exitCode: 0 })
      expect(ms).toBeLessThan(20_000)
      const copies = ['coordinator', 'worker-1-standby', 'worker-2-standby'].map(server)
      for (const copy of copies) expect(await scenario.rows(copy), copy.name).toEqual(bothMoved())
      const left = await Promise.all(
        copies.map((copy) => copy.query(`SELECT FROM pg_prepared_xacts WHERE gid LIKE 'citus\\_ha%'`)),
      )
      expect(left.flat()).toEqual([])
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    })

    it.skipIf(standin)('Citus’s sync daemon, waiting for the hung worker, is sent away', async () => {
      const { coordinator, database } = scenario.cluster
      await daemonRuns(coordinator, database)
      server('worker-2').freeze()
      // In one transaction: the sync that begins at its end would keep a second one waiting.
      const { host, port } = server('worker-1-standby')
      const sql = `SELECT citus_update_node(4, 'elsewhere.invalid', 1); SELECT citus_update_node(4, '${host}', ${port})`
      await coordinator.query(sql, [], { database })
      const sits = `SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
        WHERE a.application_name = 'Citus Metadata Sync Daemon' AND l.granted
          AND l.relation = 'pg_dist_node'::regclass AND l.mode = 'RowExclusiveLock'`
      await waitUntil('the daemon sits on pg_dist_node', async () => {
        return (await coordinator.query(sits, [], { database })).length > 0
      })
      await failOver('worker-1')
      const { value: report, ms } = await timed(() => scenario.reconcile('--timeout', '10s'))
      expect(report).toMatchObject({ exitCode: 5, epoch: 1 })
      expect(report.copies.filter(({ state }) => state === 'unreachable').map(({ node }) => node)).toEqual([
        at('worker-2'),
      ])
      expect(ms).toBeLessThan(14_000)
      const truth = truthOf(scenario, 'coordinator')
      for (const name of ['coordinator', 'worker-1-standby'])
        expect(await scenario.rows(server(name)), name).toEqual(truth)
      server('worker-2').thaw()
      await waitUntil('the hung copy is right by itself', async () => {
        return JSON.stringify(await scenario.rows(server('worker-2'))) === JSON.stringify(truth)
      })
      expect(await leftPrepared(scenario)).toEqual([])
    })
  })
})
