import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

const LONG_MS = 120_000

describe.skipIf(standin)('a switchover while another group’s primary dies', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{}] }, {}, {}],
    })
  }, LONG_MS)
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  // Nothing enters at a server that is dead: the fence goes on without it, and those who write elsewhere wait and are served.
  it('no statement of others fails', async () => {
    const running = await switching.clients(['coordinator'])
    const standby = switching.server('worker-1-standby')
    const { pid } = switching.server('worker-3')
    // The fence makes sure that the server is dead, which takes it 0.2 s.
    const dies = `kill -QUIT ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done; sleep 2`
    const promote = `${dies}; touch ${standby.directory}/promote && kill -USR1 ${standby.pid}`
    const { exitCode, report, stderr } = await switching.switchover(
      '--group',
      '1',
      '--promote-command',
      promote,
    )
    // The copy of the dead one can't be proved.
    expect(exitCode, JSON.stringify(report) + stderr).toBe(5)
    await running.goesOn()
    await running.stop()
    expect(running.failures, running.failures.join('; ')).toEqual([])
    expect(await switching.scenario.rows(switching.server('coordinator'))).toContain(
      `2 group 1 primary ${switching.at('worker-1-standby')}`,
    )
  })
})
