import { afterAll, beforeAll, expect, it } from 'vitest'
import { openSession, readyForChange, warmUp } from '../../src/apply/participants.ts'
import { Session } from '../../src/db/pg.ts'
import { resolveTarget } from '../../src/db/target.ts'
import type { CopyRole } from '../../src/model/plan.ts'
import { Scenario } from '../support/scenario.ts'

const LIMITS = { lockTimeoutMs: 200, lockAnswerMs: 3000, statementMs: 3000, decisionWaitMs: 3000 }

let scenario: Scenario
beforeAll(async () => {
  scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{}] })
})
afterAll(async () => {
  await scenario?.stop()
})

it.each<[CopyRole | 'old primary', CopyRole | 'old primary', string]>([
  ['coordinator', 'coordinator', 'on'],
  ['old primary', 'coordinator', 'on'],
  ['metadata worker', 'coordinator', 'on'],
  ['coordinator', 'metadata worker', 'local'],
  ['promoted', 'promoted', 'local'],
])(
  'a session that was made ready for a %s and is used for a %s commits as that: %s',
  async (first, then, commit) => {
    const { coordinator, database } = scenario.cluster
    const target = await resolveTarget(coordinator, database, { user: 'postgres' }, { HOME: '/nonexistent' })
    const session = await Session.open(target)
    try {
      await warmUp(session, LIMITS.statementMs)
      await readyForChange(session, first, LIMITS)
      const idleMs = 2 * LIMITS.statementMs
      const used = await openSession(coordinator, then, { open: async () => session, limits: LIMITS, idleMs })
      const [rows] = await used.run('SHOW synchronous_commit', 1000)
      expect(rows).toEqual([{ synchronous_commit: commit }])
    } finally {
      await session.close()
    }
  },
)
