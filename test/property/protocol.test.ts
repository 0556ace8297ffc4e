import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { giveTimeBack, takeOverTime } from './protocol/clock.ts'
import { QUIET } from './protocol/given.ts'
import { holdsFor } from './protocol/protocol-property.ts'
import { run } from './protocol/run.ts'
import type { Schedule } from './protocol/schedule.ts'

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

/** Schedules that broke an invariant once, and what became of them. */
const KNOWN: readonly { readonly was: string; readonly schedule: Partial<Schedule> }[] = [
  {
    was: 'a backup of the coordinator, written down while the one worker that knew more was cut off, was believed ever after',
    schedule: {
      seed: 64_177,
      standbys: [0, [1]],
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
        { on: 'statement', at: 7, what: 'a backup, known to the archive', whom: 0, ms: 30 },
        { on: 'statement', at: 0, what: 'cut from us', whom: 3, ms: 30 },
      ],
    },
  },
  {
    was: 'a backup at the registered primary’s address was taken for it, on a line that had left the group’s before a living standby',
    schedule: {
      seed: 65_523,
      standbys: [0, [2]],
      events: [
        { what: 'promotion', group: 3, standby: 0, old: 'follows' },
        { what: 'a backup', group: 3, standby: 0, old: 'dead' },
      ],
      faults: [{ on: 'statement', at: 0, what: 'request lost', whom: 0, ms: 30 }],
    },
  },
  {
    was: 'a standby whose receiver had not noticed that its connection was dead did not speak against a snapshot of its primary',
    schedule: {
      seed: 26_483,
      standbys: [1, [1]],
      events: [{ what: 'promotion', group: 3, standby: 0, old: 'dead' }],
      rival: 0,
      faults: [
        { on: 'statement', at: 2, what: 'a disk snapshot', whom: 0, ms: 30 },
        { on: 'statement', at: 0, what: 'cut from peers', whom: 0, ms: 700 },
        { on: 'statement', at: 2, what: 'request lost', whom: 0, ms: 30 },
      ],
    },
  },
]

describe('the real walk over simulated servers, in virtual time', () => {
  beforeAll(takeOverTime)
  afterAll(giveTimeBack)

  test.each(KNOWN)('known: $was', async (known) => {
    const { world } = await run({ ...QUIET, ...known.schedule })
    const backups = ['a backup', 'a backup, known to the archive', 'a disk snapshot'].map(
      (what) => world.tally.get(what) ?? 0,
    )
    expect(Math.max(...backups)).toBeGreaterThan(0)
    expect(world.tally.get('fault')).toBe(known.schedule.faults?.length)
  })

  test('breaks no invariant at any statement, and converges once faults stop', {
    timeout: 900_000,
  }, async () => {
    await holdsFor(RUNS)
  })
})
