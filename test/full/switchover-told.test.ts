import { describe, expect, it } from 'vitest'
import type { ChangeHooks } from '../../src/apply/hooks.ts'
import { run } from '../../src/cli/program.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { openTransaction, standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 120_000

describe.skipIf(standin)('what a switchover tells that came to nothing', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [] },
  )

  /** As a person does: Ctrl-C once `isTime` is true of a line that it said. */
  async function interrupted(hooks: ChangeHooks, isTime: (line: string) => boolean) {
    const out: string[] = []
    const stop = new AbortController()
    const exitCode = await run(
      ['switchover', ...switching.scenario.options, '--group', '1', '--yes', '--json', '--timeout', '60s'],
      {
        stdout: { write: (text) => out.push(text) },
        stderr: {
          write: (text) => {
            if (isTime(text)) stop.abort()
          },
        },
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
        signal: stop.signal,
        hooks,
      },
    )
    return { exitCode, report: JSON.parse(out.join('')) }
  }

  const locked = async (name: string, sql: string) => {
    const { database } = switching.scenario.cluster
    return switching.keep(await openTransaction(switching.server(name), database, sql))
  }

  it.each(['coordinator', 'worker-2'])(
    'who was in the way at %s when it was interrupted',
    async (name) => {
      const reached: ChangeHooks['reached'] = async (point) => {
        if (point === 'look') await locked(name, 'LOCK pg_dist_node IN ROW EXCLUSIVE MODE')
      }
      const { exitCode, report } = await interrupted({ reached }, (line) => line.includes('the-idle-one'))
      expect(exitCode).toBe(4)
      expect(report).toMatchObject({
        outcome: 'blocked',
        why: 'interrupted',
        left: [],
        waitedFor: [{ application: 'the-idle-one' }],
      })
      await switching.expectUntouched()
    },
    LONG_MS,
  )

  it(
    'what could not be undone, once, and goes no further',
    async () => {
      const rounds: string[] = []
      const reached: ChangeHooks['reached'] = async (point) => {
        rounds.push(point)
        if (point !== 'intend') return
        await locked('worker-2', 'LOCK pg_dist_node IN ROW EXCLUSIVE MODE')
        await locked('worker-1', 'LOCK citus_ha.intent')
      }
      const ran = await switching.scenario.runWith(
        { reached },
        ...['switchover', '--group', '1', '--yes', '--json', '--timeout', '5s'],
      )
      const report = JSON.parse(ran.stdout)
      expect(report, ran.stderr).toMatchObject({ outcome: 'blocked', left: [expect.any(String)] })
      expect(report.left[0]).toContain(switching.at('worker-1'))
      expect(report.why).toContain(switching.at('worker-2'))
      expect(report.waitedFor).toMatchObject([{ application: 'the-idle-one' }])
      expect(rounds.filter((point) => point === 'intend')).toHaveLength(1)
      await switching.tidy()
      await waitUntil('it is undone', async () => (await switching.scenario.run('reconcile')).exitCode === 0)
      await switching.expectUntouched()
    },
    LONG_MS,
  )
})
