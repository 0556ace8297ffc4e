import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { timed } from '../support/clients.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { routesOf } from '../support/routes.ts'
import { citusHa, type ReportDocument, Scenario } from '../support/scenario.ts'

/** What a busy machine may add to a limit, in milliseconds. */
const SLACK_MS = 3000
const TIMEOUT_MS = 12_000

interface Case {
  readonly what: string
  /** What ails it, and since when: before the run, or after its survey. */
  readonly ails: (standby: Server) => Promise<void> | void
  readonly since: 'before' | 'locked'
  readonly heals?: (standby: Server) => Promise<void> | void
  /** The copy of the standby coordinator, in the run that changes and in each later one. */
  readonly first: Said
  readonly later: Said
  /** How long the first may take beyond what a run takes, in milliseconds. */
  readonly withinMs: number
}

interface Said {
  readonly exitCode: 0 | 5
  readonly state: 'right' | 'does not follow' | 'stale' | 'unreachable'
  readonly why: RegExp
}

const set = (name: string, value: string) => async (standby: Server) => {
  await standby.query(`ALTER SYSTEM SET ${name} = '${value}'`)
  await standby.query('SELECT pg_reload_conf()')
  await waitUntil(`${name} is set`, async () => {
    const [row] = await standby.query<{ value: string }>(`SELECT current_setting('${name}') AS value`)
    return row?.value === value
  })
}
const reset = (name: string) => async (standby: Server) => {
  await standby.query(`ALTER SYSTEM RESET ${name}`)
  await standby.query('SELECT pg_reload_conf()')
}
const receiverIs = async (standby: Server, wanted: 'there' | 'gone') => {
  await waitUntil(`its WAL receiver is ${wanted}`, async () => {
    const rows = await standby.query(`SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'`)
    return rows.length > 0 === (wanted === 'there')
  })
}

let conninfo = ''
const cutOff = async (standby: Server) => {
  const [row] = await standby.query<{ value: string }>(`SELECT current_setting('primary_conninfo') AS value`)
  conninfo = row?.value ?? ''
  await set('primary_conninfo', 'host=127.0.0.1 port=1')(standby)
  await receiverIs(standby, 'gone')
}
const joined = async (standby: Server) => {
  await set('primary_conninfo', conninfo)(standby)
  await receiverIs(standby, 'there')
}

const NOT_THERE = /does not stream from .*primary_conninfo/
const PAUSED = /replay is paused: SELECT pg_wal_replay_resume\(\)/
const DELAYED = /recovery_min_apply_delay is 1h/

const CASES: readonly Case[] = [
  {
    what: 'paused',
    ails: async (standby) => void (await standby.query('SELECT pg_wal_replay_pause()')),
    heals: async (standby) => void (await standby.query('SELECT pg_wal_replay_resume()')),
    since: 'before',
    first: { exitCode: 0, state: 'does not follow', why: PAUSED },
    later: { exitCode: 0, state: 'does not follow', why: PAUSED },
    withinMs: 0,
  },
  {
    what: 'delayed',
    ails: set('recovery_min_apply_delay', '1h'),
    heals: reset('recovery_min_apply_delay'),
    since: 'before',
    first: { exitCode: 0, state: 'does not follow', why: DELAYED },
    later: { exitCode: 0, state: 'does not follow', why: DELAYED },
    withinMs: 0,
  },
  {
    what: 'cut off before',
    ails: cutOff,
    heals: joined,
    since: 'before',
    first: { exitCode: 0, state: 'does not follow', why: NOT_THERE },
    later: { exitCode: 0, state: 'does not follow', why: NOT_THERE },
    withinMs: 0,
  },
  {
    what: 'cut off while the change is made',
    ails: cutOff,
    heals: joined,
    since: 'locked',
    first: { exitCode: 5, state: 'stale', why: NOT_THERE },
    later: { exitCode: 0, state: 'does not follow', why: NOT_THERE },
    withinMs: 6000,
  },
  {
    what: 'away for less time than a receiver needs to try again',
    ails: async (standby) => {
      await cutOff(standby)
      setTimeout(() => void joined(standby), 4000)
    },
    since: 'locked',
    first: { exitCode: 0, state: 'right', why: /^$/ },
    later: { exitCode: 0, state: 'right', why: /^$/ },
    withinMs: 6000,
  },
  {
    what: 'frozen before',
    ails: (standby) => standby.freeze(),
    heals: (standby) => standby.thaw(),
    since: 'before',
    first: { exitCode: 5, state: 'unreachable', why: /timeout: .*citus-ha status/ },
    later: { exitCode: 5, state: 'unreachable', why: /timeout: .*citus-ha status/ },
    withinMs: 6000,
  },
  {
    what: 'frozen while the change is made',
    ails: (standby) => standby.freeze(),
    heals: (standby) => standby.thaw(),
    since: 'locked',
    first: { exitCode: 5, state: 'unreachable', why: /timeout: .*citus-ha status/ },
    later: { exitCode: 5, state: 'unreachable', why: /timeout: .*citus-ha status/ },
    withinMs: 6000,
  },
  {
    what: 'killed before',
    ails: async (standby) => await standby.kill(),
    since: 'before',
    first: { exitCode: 0, state: 'does not follow', why: /refused/ },
    later: { exitCode: 0, state: 'does not follow', why: /refused/ },
    withinMs: 0,
  },
  {
    what: 'killed while the change is made',
    ails: async (standby) => await standby.kill(),
    since: 'locked',
    first: { exitCode: 5, state: 'unreachable', why: /refused/ },
    later: { exitCode: 0, state: 'does not follow', why: /refused/ },
    withinMs: 4000,
  },
]

