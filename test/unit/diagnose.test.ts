import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import type { Diagnosis } from '../../src/model/diagnosis.ts'
import { coordinatorOf } from '../../src/model/kinds.ts'
import type { Lineage, Observation, Position, Testimony } from '../../src/model/observation.ts'
import {
  installed,
  left,
  lineage,
  mute,
  observe,
  silent,
  standby,
  surveyOf,
  systemOf,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from '../support/builders.ts'
import { AROUND, COORDINATORS } from '../support/coordinators.ts'
import { CASES, PROMOTED } from '../support/situations.ts'

const KNOWN = [lineage(0), lineage(1), lineage(2)]
const coordinator = (
  known: readonly Lineage[] = KNOWN,
  catalog = TWO_WORKERS,
  positions: readonly Position[] = [],
) => writable('cn1', 0, { installed: installed({ lineage: known, positions }), catalog })

/** A healthy cluster; what is given replaces the node at its address. */
function seen(
  nodes: readonly Observation[],
  heard: readonly Testimony[] = [],
  known = KNOWN,
  positions: readonly Position[] = [],
) {
  return surveyOf(
    [
      coordinator(known, TWO_WORKERS, positions),
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
  test.each(CASES)('$rule: $name', ({ rule, nodes, heard, known, positions, claims }) => {
    const diagnosis = of(1, seen(nodes, heard, [...(known ?? KNOWN)], positions), claims)
    expect(`${diagnosis.rule}: ${diagnosis.summary}`).toMatch(rule)
    const declared = RULES.find((each) => each.id === rule)
    expect(diagnosis).toMatchObject({ code: declared?.code, standing: declared?.standing })
    if (diagnosis.standing === 'refused' || diagnosis.code === 'disabled')
      expect(diagnosis.primary).toBeNull()
    else expect(diagnosis.primary).toMatchObject({ inRecovery: false, systemIdentifier: systemOf(1) })
  })

  /** As rules that prove a primary, where the name in the row follows it by itself. */
  const FOLLOWING: Readonly<Record<string, string>> = { D039: 'D037', D040: 'D038', D063: 'D065' }
  const proved = CASES.filter(({ rule }) => rule in FOLLOWING)

  test.each(proved)('$rule, and the name in the row follows by itself: $name', (given) => {
    const { rule, nodes, heard, known, positions, claims } = given
    const survey = seen(nodes, heard, [...(known ?? KNOWN)], positions)
    const following = TWO_WORKERS.map((row) => row.address)
    const waits = of(1, survey, { ...NO_CLAIMS, ...claims, following })
    expect(waits).toMatchObject({
      rule: FOLLOWING[rule],
      code: 'name-to-follow',
      standing: 'refused',
      primary: null,
    })
    expect(waits.summary).toContain('follows the primary by itself')
    expect(of(2, survey, { ...NO_CLAIMS, ...claims, following })).toEqual(of(2, survey, claims))
  })

  test('every rule has a case here', () => {
    const of = [...CASES, ...COORDINATORS].map((each) => each.rule)
    const covered = new Set([...of, ...of.map((rule) => FOLLOWING[rule])].concat('D010'))
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
    expect(warnings.join('\n')).toMatch(
      /w1b:5432: it is on a timeline 2 that is not the group’s.*named as promoted/,
    )
  })

  test('vouching beside an old primary that is read-only says that it is', () => {
    const old = writable('w1a', 1, { readOnly: true })
    const survey = surveyOf([coordinator([lineage(1)]), old, PROMOTED, writable('w2a', 2)])
    expect(of(1, survey, vouching('w1b')).warnings.join('\n')).toContain(
      'w1a:5432 is still running, read-only by default',
    )
  })
})

describe('what a promoted member has less than a living standby', () => {
  const W1C = (parts: Parameters<typeof standby>[3]) => standby('w1c', 1, 'w1a', { receiver: null, ...parts })
  const diagnosed = (...more: readonly Observation[]) =>
    of(
      1,
      seen([silent('w1a'), ...more], [testimony('w2a', 'w1a', 'down'), testimony('cn1', 'w1a', 'down')]),
      {
        ...NO_CLAIMS,
        standbys: [{ group: 1, address: { host: 'w1c', port: 5432 } }],
      },
    )

  test.each([
    { lsn: 0x50n + 120n, warned: [] },
    {
      lsn: 0x50n + 121n,
      warned: [expect.stringMatching(/^data may be lost: .* 121 bytes .* a prepared one/)],
    },
  ])('is told where it may be a prepared transaction: up to $lsn', ({ lsn, warned }) => {
    const found = diagnosed({ ...PROMOTED, lastCommit: '7.5' }, W1C({ lastCommit: '7.5', lsn }))
    expect(found).toMatchObject({ standing: 'proved', warnings: warned })
  })

  test('is refused with what a person can do: keep it, or lose it', () => {
    const { summary, evidence } = diagnosed(PROMOTED, W1C({ lsn: 0x60n }))
    expect(summary).toContain('it has timeline 1 up to 0/50; w1c:5432, which is running, has it up to 0/60')
    expect(evidence).toContain(
      'to lose nothing: stop w1b:5432, promote w1c:5432 in its place, and rebuild w1b:5432 from that',
    )
    expect(evidence.at(-1)).toMatch(/--promoted w1b:5432$/)
  })

  test('lasts where both are on one timeline: the one that is ahead has to be rebuilt', () => {
    const back = writable('w1a', 1, { lsn: 0x40n })
    const { rule, evidence } = of(1, seen([back, standby('w1b', 1, null, { lsn: 0x60n })]))
    expect(rule).toBe('D043')
    expect(evidence.at(-1)).toMatch(
      /^w1b:5432 is ahead .* refused again until .* pg_basebackup -h w1a -p 5432 -R/,
    )
  })
})

describe('group 0', () => {
  test.each(COORDINATORS)('$rule: $name', ({ rule, nodes, leads }) => {
    const all = observe(...AROUND.nodes, ...nodes).map((node) =>
      node.kind === 'answered' && node.citus
        ? { ...node, citus: { ...node.citus, catalog: AROUND.catalog } }
        : node,
    )
    expect(coordinatorOf(all)?.address.host).toBe(leads)
    expect(coordinatorOf(all.toReversed())?.instance, 'in whichever order they answer').toBe(leads)
    const diagnosis = of(0, { ...surveyOf(all), testimony: AROUND.heard })
    expect(`${diagnosis.rule}: ${diagnosis.summary}`).toMatch(rule)
    if (diagnosis.standing !== 'refused') expect(diagnosis.primary?.address.host).toBe(leads)
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
