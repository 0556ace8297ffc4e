import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import type { Diagnosis } from '../../src/model/diagnosis.ts'
import type { Lineage, Observation, Testimony } from '../../src/model/observation.ts'
import {
  installed,
  left,
  lineage,
  mute,
  silent,
  standby,
  surveyOf,
  systemOf,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from '../support/builders.ts'
import { CASES, PROMOTED } from '../support/situations.ts'

const KNOWN = [lineage(0), lineage(1), lineage(2)]
const coordinator = (known: readonly Lineage[] = KNOWN, catalog = TWO_WORKERS) =>
  writable('cn1', 0, { installed: installed({ lineage: known }), catalog })

/** A healthy cluster; what is given replaces the node at its address. */
function seen(nodes: readonly Observation[], heard: readonly Testimony[] = [], known = KNOWN) {
  return surveyOf(
    [
      coordinator(known),
      writable('w1a', 1),
      standby('w1b', 1, 'w1a'),
      writable('w2a', 2),
      standby('w2b', 2, 'w2a'),
      ...nodes,
    ],
    heard,
  )
}

function of(group: number, survey: ReturnType<typeof surveyOf>, claims: Claims = NO_CLAIMS): Diagnosis {
  const found = diagnose(survey, claims).find((diagnosis) => diagnosis.group === group)
  if (!found) throw new Error(`no diagnosis of group ${group}`)
  return found
}

describe('the rule table', () => {
  test('has ids that are unique, and ends with one that always applies', () => {
    const ids = RULES.map((rule) => rule.id)
    expect(ids).toEqual([...new Set(ids)])
    for (const id of ids) expect(id).toMatch(/^D\d{3}$/)
    expect(ids.at(-1)).toBe('D090')
  })

  test('gives one diagnosis for each group of the coordinator’s copy', () => {
    expect(diagnose(seen([]), NO_CLAIMS).map(({ group, rule, standing }) => [group, rule, standing])).toEqual(
      [
        [0, 'D050', 'sound'],
        [1, 'D050', 'sound'],
        [2, 'D050', 'sound'],
      ],
    )
  })

  test('says nothing without a coordinator', () => {
    expect(diagnose(surveyOf([silent('cn1'), PROMOTED]), NO_CLAIMS)).toEqual([])
  })
})

describe('group 1', () => {
  test.each(CASES)('$rule: $name', ({ rule, nodes, heard, known, claims }) => {
    const diagnosis = of(1, seen(nodes, heard, [...(known ?? KNOWN)]), claims)
    expect(`${diagnosis.rule}: ${diagnosis.summary}`).toMatch(rule)
    const declared = RULES.find((each) => each.id === rule)
    expect(diagnosis).toMatchObject({ code: declared?.code, standing: declared?.standing })
    if (diagnosis.standing === 'refused') expect(diagnosis.primary).toBeNull()
    else expect(diagnosis.primary).toMatchObject({ inRecovery: false, systemIdentifier: systemOf(1) })
  })

  test('every rule has a case here', () => {
    const covered = new Set([...CASES.map((each) => each.rule), 'D010', 'D039'])
    expect(RULES.map((rule) => rule.id).filter((id) => !covered.has(id))).toEqual([])
  })

  test('D010: without a primary’s row', () => {
    const catalog = TWO_WORKERS.filter((row) => row.nodeid !== 2)
    const survey = surveyOf([coordinator(KNOWN, catalog), writable('w1a', 1), standby('w1b', 1, 'w1a')])
    expect(of(1, survey)).toMatchObject({ rule: 'D010', standing: 'refused', primary: null })
  })

  test('D039: of two coordinators of one line the one on the higher timeline is the one', () => {
    const known = installed({ lineage: KNOWN })
    const next = writable('cn2', 0, { timeline: 2, history: [left(1, '0/50')], installed: known })
    expect(of(0, seen([next]))).toMatchObject({ rule: 'D039', primary: { address: next.address } })
    // The same number, or another line: nobody leads.
    for (const history of [[], [left(1, '0/50'), left(2, '0/60')]]) {
      const other = writable('cn2', 0, { timeline: history.length ? 3 : 1, history, installed: known })
      const apart = installed({ lineage: [lineage(0, 2, left(1, '0/40')), lineage(1), lineage(2)] })
      const own = history.length ? { ...other, installed: apart } : other
      expect(of(0, surveyOf([coordinator(), own])).standing).toBe('refused')
    }
  })

  test('the other groups are judged by themselves', () => {
    const survey = seen([PROMOTED])
    expect(of(2, survey)).toMatchObject({ rule: 'D050' })
  })

  test('split brain shows both timelines', () => {
    expect(of(1, seen([PROMOTED])).summary).toBe(
      'w1a:5432 on timeline 1 and w1b:5432 on timeline 2 both take writes',
    )
  })

  test('vouching for a node on another line, beside a living primary, warns of both', () => {
    const known = [lineage(1, 2, left(1, '0/99'))]
    const { warnings } = of(1, seen([PROMOTED], [], known), vouching('w1b'))
    expect(warnings.join('\n')).toMatch(/w1a:5432 takes writes as well: what it accepts from now on is lost/)
    expect(warnings.join('\n')).toMatch(/w1b:5432: it is on another timeline 2.*it was vouched for/)
  })
})

describe('secondaries of a group', () => {
  const stateOf = (...nodes: readonly Observation[]) => of(1, seen(nodes)).secondaries[0]?.state

  test.each([
    ['streaming', standby('w1b', 1, 'w1a')],
    ['not-streaming', standby('w1b', 1, null)],
    [
      'not-streaming',
      standby('w1b', 1, 'w1a', {
        receiver: { status: 'streaming', sender: null, heardMsAgo: 1, timeline: 7 },
      }),
    ],
    ['silent', silent('w1b')],
    ['unknown', mute('w1b', 'auth')],
    ['alias', { ...writable('w1b', 1), instance: 'w1a' }],
  ] as const)('%s', (state, node) => {
    expect(stateOf(node)).toBe(state)
  })

  test.each([
    ['down', 'down'],
    ['silent', 'alive'],
    ['silent', 'unknown'],
  ] as const)('%s, where a witness says %s', (state, says) => {
    const survey = seen([silent('w1b')], [testimony('cn1', 'w1b', says)])
    expect(of(1, survey).secondaries[0]?.state).toBe(state)
  })

  test('foreign', () => {
    const survey = seen([standby('w1b', 1, null, { systemIdentifier: '42' })])
    expect(of(1, survey).secondaries).toMatchObject([{ nodeid: 3, state: 'foreign' }])
  })
})
