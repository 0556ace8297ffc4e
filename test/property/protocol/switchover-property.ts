import fc from 'fast-check'
import { expect } from 'vitest'
import { HAPPENS } from './meanwhile.ts'
import { SEED } from './seed.ts'
import { POINTS, switchoverSchedule } from './switchover-schedule.ts'
import { runSwitchovers } from './switchovers.ts'

// What a run of any length has to have met, so that it says something: per thousand schedules.
const MET: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Object.keys(HAPPENS).map((what) => [`meanwhile: ${what}`, 4])),
  acknowledged: 10_000,
  'client: 25006': 1000,
  prepare: 4000,
  fault: 300,
  'two at once': 200,
  'switchover switched': 150,
  'switchover blocked': 100,
  'switchover unproved': 4,
  'undone by another': 60,
  'carried on by another': 4,
  'changed by another': 60,
  'command: stop': 100,
  'command: start': 3,
  'command: fails': 4,
  'command: promote': 20,
  'command: hand over': 20,
}

/** Each is rare by itself: of long runs only. `npm test` has one of each apart. */
const DEATHS = Object.fromEntries(POINTS.map((point) => [`dies at ${point}`, 1]))
const LONG = 5000

/** That no random schedule breaks an invariant, and that they have met what they have to meet. */
export async function holdsFor(runs: number): Promise<void> {
  const met = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(switchoverSchedule, async (drawn) => {
      const { tally } = await runSwitchovers(drawn)
      for (const [what, times] of tally) met.set(what, (met.get(what) ?? 0) + times)
    }),
    { numRuns: runs, ...SEED },
  )
  const told = JSON.stringify(Object.fromEntries([...met].sort()))
  if (process.env.CITUS_HA_SCHEDULES) console.log(told)
  for (const [what, least] of Object.entries({ ...MET, ...(runs < LONG ? {} : DEATHS) }))
    expect(met.get(what) ?? 0, `${what} of ${told}`).toBeGreaterThan((least * runs) / 1000)
}
