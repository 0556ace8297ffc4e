import { describe, expect, it } from 'vitest'
import type { ChangeHooks } from '../../src/apply/hooks.ts'
import { run } from '../../src/cli/program.ts'
import { statement } from '../../src/db/sql.ts'
import { codeOf } from '../../src/db/sqlstate.ts'
import { standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

interface Race {
  readonly says: string
  /** Until where the one that loses has come when the other is quicker. */
  readonly at: 'prompt' | 'connect' | 'look' | 'fence'
  /** What the other one does. */
  readonly other: (switching: Switching) => Promise<unknown>
  readonly refused: RegExp
  /** Who is the primary afterwards. */
  readonly primary: string
}

const switched = (switching: Switching) => switching.switched('--group', '1')

const RACES: readonly Race[] = [
  {
    says: 'another switchover, while its question waited for an answer',
    at: 'prompt',
    other: switched,
    refused: /is already its primary|is out of date|since the confirmation/,
    primary: 'worker-1-standby',
  },
  {
    says: 'another switchover, when it was connected',
    at: 'connect',
    other: switched,
    refused: /another run was faster/,
    primary: 'worker-1-standby',
  },
  {
    says: 'another switchover, when it had looked',
    at: 'look',
    other: switched,
    refused: /another run was faster/,
    primary: 'worker-1-standby',
  },
  {
    says: 'a promotion by hand, when the fence was held',
    at: 'fence',
    other: (switching) => switching.server('worker-1-standby').promote(),
    refused: /is already promoted/,
    primary: 'worker-1',
  },
]

/** What was checked is checked again after every wait; whoever has lost ends at once, and leaves nothing behind. */
describe.skipIf(standin)('a switchover that another change overtakes', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [] },
  )

  it.each(RACES)(
    'is refused: $says',
    async ({ at, other, refused, primary }) => {
      let isFirst = true
      const once = async () => {
        if (isFirst) {
          isFirst = false
          await other(switching)
        }
      }
      const { exitCode, report, stderr } = await losing(at, once)
      expect(exitCode, JSON.stringify(report) + stderr).toBe(3)
      expect(report.outcome).toBe('refused')
      expect(report.refusals.join('\n')).toMatch(refused)
      // It has not waited for what can't come any more, and writes have not waited for it.
      expect(report.pauseMs ?? 0).toBeLessThan(2000)
      await switching.expectNoIntent()
      await switching.expectWritable(primary)
    },
    LONG_MS,
  )

  it.each(['connect', 'look'] as const)(
    'another group switched meanwhile (%s): what enters at its new primary is fenced as well',
    async (at) => {
      let isFirst = true
      const entered: unknown[] = []
      const reached = async (point: string) => {
        if (point === at && isFirst) {
          isFirst = false
          await switching.switched('--group', '2')
        }
        if (point === 'quiesce') entered.push(await writeThrough('worker-2-standby').catch(codeOf))
      }
      const { scenario } = switching
      const ran = await scenario.runWith({ reached }, 'switchover', '--yes', '--json', '--group', '1')
      expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
      // Seen by the look that came after it already, or else told of, and looked for again.
      expect(ran.stderr.includes('group 2: its primary was')).toBe(at === 'look')
      expect(entered).toEqual(['55P03'])
      await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2-standby'] })
    },
    LONG_MS,
  )

  /** To every group, for a moment. */
  async function writeThrough(name: string): Promise<void> {
    const { database } = switching.scenario.cluster
    const sql = `SET lock_timeout = '300ms'; SET statement_timeout = '3s'; INSERT INTO items SELECT -n, 'late' FROM generate_series(1, 100) n`
    await switching.server(name).query(sql, [], { database })
  }

  async function losing(at: Race['at'], overtaken: () => Promise<void>) {
    const out: string[] = []
    const err: string[] = []
    const hooks: ChangeHooks = { reached: (point) => (point === at ? overtaken() : Promise.resolve()) }
    const yes = at === 'prompt' ? [] : ['--yes']
    const exitCode = await run(
      ['switchover', ...switching.scenario.options, '--group', '1', '--json', '--total-limit', '5s', ...yes],
      {
        stdout: { write: (text) => out.push(text) },
        stderr: { write: (text) => err.push(text) },
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
        signal: new AbortController().signal,
        ask: async () => {
          await overtaken()
          return true
        },
        hooks,
      },
    )
    const stderr = err.join('')
    return { exitCode, stderr, report: out.length === 0 ? {} : JSON.parse(out.join('')) }
  }

  // A second one ended with 1, "recovery is not in progress", where the first promoted its target while it was asked.
  it('asks a target that has been promoted meanwhile, and is told so', async () => {
    const ask = statement('switchover/target')
    const asked = ['worker-1', 'worker-1-standby'].map((name) => switching.server(name))
    const { database } = switching.scenario.cluster
    const told = await Promise.all(asked.map((at) => at.query(ask, [], { database, user: 'citus_ha' })))
    expect(told.map(([row]) => row?.is_standby)).toEqual([false, true])
  })
})
