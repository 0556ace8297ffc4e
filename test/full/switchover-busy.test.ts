import { describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

/** More clients than the machine has cores, each without a pause: a transaction takes longer than the first rounds of locks. */
describe.skipIf(standin)('a switchover of a cluster whose clients keep every core busy', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [] },
  )

  it(
    'fails no statement',
    async () => {
      const running = await switching.clients()
      await switching.switched('--group', '1')
      await switching.expectAll(running)
    },
    LONG_MS,
  )

  it(
    'that loses its fence after the promotion comes to its end, and loses no row',
    async () => {
      const [{ scenario }, other] = [switching, switching.server('worker-2')]
      const running = await switching.clients()
      let lost = 0
      const reached = async (point: string) => {
        if (point !== 'promoted') return
        const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'citus-ha' AND state = 'idle in transaction'`
        lost += (await other.query(end)).length
      }
      const ran = await scenario.runWith({ reached }, 'switchover', '--yes', '--json', '--group', '1')
      expect(lost).toBeGreaterThan(0)
      await running.goesOn()
      await running.stop()
      expect(await running.missing(switching.server('coordinator'))).toEqual([])
      expect(await running.halves(switching.server('coordinator'))).toEqual([])
      expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
    },
    LONG_MS,
  )
})
