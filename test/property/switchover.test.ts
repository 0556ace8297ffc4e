import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { giveTimeBack, takeOverTime } from './protocol/clock.ts'
import { holdsFor } from './protocol/switchover-property.ts'
import { POINTS, type SwitchoverSchedule } from './protocol/switchover-schedule.ts'
import { runSwitchovers } from './protocol/switchovers.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('./protocol/clock.ts')
  return { setTimeout: pause }
})
vi.mock('node:child_process', async () => {
  const { spawn } = await import('./protocol/shell.ts')
  return { spawn }
})
vi.mock('node:crypto', async (original) => {
  const { uniqueBytes } = await import('./protocol/clock.ts')
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: uniqueBytes }
})

// test/full has 10,000.
const RUNS = Number(process.env.CITUS_HA_SCHEDULES ?? 500)

const QUIET: SwitchoverSchedule = {
  seed: 0,
  standbys: [0, [1]],
  slowReplay: false,
  clients: 1,
  orders: [],
  reconciles: [],
  faults: [],
  synchronous: false,
  stops: ['no', 'no'],
  promotes: [null, null],
}
const order = (
  parts: Partial<SwitchoverSchedule['orders'][number]>,
): SwitchoverSchedule['orders'][number] => {
  return { at: 0, groups: [0], to: null, dies: null, meanwhile: null, ...parts }
}

/** Schedules that broke an invariant once: what became of them. `groups` are counted among those that have a standby. */
const KNOWN: readonly { readonly was: string; readonly schedule: Partial<SwitchoverSchedule> }[] = [
  {
    was: 'two at once, to different standbys: the later one promoted its own beside the new primary, and lost what that had',
    schedule: { standbys: [0, [2]], orders: [order({}), order({ to: 1 })] },
  },
  {
    was: 'two at once, to the same standby: the later one took the other’s promotion for its own, and left an intent',
    schedule: { orders: [order({}), order({ at: 20 })] },
  },
  {
    was: 'the coordinator and a worker at once: the later one went on at the old coordinator',
    schedule: { standbys: [1, [1]], orders: [order({}), order({ at: 200, groups: [1] })] },
  },
  {
    was: 'a worker’s died while the coordinator’s waited for the lock: that one went on over what had been left',
    schedule: {
      standbys: [1, [1]],
      orders: [order({}), order({ groups: [1], dies: { at: 'locked', how: 'killed' } })],
    },
  },
]

/** As above, of a single run, beside which others promote. */
const OVERTAKEN: readonly { readonly was: string; readonly schedule: Partial<SwitchoverSchedule> }[] = [
  {
    was: 'the old primary came back as a standby of another: its record of the switchover could not be forgotten there',
    schedule: {
      standbys: [0, [2]],
      orders: [
        order({
          to: 0,
          meanwhile: { at: 'intend', what: 'others promote another' },
          dies: { at: 'intend', how: 'killed' },
        }),
      ],
    },
  },
  {
    was: 'another was promoted after the target had been asked: the target was promoted as well, beside it',
    schedule: {
      standbys: [0, [2]],
      orders: [
        order({
          to: 0,
          meanwhile: { at: 'promoting', what: 'others promote another' },
          dies: { at: 'promoting', how: 'killed' },
        }),
      ],
    },
  },
  {
    was: 'another was promoted once the target was: it was told that the target is the primary',
    schedule: {
      standbys: [0, [2]],
      orders: [order({ to: 0, meanwhile: { at: 'promoted', what: 'others promote another' } })],
    },
  },
]

