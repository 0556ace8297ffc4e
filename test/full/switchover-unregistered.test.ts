import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { lentTo } from '../support/scenario.ts'
import { SHORT_LIVED, Switching } from '../support/switching.ts'

describe('a switchover to a standby that has no row', () => {
  let switching: Switching
  const other = 'worker-1-standby-2'

  beforeAll(async () => {
    switching = await Switching.start({
      workers: [{ standbys: [{}, { registered: false }] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }],
      settings: SHORT_LIVED,
    })
  })
  afterAll(async () => {
    await switching?.tidy()
    await switching?.scenario.stop()
  })

  it('takes what install allows, points out who does not follow, and goes on with that one', async () => {
    const { scenario } = switching
    const to = ['--group', '1', '--to', switching.at(other)]
    const before = await scenario.footprint()
    const refused = await switching.switchover(...to)
    expect(refused.exitCode).toBe(3)
    expect(refused.report.refusals.join()).toContain(
      `the group may not be given the address ${switching.at(other)}; next: citus-ha install`,
    )
    expect(await scenario.footprint()).toEqual(before)
    const standbys = [{ group: 1, address: switching.at(other) }]
    await scenario.install('--switchover', '--config', await scenario.configFile({ standbys }))
    await scenario.settle()

    const running = standin ? null : await switching.clients()
    const { report } = await switching.switched(...to)
    expect(report.moves).toEqual([{ group: 1, from: switching.at('worker-1'), to: switching.at(other) }])
    expect(report.warnings.join()).toContain(
      `group 1: ${switching.at('worker-1-standby')} will not follow by itself and has to be rewound or rebuilt`,
    )
    if (running) await switching.expectAll(running)
    await switching.expectPrimary(2, other, { copies: ['worker-2'] })

    const { cluster } = scenario
    for (const name of ['worker-1', 'worker-1-standby'])
      await cluster.rejoin(switching.server(name), switching.server(other))
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
  })

  it('is followed by the others, once told so, where the old primary was stopped first', async () => {
    const { scenario } = switching
    const standbys = [{ group: 1, address: switching.at('worker-1') }]
    const config = ['--config', await scenario.configFile({ standbys })]
    const stop = [...config, '--demote-first', '--demote-command', switching.stopping(other)]
    const { report } = await switching.switched(
      '--group',
      '1',
      '--to',
      switching.at('worker-1-standby'),
      ...stop,
    )
    expect(report.warnings.join()).toContain(
      `group 1: ${switching.at('worker-1')} will not follow by itself and has to be pointed at the new primary`,
    )
    await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'] })
    expect(await scenario.rows(switching.server('coordinator'))).toContain(
      `4 group 1 secondary ${lentTo(switching.server('worker-1-standby'))}`,
    )
    const { host, port } = switching.server('worker-1-standby')
    const conninfo = `host=${host} port=${port} user=postgres application_name=worker-1`
    await switching.server('worker-1').configure({ primary_conninfo: conninfo })
    await scenario.streams(switching.server('worker-1'))
    await scenario.cluster.waitForReplay(switching.server('worker-1'), switching.server('worker-1-standby'))
  })
})
