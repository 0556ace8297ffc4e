import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

describe('the first run ever', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const asAdmin = () => ['--coordinator', server('coordinator').url(scenario.cluster.database)]
  const has = async (name: string) => {
    const [row] = await server(name).query(
      `SELECT to_regclass('citus_ha.lineage') IS NOT NULL AS there`,
      [],
      {
        database: scenario.cluster.database,
      },
    )
    return row?.there
  }

  beforeAll(async () => {
    scenario = await Scenario.start({
      install: 'no',
      coordinatorStandbys: [],
      workers: [{ standbys: [{}] }, { standbys: [{}, {}] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('installs what is missing as a superuser, and records every group’s line', async () => {
    expect(await scenario.reconcileWith(asAdmin())).toMatchObject({ outcome: 'converged', exitCode: 0 })
    expect(await has('worker-2')).toBe(true)
    const lines = await server('coordinator').query(
      `SELECT groupid, timeline FROM citus_ha.lineage ORDER BY groupid`,
      [],
      {
        database: scenario.cluster.database,
      },
    )
    expect(lines).toEqual([0, 1, 2].map((groupid) => ({ groupid, timeline: 1 })))
  })

  it.each([
    { 'citus.use_citus_managed_tables': 'on' },
    { 'citus.enable_schema_based_sharding': 'on' },
    { default_table_access_method: 'columnar' },
  ])('makes plain tables, whatever others are by default: %j', async (defaults) => {
    const { database } = scenario.cluster
    for (const name of ['coordinator', 'worker-1', 'worker-2']) await server(name).configure(defaults)
    const ran = await citusHa(['install', ...asAdmin()])
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      const ours = await server(name).query(
        `SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam
          WHERE c.relnamespace = 'citus_ha'::regnamespace AND c.relkind = 'r'
            AND (a.amname <> 'heap' OR c.oid IN (SELECT logicalrelid FROM pg_dist_partition))`,
        [],
        { database },
      )
      expect(ours, name).toEqual([])
    }
    expect(await scenario.reconcileWith(asAdmin())).toMatchObject({ outcome: 'converged', exitCode: 0 })
  })

  it('says where install finds no connection free that it is blocked, and not that anything is configured wrong', async () => {
    const worker = server('worker-2')
    await worker.configure({ max_connections: '30', 'citus.max_client_connections': '-1' })
    await server('worker-2-standby').stop()
    await server('worker-2-standby-2').stop()
    await worker.restart()
    const taken: pg.Client[] = []
    try {
      await expect(async () => {
        for (;;) taken.push(await worker.connect())
      }).rejects.toMatchObject({ code: '53300' })
      const ran = await citusHa(['install', ...asAdmin()])
      expect([3, 4], ran.stdout + ran.stderr).toContain(ran.exitCode)
      expect(ran.stdout + ran.stderr).toMatch(/too many clients|remaining connection slots/)
      expect(await has('worker-2').catch(() => false)).toBe(false)
    } finally {
      await Promise.all(taken.map((each) => each.end()))
    }
    expect(await citusHa(['install', ...asAdmin()])).toMatchObject({ exitCode: 0 })
  })

  it('installs on an old primary that runs on as well, which has to be fenced', async () => {
    await server('worker-1-standby').promote()
    const promoted = ['--group', '1', '--promoted', at('worker-1-standby')]
    const report = await scenario.reconcileWith([...asAdmin(), ...promoted])
    expect(report, JSON.stringify(report)).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await has('worker-1')).toBe(true)
  })

  it('says exactly what to run where the role may not install', async () => {
    await server('coordinator').query('CREATE ROLE visitor LOGIN; GRANT pg_read_all_stats TO visitor')
    const { coordinator, database } = scenario.cluster
    const visitor = ['--coordinator', coordinator.url(database, 'visitor')]
    const ran = await citusHa(['reconcile', ...visitor])
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    expect(ran.stderr).toMatch(
      /the schema citus_ha is missing; a superuser installs it with: citus-ha install .*--user postgres/,
    )
  })

  it('refuses a promoted node when nothing tells that it is of the group’s line, and believes who vouches for it', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcileWith(asAdmin())
    expect(report).toMatchObject({
      exitCode: 3,
      changes: [],
      refusals: [{ group: 1, reason: 'lineage-unknown' }],
    })
    expect(await scenario.rows(server('coordinator'))).toContain(`2 group 1 primary ${at('worker-1')}`)
    const vouched = await scenario.reconcileWith([...asAdmin(), '--promoted', at('worker-1-standby')])
    expect(vouched).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await scenario.rows(server('worker-1-standby'))).toContain(
      `2 group 1 primary ${at('worker-1-standby')}`,
    )
  })

  it('proves it by the local group and another member’s system identifier', async () => {
    await server('worker-2').kill()
    await server('worker-2-standby').promote()
    const report = await scenario.reconcileWith(asAdmin())
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await scenario.rows(server('worker-1'))).toContain(`3 group 2 primary ${at('worker-2-standby')}`)
  })

  it('installs nothing on a server that is not proved to be of the cluster', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await scenario.reconcileWith(asAdmin())
    expect(await has('worker-1-standby')).toBe(false)
  })
})