describe('real switchovers over simulated servers, in virtual time', () => {
  beforeAll(takeOverTime)
  afterAll(giveTimeBack)

  test.each(KNOWN)('known: $was', async ({ schedule }) => {
    const { tally } = await runSwitchovers({ ...QUIET, ...schedule })
    expect(tally.get('acknowledged') ?? 0).toBeGreaterThan(0)
    expect(tally.get('two at once') ?? 0).toBeGreaterThan(0)
    expect(tally.get('switchover unproved')).toBeUndefined()
  })

  test.each(OVERTAKEN)('known: $was', async ({ schedule }) => {
    const { tally } = await runSwitchovers({ ...QUIET, seed: 1, ...schedule })
    expect(tally.get('meanwhile: others promote another')).toBe(1)
    expect(tally.get('switchover switched')).toBeUndefined()
  })

  // g0b, which takes over while the worker's promotion is under way, has not replayed that it was to be asked for.
  test.each([0, 2, 4])(
    'known: a coordinator that was told late had its older word believed before the old primary’s own (%i messages after the last look)',
    async (at) => {
      const { tally } = await runSwitchovers({
        ...QUIET,
        seed: 3,
        standbys: [1, [2, 1]],
        slowReplay: true,
        orders: [order({ groups: [2] })],
        reconciles: [300],
        faults: [{ on: 'statement', since: 'promoting', at, what: 'promote', whom: 1, ms: 30 }],
      })
      expect(tally.get('fault')).toBe(1)
      expect(tally.get('switchover switched')).toBe(1)
    },
  )

  // A worker dies while what was written is replayed for the last time: all is undone. g0b, which takes over, has not replayed that.
  test.each([
    [1, 3, 12],
    [1, 6, 12],
    [3, 4, 12],
    [3, 6, 14],
  ])(
    'known: a coordinator that was not told of an undo had the target promoted, beside the old primary (%i, %i, %i)',
    async (seed, crash, promote) => {
      const { tally } = await runSwitchovers({
        ...QUIET,
        seed,
        standbys: [1, [1, 1]],
        slowReplay: true,
        orders: [order({ groups: [1] })],
        faults: [
          { on: 'statement', since: 'replay', at: crash, what: 'crash', whom: 4, ms: 700 },
          { on: 'statement', since: 'replay', at: promote, what: 'promote', whom: 1, ms: 30 },
        ],
      })
      expect(tally.get('fault')).toBe(2)
      expect(tally.get('undone by another')).toBe(1)
    },
  )

  test('known: the old primary, a standby by now, was promoted again during the change: it was retired on a new session', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      standbys: [1, [1, 1, 2]],
      clients: 4,
      orders: [order({ at: 900 }), order({})],
      faults: [{ on: 'probe', at: 53, what: 'promote', whom: 0, ms: 30 }],
      promotes: [null, 'hand over'],
    })
    expect(tally.get('fault')).toBe(1)
    expect(tally.get('switchover unproved')).toBe(1)
  })

  test('known: others promoted another in the moment of ours, which took a bit of its line: what that one writes then is theirs', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 24_573,
      standbys: [0, [2, 1]],
      orders: [order({ at: 200, meanwhile: { at: 'promoting', what: 'others promote another' } })],
      stops: ['for good', 'no'],
      promotes: ['hand over', null],
    })
    expect(tally.get('meanwhile: others promote another')).toBe(1)
    expect(tally.get('lost by others')).toBeGreaterThan(0)
  })

  test('known: the old coordinator is handed over to, takes over again, and takes writes: nobody is held by what it had written down', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 2,
      standbys: [1, [1]],
      orders: [
        order({ at: 900, meanwhile: { at: 'locked', what: 'the coordinator fails over' } }),
        order({}),
      ],
      promotes: ['hand over', 'hand over'],
    })
    expect(tally.get('meanwhile: the coordinator fails over')).toBe(1)
    expect(tally.get('switchover unproved')).toBe(1)
  })

  test('known: the new coordinator is not heard while its change is made: the old one decides nothing', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 33_372,
      standbys: [1, [1, 2, 1]],
      slowReplay: false,
      clients: 4,
      orders: [order({ groups: [1] }), order({ at: 200, groups: [2, 0] })],
      reconciles: [],
      faults: [
        { on: 'probe', at: 45, what: 'request lost', whom: 0, ms: 30 },
        { on: 'statement', at: 0, what: 'cut from us, none asked', whom: 6, ms: 6000 },
      ],
    })
    expect(tally.get('fault')).toBe(2)
  })

  test('known: the coordinator dies at each try of the change: what the old primary writes meanwhile speaks against nobody', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 1,
      standbys: [1, [1, 2, 1]],
      clients: 2,
      orders: [
        order({ groups: [2], to: 0, meanwhile: { at: 'all-prepared', what: 'the coordinator dies' } }),
        order({}),
      ],
      reconciles: [100],
    })
    expect(tally.get('meanwhile: the coordinator dies') ?? 0).toBeGreaterThan(1)
    expect(tally.get('switchover unproved')).toBe(1)
  })

  test('known: a client waits on the old primary for the standby that is the primary now: the change that is left is made', async () => {
    let ended = 0
    // Whether a client waits just then depends on the seed.
    for (let seed = 0; seed < 20; seed++) {
      const { tally } = await runSwitchovers({
        ...QUIET,
        seed,
        slowReplay: true,
        synchronous: true,
        orders: [order({ dies: { at: 'promoted', how: 'killed' } })],
      })
      expect(tally.get('dies at promoted')).toBe(1)
      ended += tally.get('ended in the way') ?? 0
    }
    expect(ended).toBeGreaterThan(0)
  })

  // The old primary's word is the one that counts: a person who goes by the coordinator's would have promoted beside it.
  test('known: the coordinator could not be told that it is undone: the old primary is not told otherwise', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      slowReplay: true,
      orders: [order({})],
      promotes: ['hand over', null],
      faults: [
        { on: 'statement', since: 'replay', at: 2, what: 'cut from peers', whom: 4, ms: 6000 },
        { on: 'statement', since: 'replay', at: 10, what: 'crash', whom: 0, ms: 20_000 },
      ],
    })
    expect(tally.get('fault')).toBe(2)
    expect(tally.get('switchover unproved')).toBe(1)
    expect(tally.get('promoted by hand')).toBe(1)
  })

  test('known: others promoted the target of one that died before its promotion: nobody says that the switchover has done so', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      orders: [
        order({
          meanwhile: { at: 'quiesce', what: 'others promote the target' },
          dies: { at: 'quiesce', how: 'killed' },
        }),
      ],
    })
    expect(tally.get('promoted before its time')).toBe(1)
    expect(tally.get('changed by another')).toBeUndefined()
  })

  test('known: an undo was on its way when its maker died by whose word the target was to be promoted: it arrives before a person acts', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 28_539,
      standbys: [0, [1, 2, 2]],
      clients: 2,
      orders: [order({ at: 400 })],
      faults: [{ on: 'statement', since: 'promoting', at: 6, what: 'kill in flight', whom: 0, ms: 30 }],
      stops: ['for good', 'no'],
      promotes: ['promote', null],
    })
    expect(tally.get('fault')).toBe(1)
    expect(tally.get('undone by another')).toBe(1)
  })

  test('known: others had promoted one, a switchover another: the first of the three comes back as a standby', async () => {
    const { tally } = await runSwitchovers({
      ...QUIET,
      seed: 2,
      standbys: [0, [2]],
      orders: [
        order({ at: 900 }),
        order({ to: 0, meanwhile: { at: 'connect', what: 'others promote the target' } }),
      ],
      reconciles: [600],
    })
    expect(tally.get('switchover switched')).toBe(1)
  })

  test.each(POINTS.flatMap((at) => (['killed', 'frozen'] as const).map((how) => ({ at, how }))))(
    '$how at $at, everything is in order after one reconcile',
    async (dies) => {
      const { tally } = await runSwitchovers({ ...QUIET, clients: 4, orders: [order({ dies })] })
      expect(tally.get(`dies at ${dies.at}`)).toBe(1)
    },
  )

  test('lose no acknowledged write, tell the truth, and whatever dies, one reconcile puts all in order', {
    timeout: 600_000,
  }, async () => {
    await holdsFor(RUNS)
  })
})
