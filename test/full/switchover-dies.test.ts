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
    await switching.scenario.restore()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  // Nothing enters at a server that is dead: the fence goes on without it, and those who write elsewhere wait and are served. The
  // fence makes sure that the server is dead, which takes it 0.2 s.
  it.each<{
    readonly when: string
    readonly promote: (died: string, promoted: string) => string
  }>([
    {
      when: 'long before the promotion',
      promote: (died, promoted) => `${died}; sleep 2; ${promoted}`,
    },
    {
      when: 'between the promotion and the change',
      promote: (died, promoted) => `${promoted}; ${died}`,
    },
  ])('$when: no statement of others fails', async ({ promote }) => {
    const running = await switching.clients(['coordinator'])
    const standby = switching.server('worker-1-standby')
    const { pid } = switching.server('worker-3')
    const died = `kill -QUIT ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`
    const asked = `touch ${standby.directory}/promote && kill -USR1 ${standby.pid}`
    const promoted = `${asked}; while [ -e ${standby.directory}/standby.signal ]; do sleep 0.01; done`
    const { exitCode, report, stderr } = await switching.switchover(
      '--group',
      '1',
      '--promote-command',
      promote(died, promoted),
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
