import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Catalog } from '../../src/model/catalog.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Answered, Observation } from '../../src/model/observation.ts'
import { requireCoordinator } from '../../src/walk/checks.ts'
import { installed, lineage, primaryRow, standby, surveyOf, writable } from '../support/builders.ts'

const OTHER_SYSTEM = '79999999999999999'

/** The coordinator of another cluster at an address of ours. */
const stranger = (at: string, catalog: Catalog = [primaryRow(1, 0, { at })], parts = {}): Answered =>
  writable(at, 0, { systemIdentifier: OTHER_SYSTEM, catalog, ...parts })

/** The cluster of `TWO_WORKERS`, with another server in the place of one of its own. */
function withStranger(foreign: Answered, ...more: readonly Observation[]): Observation[] {
  const knows = { installed: installed({ lineage: [lineage(0), lineage(1), lineage(2)] }) }
  const own = [
    writable('cn1', 0, knows),
    standby('cn2', 0, 'cn1'),
    writable('w1a', 1, { installed: installed({ lineage: [lineage(0)] }) }),
    standby('w1b', 1, 'w1a'),
    writable('w2a', 2, { installed: installed({ lineage: [lineage(0)] }) }),
    standby('w2b', 2, 'w2a'),
  ]
  const at = formatAddress(foreign.address)
  // The first one that was asked, so that nothing rests on the order.
  return [foreign, ...own.filter((node) => formatAddress(node.address) !== at), ...more]
}

describe('the coordinator of another cluster at an address of ours is no member of this cluster', () => {
  it.each([
    ['a worker’s', 'w2a', [2]],
    ['a worker’s standby’s', 'w2b', []],
    ['a standby coordinator’s', 'cn2', []],
  ])('%s: the others go on, and it is named', (_, at, refused) => {
    const survey = surveyOf(withStranger(stranger(at)))
    expect(formatAddress(requireCoordinator(survey).address)).toBe('cn1:5432')
    const diagnoses = diagnose(survey, NO_CLAIMS)
    const standing = diagnoses.filter((each) => each.standing === 'refused').map(({ group }) => group)
    expect(standing).toEqual(refused)
    const said = diagnoses.flatMap(({ summary, warnings }) => [summary, ...warnings])
    expect(said.filter((line) => line.includes(`${at}:5432`) && line.includes(OTHER_SYSTEM))).toHaveLength(1)
  })

  it.each<[string, Answered, ...Answered[]]>([
    // Upgraded, or made from ours: it knows the same workers.
    [
      'whose rows name our workers',
      stranger('cn2', [primaryRow(1, 0, { at: 'cn2' }), primaryRow(2, 1, { at: 'w1a' })]),
    ],
    // Two whole clusters were given.
    [
      'with a standby of its own',
      stranger('cn2'),
      standby('x', 0, 'cn2', { systemIdentifier: OTHER_SYSTEM }),
    ],
  ])('but not one %s: nothing tells which is meant', (_, foreign, ...more) => {
    const survey = surveyOf(withStranger(foreign, ...more))
    expect(() => requireCoordinator(survey)).toThrow('coordinators of two different systems')
  })
})
