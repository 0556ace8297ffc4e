import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { giveTimeBack, takeOverTime } from './protocol/clock.ts'
import { run } from './protocol/run.ts'
import { type Schedule, schedule } from './protocol/schedule.ts'
import { SEED } from './protocol/seed.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('./protocol/clock.ts')
  return { setTimeout: pause }
})
vi.mock('node:crypto', async (original) => {
  const { uniqueBytes } = await import('./protocol/clock.ts')
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: uniqueBytes }
})

// test/full has 10,000.
const RUNS = Number(process.env.CITUS_HA_SCHEDULES ?? 2_000)

// What a run of any length has to have met, so that it says something: per thousand schedules.
const MET = {
  fault: 500,
  decided: 200,
  commit: 500,
  'roll back': 10,
  prepare: 500,
  unproved: 10,
  refused: 100,
  'a backup': 100,
  'a backup, known to the archive': 100,
  'a disk snapshot': 100,
  twins: 100,
  'one comes back': 100,
  'written down by a change': 800,
  'written down as it is': 3000,
  'written down by a person': 150,
  'ended with 0': 500,
}

const QUIET: Schedule = {
  seed: 0,
  standbys: [0, [1]],
  synchronous: false,
  slowReplay: false,
  recorded: true,
  before: 'nothing',
  events: [],
  rival: null,
  vouched: null,
  faults: [],
}

/** Schedules that broke an invariant once, and what became of them. */
const KNOWN: readonly { readonly was: string; readonly schedule: Partial<Schedule> }[] = [
  {
    was: 'a backup of the coordinator, written down while the one worker that knew more was cut off, was believed ever after',
    schedule: {
      seed: 64_177,
      before: 'a failover of the coordinator',
      events: [{ what: 'a backup, known to the archive', group: 0, standby: 0, old: 'dead' }],
      rival: 0,
      faults: [
        { on: 'statement', at: 0, what: 'crash', whom: 2, ms: 30 },
        { on: 'statement', at: 0, what: 'cut from us, none asked', whom: 1, ms: 30 },
      ],
    },
  },
  {
    was: 'a person could vouch for coordinator and worker by turns for ever: what the worker had on record spoke against the one',
    schedule: {
      standbys: [1, [2]],
      before: 'a failover of a worker',
      events: [
        { what: 'a disk snapshot', group: 1, standby: 0, old: 'dead' },
        { what: 'one comes back', group: 3, standby: 0, old: 'dead' },
        { what: 'a backup, known to the archive', group: 0, standby: 0, old: 'follows' },
      ],
      vouched: 2,
      faults: [
        { on: 'statement', at: 12, what: 'a backup, known to the archive', whom: 0, ms: 30 },
        { on: 'statement', at: 0, what: 'cut from us', whom: 3, ms: 30 },
      ],
    },
  },
]

describe('the real walk over simulated servers, in virtual time', () => {
  beforeAll(takeOverTime)
  afterAll(giveTimeBack)

  test.each(KNOWN)('known: $was', async (known) => {
    const { world } = await run({ ...QUIET, ...known.schedule })
    expect(world.tally.get('a backup, known to the archive')).toBeGreaterThan(0)
    expect(world.tally.get('fault')).toBe(2)
  })

  test('breaks no invariant at any statement, and converges once faults stop', {
    timeout: 900_000,
  }, async () => {
    const met = new Map<string, number>()
    const add = (what: string, times: number) => met.set(what, (met.get(what) ?? 0) + times)
    await fc.assert(
      fc.asyncProperty(schedule, async (drawn) => {
        const { world, walks } = await run(drawn)
        for (const [what, times] of world.tally) add(what, times)
        add('decided', world.leading()?.durable.changes.length ?? 0)
        add(`walks until right: ${walks}`, 1)
      }),
      { numRuns: RUNS, ...SEED },
    )
    const told = JSON.stringify(Object.fromEntries([...met].sort()))
    if (process.env.CITUS_HA_SCHEDULES) console.log(told)
    for (const [what, least] of Object.entries(MET))
      expect(met.get(what) ?? 0, `${what} of ${told}`).toBeGreaterThan((least * RUNS) / 1000)
  })
})
