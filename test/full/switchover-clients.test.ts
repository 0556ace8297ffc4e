import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { addNotes, KINDS } from '../support/swap-clients.ts'
import { Switching } from '../support/switching.ts'

const LONG_MS = 300_000

/** A server is swapped as a whole: every client of the old primary counts, in any database, by whatever name. */
describe.skipIf(standin)('clients of an old primary', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({ coordinatorStandbys: [], before: addNotes })
  }, LONG_MS)
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it.each(KINDS)(
    '$says: $outcome',
    async ({ begin, outcome, named }) => {
      const { finish, database } = await begin(switching)
      if (outcome === 'refused') {
        const { exitCode, report } = await switching.switchover('--group', '1')
        const late = exitCode === 3 ? [] : await finish()
        expect(await missing(late, database)).toEqual([])
        expect(exitCode, JSON.stringify(report)).toBe(3)
        expect(report.refusals.join('\n')).toMatch(named)
        return await switching.expectUntouched()
      }
      if (outcome === 'waited for') {
        const { exitCode, report } = await switching.switchover('--group', '1', '--total-limit', '1s')
        const late = exitCode === 4 ? [] : await finish()
        expect(await missing(late, database)).toEqual([])
        expect(exitCode, JSON.stringify(report)).toBe(4)
        expect(JSON.stringify(report.waitedFor)).toMatch(named)
        await switching.expectUntouched()
      }
      const { exitCode, report, stderr } = await switching.switchover(
        '--group',
        '1',
        '--force-after',
        '300ms',
      )
      expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
      const late = await finish()
      expect(await missing(late, database)).toEqual([])
      const told = outcome === 'ended' ? report.cutOff : report.ended
      expect(JSON.stringify(told)).toMatch(named)
    },
    LONG_MS,
  )

  /** What was acknowledged, and the new primary does not have. */
  async function missing(ids: readonly number[], database: string): Promise<number[]> {
    const name = (await switching.server('worker-1-standby').isInRecovery()) ? 'worker-1' : 'worker-1-standby'
    const rows = await switching.server(name).query<{ id: number }>('SELECT id FROM notes', [], { database })
    const there = rows.map(({ id }) => id)
    return ids.filter((id) => !there.includes(id))
  }
})
