import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { expectRight, POINTS, truthOf } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'
import { type LogLine, WatchProcess } from '../support/watch-process.ts'
import { logOf, Watching } from '../support/watching.ts'

/** Long enough for a busy machine: a leader that answers later than this has lost its lead. */
const INTERVAL_MS = 1000
const DETECT = { interval: `${INTERVAL_MS}ms`, timeout: '1s', cooldown: '0s' }
/** From the cut until every copy is right. The server frees what a stopped leader has locked after a few seconds. */
const LIMIT_MS = 20_000
const LEAD_LOCK = `relation = 'citus_ha.lead_lock'::regclass AND granted`

describe('a leader that loses its lead in the middle of a change', () => {
  let scenario: Scenario
  let ends: (() => Promise<unknown>)[] = []
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await Promise.all(ends.map((end) => end()))
    ends = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function failOver(): Promise<void> {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  }

  const options = async () => [
    ...scenario.options,
    '--config',
    await scenario.configFile({ detect: DETECT, log: { level: 'debug' } }),
  ]

  /** Another instance, which follows. */
  async function follower(): Promise<WatchProcess> {
    const other = WatchProcess.start(await options())
    ends.push(() => other.stop())
    await other.says('another instance leads')
    return other
  }

  async function cutLeader(point: string, signal: NodeJS.Signals): Promise<WatchProcess> {
    const leader = WatchProcess.startCutAt(point, signal, await options())
    ends.push(() => leader.stop())
    await leader.says('this instance leads')
    return leader
  }

  async function makesRight(from: number): Promise<void> {
    const copies = ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
    const truth = truthOf(scenario, 'coordinator')
    await waitUntil('every copy is right', async () => {
      await expectRight(scenario, copies, truth)
      return true
    })
    expect(performance.now() - from).toBeLessThan(LIMIT_MS)
  }

  interface Instance {
    readonly pid: number
    readonly lines: readonly LogLine[]
  }

  /** What each said it had done is on record as its deed, once; what each believed was so. */
  async function expectNothingFalse(...instances: readonly Instance[]): Promise<void> {
    const history = JSON.parse((await scenario.run('history', '--json')).stdout)
    const made: { epoch: number; madeBy: string }[] = history.changes
    expect(made).toHaveLength(1)
    for (const { pid, lines } of instances) {
      expect(lines.filter(({ msg }) => msg.includes('unexpected:'))).toEqual([])
      const claimed = lines.filter(({ event, epoch }) => event === 'acted' && typeof epoch === 'number')
      expect(claimed.length).toBeLessThanOrEqual(1)
      for (const { epoch } of claimed)
        expect(made).toMatchObject([{ epoch, madeBy: expect.stringContaining(`pid ${pid})`) }])
      const believed = lines.filter(({ event }) => event === 'diagnosed')
      expect(believed.filter(({ group, code }) => group !== 1 && code !== 'healthy')).toEqual([])
      const ofGroup = new Set(believed.filter(({ group }) => group === 1).map(({ code }) => code))
      for (const code of ofGroup)
        expect(['healthy', 'primary-down', 'promoted', 'secondary-down']).toContain(code)
    }
  }

  it.each(POINTS)('its session is ended at %s, and another leads at once', async (point) => {
    let from = 0
    let other: WatchProcess | null = null
    const reached = async (at: string): Promise<void> => {
      if (at !== point || from > 0) return
      from = performance.now()
      await waitUntil(
        'the other one leads',
        async () => {
          if (other?.lines.some(({ msg }) => msg.includes('this instance leads'))) return true
          await server('coordinator').query(
            `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE ${LEAD_LOCK}`,
            [],
            { database: scenario.cluster.database },
          )
          return false
        },
        { everyMs: 100 },
      )
    }
    const leader = await Watching.start(scenario, { detect: DETECT }, { reached })
    ends.push(() => leader.stop())
    other = await follower()
    await failOver()
    await waitUntil('the point', () => from > 0)
    await makesRight(from)
    await leader.stop()
    await expectNothingFalse({ pid: process.pid, lines: await logOf(leader) }, other)
  })

  it.each(POINTS)('it is killed at %s', async (point) => {
    const leader = await cutLeader(point, 'SIGKILL')
    const other = await follower()
    await failOver()
    expect(await leader.ended()).toEqual([null, 'SIGKILL'])
    await makesRight(performance.now())
    await expectNothingFalse(leader, other)
  })

  describe.each(['the other one leads', 'the other one has made it right'] as const)('until %s', (until) => {
    it.each(POINTS)('it stands still from %s on', async (point) => {
      const leader = await cutLeader(point, 'SIGSTOP')
      const other = await follower()
      await failOver()
      await other.says('this instance leads')
      const from = performance.now()
      if (until === 'the other one leads')
        await waitUntil('three intervals', () => performance.now() - from > 3 * INTERVAL_MS)
      else await makesRight(from)
      const before = leader.lines.length
      leader.signal('SIGCONT')
      await leader.says('another instance leads', before)
      await makesRight(from)
      await expectNothingFalse(leader, other)
    })
  })
})
