import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { timed } from '../support/clients.ts'
import { expectRight, leftPrepared, truthOf } from '../support/crash.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { start } from '../support/program.ts'
import { CutProxy } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

describe('a signal', () => {
  let scenario: Scenario
  let proxy: CutProxy
  const server = (name: string): Server => scenario.cluster.server(name)
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await restoreFailedOver(scenario)
  })
  afterEach(async () => {
    await proxy.close()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A reconcile that has sent worker 2 such a statement and waits for the answer. */
  async function waiting(statement: RegExp) {
    proxy = await CutProxy.to(server('worker-2'), statement, 'answer withheld')
    const registered = formatAddress(server('worker-2'))
    const config = await scenario.configFile({ addresses: { [registered]: { connect: proxy.address } } })
    const program = start('reconcile', ...scenario.options, '--config', config, '--timeout', '60s')
    await waitUntil('it is on its way', () => proxy.cuts === 1, { everyMs: 5 })
    return program
  }

  async function preparing() {
    const program = await waiting(/; PREPARE TRANSACTION/)
    await waitUntil('both are prepared', async () => (await leftPrepared(scenario)).length === 2, {
      everyMs: 5,
    })
    return program
  }

  it('during PREPARE: it is rolled back, and what may be left is named', async () => {
    const program = await preparing()
    program.process.kill('SIGINT')
    const { value: end, ms } = await timed(() => program.ended())
    const told = program.stdout() + program.stderr()
    expect(end, told).toMatchObject({ code: 4 })
    expect(ms).toBeLessThan(6000)
    const left = await leftPrepared(scenario)
    expect(left).toHaveLength(1)
    expect(told).toContain(left[0])
    expect(told).not.toContain('nothing was left unfinished')
    expect(await scenario.run('recover')).toMatchObject({ exitCode: 0 })
    expect(await leftPrepared(scenario)).toEqual([])
  })

  it('during PREPARE, and a second one: ends it at once, and says what it leaves and how to resolve it', async () => {
    const program = await preparing()
    program.process.kill('SIGINT')
    const { value: end, ms } = await timed(() => {
      program.process.kill('SIGTERM')
      return program.ended()
    })
    expect(ms).toBeLessThan(1000)
    expect([130, 143]).toContain(end.code)
    const left = await leftPrepared(scenario)
    expect(left).toHaveLength(2)
    for (const gid of left) expect(program.stderr()).toContain(gid)
    expect(program.stderr()).toContain('citus-ha recover')
    const recovered = await scenario.run('recover')
    expect(recovered).toMatchObject({ exitCode: 0 })
    expect(recovered.stdout.match(/: roll back /g)).toHaveLength(2)
    expect(await leftPrepared(scenario)).toEqual([])
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, outcome: 'changed' })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('during COMMIT PREPARED: what is decided is finished, and told as committed', async () => {
    const program = await waiting(/COMMIT PREPARED/)
    program.process.kill('SIGTERM')
    const { value: end, ms } = await timed(() => program.ended())
    const told = program.stdout() + program.stderr()
    expect([0, 5], told).toContain(end.code)
    expect(ms).toBeLessThan(6000)
    expect(told).not.toContain('nothing was changed')
    const history = await scenario.run('history', '--json')
    expect(JSON.parse(history.stdout).changes).toHaveLength(1)
    expect(await scenario.run('recover')).toMatchObject({ exitCode: 0 })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })
})
