import fc from 'fast-check'
import { expect } from 'vitest'
import { run } from './run.ts'
import { schedule } from './schedule.ts'
import { SEED } from './seed.ts'

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

/** That no random schedule breaks an invariant, and that they have met what they have to meet. */
export async function holdsFor(runs: number): Promise<void> {
  const met = new Map<string, number>()
  const add = (what: string, times: number) => met.set(what, (met.get(what) ?? 0) + times)
  await fc.assert(
    fc.asyncProperty(schedule, async (drawn) => {
      const { world, walks } = await run(drawn)
      for (const [what, times] of world.tally) add(what, times)
      add('decided', world.leading()?.durable.changes.length ?? 0)
      add(`walks until right: ${walks}`, 1)
    }),
    { numRuns: runs, ...SEED },
  )
  const told = JSON.stringify(Object.fromEntries([...met].sort()))
  if (process.env.CITUS_HA_SCHEDULES) console.log(told)
  for (const [what, least] of Object.entries(MET))
    expect(met.get(what) ?? 0, `${what} of ${told}`).toBeGreaterThan((least * runs) / 1000)
}
