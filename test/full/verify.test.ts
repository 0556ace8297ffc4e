import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, standin, timed } from '../support/clients.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { type ReportDocument, Scenario } from '../support/scenario.ts'

/** What a machine with two busy processors may add to a limit, in milliseconds. */
const SLACK_MS = 1500

describe('what is proved after the commit', () => {
  let scenario: Scenario
  let open: pg.Client[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await restoreFailedOver(scenario)
  })
  afterEach(async () => {
    await Promise.all(open.map((session) => session.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A reconcile, and something that happens when the last participant has committed, before anything is verified. */
  async function committedThen(work: () => Promise<unknown>, timeout: string) {
    let committed = 0
    const hooks = {
      reached: async (point: string) => {
        if (/^committed:/.test(point) && ++committed === 2) await work()
      },
    }
    const run = () => scenario.runWith(hooks, 'reconcile', '--json', '--timeout', timeout)
    const { value: ran, ms } = await timed(run)
    const report: ReportDocument = JSON.parse(ran.stdout)
    return { exitCode: ran.exitCode, report, ms }
  }

  const onCoordinator = (sql: string) =>
    scenario.cluster.coordinator.query(sql, [], { database: scenario.cluster.database })
  const copyOf = (report: ReportDocument, name: string) => report.copies.find(({ node }) => node === at(name))

  const others = [
    [
      'added',
      () => `SELECT citus_add_secondary_node('localhost', 1, '127.0.0.1', ${server('worker-2').port})`,
    ],
    ['removed', () => `SELECT citus_remove_node('127.0.0.1', ${server('worker-2-standby').port})`],
    ['altered', () => `SELECT citus_update_node(5, 'localhost', ${server('worker-2-standby').port})`],
  ] as const
  it.each(others)('another node that is %s meanwhile is no reason to doubt it', async (_, sql) => {
    const { exitCode, report } = await committedThen(() => onCoordinator(sql()), '5s')
    expect(exitCode, JSON.stringify(report.copies)).toBe(0)
    expect(report.outcome).toBe('changed')
  })

  it('but a row of its own that is altered meanwhile is', async () => {
    const sql = `SELECT citus_update_node(4, 'localhost', ${server('worker-1').port})`
    const { exitCode, report } = await committedThen(() => onCoordinator(sql), '2s')
    expect(exitCode).toBe(5)
    expect(copyOf(report, 'coordinator')).toMatchObject({ state: 'stale' })
  })

  it('a copy that does not let us in is given up soon, and named', async () => {
    const lockOut = () =>
      server('worker-2').query(
        `SET citus.enable_ddl_propagation = off; ALTER ROLE citus_ha NOLOGIN;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'citus_ha'`,
      )
    const { exitCode, report, ms } = await committedThen(lockOut, '20s')
    expect(exitCode).toBe(5)
    expect(copyOf(report, 'worker-2')).toMatchObject({
      state: 'unreadable',
      detail: expect.stringContaining('not permitted to log in'),
    })
    expect(ms).toBeLessThan(3000 + SLACK_MS)
  })

  it.skipIf(standin)('a copy left to Citus’s own sync is not waited for until --timeout', async () => {
    const { database } = scenario.cluster
    await server('worker-2').query(
      'SET citus.enable_ddl_propagation = off; DROP SCHEMA citus_ha CASCADE',
      [],
      { database },
    )
    open.push(await openTransaction(server('worker-2'), database, 'LOCK TABLE pg_dist_node IN SHARE MODE'))
    const { value: report, ms } = await timed(() => scenario.reconcile('--timeout', '25s'))
    expect(report).toMatchObject({ exitCode: 5, epoch: 1 })
    expect(copyOf(report, 'worker-2')).toMatchObject({
      state: 'stale',
      detail: expect.stringMatching(/run citus-ha install; left to Citus’s own sync, .* 6\.0 s/),
    })
    expect(ms).toBeLessThan(6000 + 3000)
  })
})
