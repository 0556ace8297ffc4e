import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

const LONG_MS = 120_000
const STALL_MS = 1500
/** Of `--total-limit`, the default: nobody's write waits longer, whoever stalls. */
const LIMIT_MS = 10_000

describe.skipIf(standin)('a switchover while another group’s primary stalls for a moment', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({ coordinatorStandbys: [] })
  }, LONG_MS)
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterEach(async () => {
    switching.server('worker-2').thaw()
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  // A session of the fence is lost there: the others are let go at once, and not when the fence's time is over.
  it.each(['fence', 'quiesce', 'replay', 'promoting', 'promoted', 'locked'])(
    'from “%s” on: no write waits until the fence is over',
    async (step) => {
      const { scenario } = switching
      const running = await switching.clients(['coordinator'])
      let thawed: Promise<void> | null = null
      const reached = async (point: string) => {
        if (point !== step || thawed !== null) return
        switching.server('worker-2').freeze()
        thawed = pause(STALL_MS).then(() => switching.server('worker-2').thaw())
      }
      const ran = await scenario.runWith({ reached }, 'switchover', '--yes', '--json', '--group', '1')
      await thawed
      expect([0, 4, 5], ran.stdout + ran.stderr).toContain(ran.exitCode)
      await running.goesOn()
      await running.stop()
      expect(running.longestMs.write, ran.stdout + ran.stderr).toBeLessThan(LIMIT_MS - STALL_MS)
      expect(await running.missing(switching.server('coordinator'))).toEqual([])
      expect(await running.halves(switching.server('coordinator'))).toEqual([])
      const after = await scenario.reconcile()
      expect(after, JSON.stringify(after)).toMatchObject({ exitCode: 0 })
      await switching.expectNoIntent()
      await switching.expectWritable(ran.exitCode === 4 ? 'worker-1' : 'worker-1-standby')
    },
    LONG_MS,
  )
})
