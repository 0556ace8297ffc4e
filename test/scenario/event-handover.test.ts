import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Controller, TOKEN } from '../support/control.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const WORDS = ['on_role_change', 'master', 'w1']

describe('citus-ha event beside a watcher that takes orders', () => {
  let scenario: Scenario
  let watching: WatchProcess
  let config: string
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const event = (node: string) =>
    citusHa(['event', 'patroni', ...scenario.options, '--config', config, '--node', at(node), ...WORDS])
  const right = () =>
    expectRight(
      scenario,
      ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
      truthOf(scenario, 'coordinator'),
    )
  const madeBy = async () => {
    const sql = 'SELECT made_by FROM citus_ha.change ORDER BY epoch DESC LIMIT 1'
    const [row] = await server('coordinator').query(sql, [], { database: scenario.cluster.database })
    return row?.made_by
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
    const detect = { interval: '400ms', timeout: '800ms' }
    const listening = await scenario.configFile(
      { detect, control: { listen: '127.0.0.1:0', token: TOKEN } },
      0o600,
    )
    watching = WatchProcess.start([...scenario.options, '--config', listening])
    const { base: url } = await Controller.of(watching)
    config = await scenario.configFile(
      { control: { listen: '127.0.0.1:0', token: TOKEN, connect: { url } } },
      0o600,
    )
  })
  afterEach(async () => {
    await watching?.stop()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('has it done by the watcher, beside an old primary that lives', async () => {
    await server('worker-1-standby').promote()
    const ran = await event('worker-1-standby')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0, stderr: '' })
    await right()
    expect(await madeBy()).toMatch(
      /^citus-ha event patroni \(asked over HTTP by 127\.0\.0\.1\) as citus_ha from/,
    )
  })

  it('is not believed against the timelines there either', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await event('worker-1-standby')).toMatchObject({ exitCode: 0 })
    await server('worker-1').start()
    const ran = await event('worker-1')
    expect(ran).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('(D023)') })
    await right()
  })

  it('does it itself where the watcher has ended', async () => {
    await watching.stop()
    await server('worker-1-standby').promote()
    const ran = await event('worker-1-standby')
    expect(ran).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('warning: no watcher handled the event (http'),
    })
    await right()
    expect(await madeBy()).toContain('event patroni')
  })
})
