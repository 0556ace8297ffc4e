import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findBinaries } from '../../src/demo/binaries.ts'
import { formatAddress } from '../../src/model/node.ts'
import { standin } from '../support/clients.ts'
import { pgUpgrade } from '../support/pg-upgrade.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

const upgrades = !standin && existsSync(join((await findBinaries()).bindir, 'pg_upgrade'))

describe.skipIf(!upgrades)('a cluster that pg_upgrade has made anew', () => {
  let scenario: Scenario
  const at = (name: string) => formatAddress(scenario.cluster.server(name))
  const relearn = (...args: string[]) =>
    citusHa([
      'relearn',
      '--coordinator',
      scenario.cluster.coordinator.url(scenario.cluster.database),
      ...args,
    ])

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, {}],
      coordinatorStandbys: [{ kind: 'standby' }],
    })
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is refused by name, learnt anew by a superuser, and fails over afterwards', {
    timeout: 180_000,
  }, async () => {
    const { cluster } = scenario
    // Changes have been made, on a later timeline: epochs and lines are on record that the new servers are behind of.
    await cluster.server('worker-1').stop('fast')
    await cluster.server('worker-1-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })
    await cluster.rejoin(cluster.server('worker-1'), cluster.server('worker-1-standby'))
    await cluster.coordinator.stop('fast')
    await cluster.server('coordinator-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })
    await cluster.rejoin(cluster.coordinator, cluster.server('coordinator-standby'))
    await cluster.server('coordinator-standby').stop('fast')
    await cluster.coordinator.promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })
    expect((await relearn('--dry-run')).stdout).toContain('every server is as on record; nothing was changed')

    for (const name of ['worker-1', 'coordinator-standby']) await cluster.server(name).stop('fast')
    for (const name of ['coordinator', 'worker-1-standby', 'worker-2'])
      await pgUpgrade(cluster, cluster.server(name))
    await cluster.rejoin(cluster.server('coordinator-standby'), cluster.coordinator)
    await cluster.rejoin(cluster.server('worker-1'), cluster.server('worker-1-standby'))

    const before = await scenario.run('reconcile')
    expect(before.exitCode).toBe(3)
    expect(before.stdout + before.stderr).toContain('restored, run: citus-ha relearn')
    const role = await scenario.run('relearn', '--yes')
    expect(role).toMatchObject({
      exitCode: 3,
      stdout: expect.stringContaining('relearn needs a superuser there; next: citus-ha relearn'),
    })
    const dry = await relearn('--dry-run')
    expect(dry.exitCode, dry.stdout).toBe(0)
    for (const group of [0, 1, 2])
      expect(dry.stdout).toMatch(
        new RegExp(`group ${group}: system \\d+, timeline \\d -> system \\d+, timeline 1`),
      )
    expect((await scenario.run('reconcile')).exitCode).toBe(3)
    const unasked = await relearn()
    expect(unasked).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('give --yes') })
    const done = await relearn('--yes', '--json')
    expect(done.exitCode, done.stdout).toBe(0)
    expect(JSON.parse(done.stdout).databases[0]).toMatchObject({
      outcome: 'learnt',
      nodes: [at('worker-1-standby'), at('worker-2'), at('coordinator')],
    })

    expect(await scenario.reconcile('--wait', '10s')).toMatchObject({ outcome: 'converged' })
    const history = await scenario.run('history')
    expect(history.stdout).toContain('every server was learnt anew (citus-ha relearn)')
    expect((await relearn('--dry-run')).stdout).toContain('every server is as on record; nothing was changed')

    await cluster.server('worker-1-standby').kill()
    await cluster.server('worker-1').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })
    expect(await scenario.rows(cluster.server('worker-2'))).toEqual(await scenario.rows(cluster.coordinator))
    const rows = await cluster.coordinator.query('SELECT count(*)::int AS n FROM items', [], {
      database: cluster.database,
    })
    expect(rows).toEqual([{ n: 200 }])
  })

  it('is not learnt where another server of a group takes writes as well', async () => {
    const { cluster } = scenario
    await cluster.server('worker-1-standby').start()
    await cluster.coordinator.query(
      'UPDATE citus_ha.lineage SET system_identifier = $1 WHERE groupid = 2',
      ['1'],
      { database: cluster.database },
    )
    const ran = await relearn('--yes')
    expect(ran).toMatchObject({
      exitCode: 3,
      stdout: expect.stringContaining(`${at('worker-1-standby')} takes writes as well, as group 1`),
    })
    const [line] = await cluster.coordinator.query(
      'SELECT system_identifier FROM citus_ha.lineage WHERE groupid = 2',
      [],
      { database: cluster.database },
    )
    expect(line).toEqual({ system_identifier: '1' })
  })
})
