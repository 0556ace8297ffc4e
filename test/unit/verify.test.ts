import { expect, it } from 'vitest'
import { expectations, verify } from '../../src/apply/verify.ts'
import type { Catalog } from '../../src/model/catalog.ts'
import type { Observation } from '../../src/model/observation.ts'
import { silent, surveyOf } from '../support/builders.ts'
import { SOUND, viewOf } from '../support/watch-state.ts'

const VIEW = viewOf(surveyOf(SOUND))
const [COORDINATOR] = SOUND
if (COORDINATOR?.kind !== 'answered') throw new Error('the first is the coordinator')
const RIGHT: Catalog = COORDINATOR.citus?.catalog ?? []
const OLD: Catalog = RIGHT.map((row, n) =>
  n === 0 ? { ...row, address: { host: 'gone', port: 5432 } } : row,
)

/** What the coordinator says, asked for its rows and asked for everything. */
it.each<[string, Catalog | Observation | null, Observation, string, boolean]>([
  ['rows that are right are enough', RIGHT, silent('cn1'), 'right', false],
  ['rows that are not right are looked at as a whole', OLD, COORDINATOR, 'right', true],
  ['what gives no rows is looked at as a whole', null, COORDINATOR, 'right', true],
  ['one that is silent is not asked again', silent('cn1'), COORDINATOR, 'unreachable', false],
  [
    'one that refuses is',
    { kind: 'unreadable', address: COORDINATOR.address, cause: 'privilege', detail: 'no' },
    COORDINATOR,
    'right',
    true,
  ],
])('%s', async (_, rows, node, state, isProbed) => {
  let probed = false
  const [coordinator] = expectations(VIEW.survey, { ...VIEW.plan, copies: [] }, VIEW.diagnoses)
  if (!coordinator) throw new Error('a copy to look at')
  const one = { ...coordinator, expected: RIGHT, seen: COORDINATOR, upstream: null, follows: true }
  const [report] = await verify([one], {
    truth: null,
    rows: async () => rows,
    probe: async () => {
      probed = true
      return node
    },
    held: async () => null,
    resolve: async () => undefined,
    patienceMs: 0,
    decidedAt: performance.now(),
    signal: new AbortController().signal,
  })
  expect(report?.state).toBe(state)
  expect(probed).toBe(isProbed)
})
