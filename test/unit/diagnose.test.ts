import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import type { Diagnosis } from '../../src/model/diagnosis.ts'
import type { Lineage, Observation, Testimony } from '../../src/model/observation.ts'
import {
  fileStandby,
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

const PROMOTED = writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] })
const NOBODY_REACHES = [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'down')]

describe('the rule table', () => {
  test('has ids that are unique and in order, and ends with one that always applies', () => {
    const ids = RULES.map((rule) => rule.id)
    expect(ids).toEqual([...new Set(ids)].sort())
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

interface Case {
  readonly name: string
  readonly rule: string
  readonly nodes: readonly Observation[]
  readonly heard?: readonly Testimony[]
  readonly known?: readonly Lineage[]
  readonly claims?: Claims
}

// Group 1 of a cluster that is healthy but for the nodes given. A near miss stands below what it misses.
const CASES: readonly Case[] = [
  { name: 'the vouched node does not answer', rule: 'D020', nodes: [silent('w1b')], claims: vouching('w1b') },
  {
    name: 'the vouched node can’t be read',
    rule: 'D020',
    nodes: [mute('w1b', 'auth')],
    claims: vouching('w1b'),
  },
  {
    name: 'another group’s node is vouched for and silent',
    rule: 'D050',
    nodes: [silent('w2b')],
    claims: vouching('w2b'),
  },
  {
    name: 'the vouched node is of another system',
    rule: 'D021',
    nodes: [{ ...PROMOTED, systemIdentifier: '42' }, silent('w1a')],
    heard: NOBODY_REACHES,
    claims: vouching('w1b'),
  },
  {
    name: 'the vouched node says it is of another group',
    rule: 'D021',
    nodes: [writable('w1b', 1, { citus: { localGroup: 2 } }), silent('w1a')],
    claims: vouching('w1b'),
  },
  {
    name: 'the vouched node has no Citus',
    rule: 'D021',
    nodes: [writable('w1b', 1, { citus: null }), silent('w1a')],
    claims: vouching('w1b'),
  },
  {
    name: 'a node of another group is vouched for as of this one',
    rule: 'D021',
    nodes: [writable('w2b', 2)],
    claims: vouching('w2b', 1),
  },
  { name: 'the vouched node is in recovery', rule: 'D022', nodes: [silent('w1a')], claims: vouching('w1b') },
  {
    name: 'the registered address answers as another system',
    rule: 'D030',
    nodes: [writable('w1a', 1, { systemIdentifier: '42' }), PROMOTED],
  },
  {
    name: 'the registered address answers as another group',
    rule: 'D030',
    nodes: [writable('w1a', 1, { citus: { localGroup: 2 } }), PROMOTED],
  },
  {
    name: 'a secondary’s address answers as another system',
    rule: 'D030',
    nodes: [standby('w1b', 1, 'x', { systemIdentifier: '42' })],
  },
  {
    name: 'the same, with the true one vouched for',
    rule: 'D040',
    nodes: [writable('w1a', 1, { systemIdentifier: '42' }), PROMOTED],
    claims: vouching('w1b'),
  },
  {
    name: 'a writable standby is vouched for while the old primary takes writes',
    rule: 'D040',
    nodes: [PROMOTED],
    claims: vouching('w1b'),
  },
  {
    name: 'a vouched node on another line',
    rule: 'D040',
    nodes: [writable('w1b', 1, { timeline: 1 }), silent('w1a')],
    known: [lineage(1, 3, left(1, '0/10'), left(2, '0/20'))],
    claims: vouching('w1b'),
  },
  {
    name: 'the registered primary itself is vouched for',
    rule: 'D050',
    nodes: [PROMOTED],
    claims: vouching('w1a'),
  },
  { name: 'old and new take writes', rule: 'D041', nodes: [PROMOTED] },
  {
    name: 'two standbys were promoted, to one timeline number',
    rule: 'D041',
    nodes: [silent('w1a'), PROMOTED, writable('w1c', 1, { timeline: 2, history: [left(1, '0/49')] })],
    heard: NOBODY_REACHES,
  },
  {
    name: 'the registered primary was restored to an old timeline',
    rule: 'D042',
    nodes: [],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  {
    name: 'the registered primary is on another timeline of the same number',
    rule: 'D042',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/60')] })],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  { name: 'everything is well', rule: 'D050', nodes: [] },
  { name: 'a secondary is down', rule: 'D050', nodes: [silent('w1b')] },
  {
    name: 'the primary was restarted and made a new timeline',
    rule: 'D050',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] })],
  },
  {
    name: 'first run: one standby, promoted, alone',
    rule: 'D060',
    nodes: [silent('w1a'), PROMOTED],
    heard: NOBODY_REACHES,
    known: [],
  },
  {
    name: 'first run: two members agree',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED, standby('w1c', 1, 'w1b', { timeline: 2 })],
    heard: NOBODY_REACHES,
    known: [],
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'first run: two members of different systems',
    rule: 'D060',
    nodes: [silent('w1a'), PROMOTED, standby('w1c', 1, null, { systemIdentifier: '42' })],
    heard: NOBODY_REACHES,
    known: [],
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'first run: vouched for, and its metadata names this cluster',
    rule: 'D040',
    nodes: [silent('w1a'), PROMOTED],
    known: [],
    claims: vouching('w1b'),
  },
  {
    name: 'first run: vouched for, but its metadata is another cluster’s',
    rule: 'D060',
    nodes: [silent('w1a'), writable('w1b', 1, { catalog: [], timeline: 2, history: [left(1, '0/50')] })],
    heard: NOBODY_REACHES,
    known: [],
    claims: vouching('w1b'),
  },
  {
    name: 'first run: the old primary is back as a standby',
    rule: 'D063',
    nodes: [standby('w1a', 1, 'w1b', { timeline: 2 }), PROMOTED],
    known: [],
  },
  {
    name: 'a restored standby takes writes',
    rule: 'D061',
    nodes: [silent('w1a'), writable('w1b', 1, { timeline: 2, history: [left(1, '0/40')] })],
    heard: NOBODY_REACHES,
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  {
    name: 'the route to a living primary is lost',
    rule: 'D062',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'alive')],
  },
  {
    name: 'the same with nothing promoted',
    rule: 'D062',
    nodes: [silent('w1a')],
    heard: [testimony('w2a', 'w1a', 'alive')],
  },
  {
    name: 'the old primary is dead, the standby promoted',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED],
    heard: NOBODY_REACHES,
  },
  {
    name: 'one witness beside ourselves',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'down')],
  },
  { name: 'nobody beside ourselves', rule: 'D090', nodes: [silent('w1a'), PROMOTED] },
  {
    name: 'witnesses that know nothing',
    rule: 'D090',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'unknown'), testimony('w2a', 'w1a', 'unknown')],
  },
  {
    name: 'an unregistered standby of the file was promoted',
    rule: 'D063',
    nodes: [silent('w1a'), writable('w1c', 1, { timeline: 2, history: [left(1, '0/50')] })],
    heard: NOBODY_REACHES,
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'the old primary follows the new one',
    rule: 'D063',
    nodes: [standby('w1a', 1, 'w1b', { timeline: 2 }), PROMOTED],
  },
  { name: 'everybody is in recovery', rule: 'D070', nodes: [standby('w1a', 1, null)] },
  {
    name: 'the primary is dead, nothing promoted',
    rule: 'D071',
    nodes: [silent('w1a'), standby('w1b', 1, null)],
    heard: NOBODY_REACHES,
  },
  { name: 'only we think so', rule: 'D090', nodes: [silent('w1a'), standby('w1b', 1, null)] },
  ...(['auth', 'tls', 'starting', 'too-many-connections', 'privilege'] as const).map(
    (cause): Case => ({
      name: `the registered primary says ${cause}: it lives`,
      rule: 'D090',
      nodes: [mute('w1a', cause), PROMOTED],
      heard: NOBODY_REACHES,
    }),
  ),
]

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
    const covered = new Set([...CASES.map((each) => each.rule), 'D010'])
    expect(RULES.map((rule) => rule.id).filter((id) => !covered.has(id))).toEqual([])
  })

  test('D010: without a primary’s row', () => {
    const catalog = TWO_WORKERS.filter((row) => row.nodeid !== 2)
    const survey = surveyOf([coordinator(KNOWN, catalog), writable('w1a', 1), standby('w1b', 1, 'w1a')])
    expect(of(1, survey)).toMatchObject({ rule: 'D010', standing: 'refused', primary: null })
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
    ['down', silent('w1b')],
    ['unknown', mute('w1b', 'auth')],
    ['alias', { ...writable('w1b', 1), instance: 'w1a' }],
  ] as const)('%s', (state, node) => {
    expect(stateOf(node)).toBe(state)
  })

  test('foreign', () => {
    const survey = seen([standby('w1b', 1, null, { systemIdentifier: '42' })])
    expect(of(1, survey).secondaries).toMatchObject([{ nodeid: 3, state: 'foreign' }])
  })
})