describe('a worker fails over while the standby coordinator is', () => {
  let scenario: Scenario
  let heal: (() => Promise<void> | void) | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const standby = () => server('coordinator-standby')

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await restoreFailedOver(scenario)
  })
  afterEach(async () => {
    await heal?.()
    heal = null
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  const run = async (command: string, ...args: string[]): Promise<ReportDocument> =>
    JSON.parse((await scenario.run(command, '--json', ...args)).stdout)

  /** A subcommand's options come after it. */
  const runEvent = async (...args: string[]): Promise<ReportDocument> => {
    const [tool = '', ...rest] = args
    const ran = await citusHa(['event', tool, ...rest, '--json', ...scenario.options])
    return JSON.parse(ran.stdout)
  }

  async function expectSaid(report: ReportDocument, { exitCode, state, why }: Said): Promise<void> {
    const at = formatAddress(standby())
    const copy = report.copies.find(({ node }) => node === at)
    expect({ exitCode: report.exitCode, state: copy?.state }, JSON.stringify(report)).toEqual({
      exitCode,
      state,
    })
    expect(copy?.detail ?? '').toMatch(why)
    const warned = report.warnings.filter((line) => line.startsWith(`${at}, `))
    if (state === 'does not follow') expect(warned).toEqual([expect.stringMatching(why)])
    else expect(warned).toEqual([])
    // What the report says of it is what a read through it finds.
    if (state === 'unreachable') return
    if (!standby().isRunning) return
    const routes = await routesOf(scenario.cluster, standby(), [1, 2])
    expect(routes).toMatchObject({ 1: { read: state === 'right' ? 'works' : 'fails' }, 2: { read: 'works' } })
  }

  it.each(CASES)('$what: exit $first.exitCode, and the same is said later', async (given) => {
    const { ails, heals, since, first, later, withinMs } = given
    const begin = async () => {
      heal = () => heals?.(standby())
      await ails(standby())
    }
    if (since === 'before') await begin()
    const hooks = {
      reached: async (point: string) => {
        if (point === 'locked' && since === 'locked') await begin()
      },
    }
    const args = ['reconcile', '--json', '--timeout', `${TIMEOUT_MS}ms`]
    const { value: ran, ms } = await timed(() => scenario.runWith(hooks, ...args))
    const report: ReportDocument = JSON.parse(ran.stdout)
    expect(report.epoch, ran.stderr).toBe(1)
    await expectSaid(report, first)
    expect(ms).toBeLessThan(withinMs + SLACK_MS)
    await expectSaid(await run('reconcile', '--timeout', '3s'), later)
    await expectSaid(await run('watch', '--once'), later)
    if (later.exitCode === 0) {
      const [headline] = (await scenario.run('reconcile', '--timeout', '3s')).stdout.split('\n')
      expect(headline).toMatch(/converged: every copy (that follows its primary )?is up to date/)
    }
    const promoted = formatAddress(server('worker-1-standby'))
    await expectSaid(await runEvent('promoted', promoted, '--timeout', '8s'), later)
    if (!heals) return
    await heals(standby())
    heal = null
    await scenario.cluster.waitForReplay(standby(), server('coordinator'))
    await expectSaid(await run('reconcile'), { exitCode: 0, state: 'right', why: /^$/ })
  })
})
