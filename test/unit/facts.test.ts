import { describe, expect, test } from 'vitest'
import { factsOf, groupOfVouched, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { descent } from '../../src/diagnose/timelines.ts'
import { witnesses } from '../../src/diagnose/witnesses.ts'
import type { Observation, TimelineSwitch } from '../../src/model/observation.ts'
import { ReceiverHistory } from '../../src/observe/receiver-history.ts'
import { heardFrom } from '../../src/observe/receivers.ts'
import {
  address,
  fileStandby,
  installed,
  left,
  lineage,
  mute,
  primaryRow,
  receiver,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  systemOf,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from '../support/builders.ts'

describe('descent', () => {
  const at = (timeline: number | null, history: readonly TimelineSwitch[] | null) =>
    writable('w1b', 1, { timeline, history })
  const one = left(1, '0/10')
  const two = left(2, '0/20')

  test.each([
    ['the same', at(2, [one]), lineage(1, 2, one), 'line'],
    ['the same, first of all', at(1, []), lineage(1, 1), 'line'],
    ['a child', at(3, [one, two]), lineage(1, 2, one), 'line'],
    ['a grandchild', at(4, [one, two, left(3, '0/30')]), lineage(1, 2, one), 'line'],
    ['a child of the first', at(2, [one]), lineage(1, 1), 'line'],
    ['older', at(1, []), lineage(1, 2, one), 'another line'],
    ['the number of another promotion', at(2, [left(1, '0/11')]), lineage(1, 2, one), 'another line'],
    ['the number, nothing of its history', at(2, []), lineage(1, 2, one), 'another line'],
    ['a child of another of that number', at(3, [left(1, '0/11'), two]), lineage(1, 2, one), 'another line'],
    ['newer, but passed by', at(4, [one, left(3, '0/30')]), lineage(1, 2, one), 'another line'],
    ['newer, left its parent earlier', at(3, [left(1, '0/20')]), lineage(1, 2, one), 'another line'],
    ['unreadable', at(null, null), lineage(1, 1), 'another line'],
  ] as const)('%s', (_, node, recorded, of) => {
    expect(descent(node, recorded).of).toBe(of)
  })

  test('says so where the history could not be compared', () => {
    expect(descent(at(3, null), lineage(1, 2, one))).toMatchObject({ of: 'line', note: expect.any(String) })
  })
})

describe('what WAL receivers say of a silent primary', () => {
  const heard = (node: ReturnType<typeof standby>, ...others: ReturnType<typeof standby>[]) =>
    heardFrom([silent('w1a'), node, ...others], TWO_WORKERS, TWO_WORKERS[1] ?? expect.fail(), 5000)[0]?.says

  test.each([
    ['alive', standby('w1b', 1, 'w1a')],
    ['alive', standby('w1b', 1, '10.0.0.1')],
    ['unknown', standby('w1b', 1, null)],
    ['unknown', standby('w1b', 1, 'w1a', { receiver: receiver('w1a', { heardMsAgo: 5001 }) })],
    ['unknown', standby('w1b', 1, 'w1a', { receiver: receiver('w1a', { heardMsAgo: null }) })],
    [undefined, standby('w1b', 1, null, { readsStatistics: false })],
    [undefined, standby('w2b', 2, null)],
    [undefined, writable('w1b', 1)],
  ] as const)('%s', (says, node) => {
    expect(heard(node)).toBe(says)
  })

  describe('and what is remembered of them', () => {
    const SECOND = 1000
    const streams = standby('w1b', 1, 'w1a')
    const gone = standby('w1b', 1, null)
    const well = writable('w1a', 1)
    /** Surveys, a second apart: what was seen of the standby and of its primary; nothing: neither was asked. */
    const after = (...surveys: (readonly Observation[])[]) => {
      const history = new ReceiverHistory()
      const primary = TWO_WORKERS[1] ?? expect.fail()
      let last: string | undefined
      surveys.forEach((nodes, n) => {
        history.note(nodes, TWO_WORKERS, 5000, n * SECOND)
        last = heardFrom(nodes, TWO_WORKERS, primary, 5000, history, n * SECOND)[0]?.saw
      })
      return last
    }
    const times = (n: number, ...nodes: Observation[]) => Array.from({ length: n }, () => nodes)
    const lost = silent('w1a')

    test.each<[string, string, (readonly Observation[])[]]>([
      ['receiver-ended', 'longer than a message proves life', [[streams, well], ...times(7, gone, lost)]],
      [
        'receiver-absent',
        'a moment only: it is connecting again',
        [[streams, well], ...times(5, gone, lost)],
      ],
      [
        'receiver-ended',
        'it lasted longer than our own view',
        [[streams, well], [streams, lost], ...times(7, gone, lost)],
      ],
      ['receiver-absent', 'it was never there', [[gone, well], ...times(7, gone, lost)]],
      ['receiver-absent', 'we begin in the middle', times(9, gone, lost)],
      [
        'receiver-absent',
        'it went while the primary answered',
        [[streams, well], [gone, well], ...times(7, gone, lost)],
      ],
      [
        'receiver-absent',
        'it went while the primary was ailing',
        [[streams, well], [gone, mute('w1a', 'auth')], ...times(7, gone, lost)],
      ],
      ['receiver-absent', 'from another node', [[standby('w1b', 1, 'w1x'), well], ...times(7, gone, lost)]],
      [
        'receiver-absent',
        'it was deaf all the time',
        [
          [standby('w1b', 1, 'w1a', { receiver: receiver('w1a', { heardMsAgo: 9000 }) }), well],
          ...times(7, gone, lost),
        ],
      ],
      [
        'receiver-absent',
        'the standby was restarted',
        [[streams, well], ...times(7, { ...gone, instance: 'anew' }, lost)],
      ],
      [
        'receiver-absent',
        'its configuration was read again',
        [[streams, well], ...times(7, { ...gone, configured: '2' }, lost)],
      ],
      [
        'receiver-absent',
        'the standby was away meanwhile',
        [[streams, well], [silent('w1b'), lost], ...times(7, gone, lost)],
      ],
      [
        'receiver-elsewhere',
        'it follows the promoted one',
        [[streams, well], ...times(7, standby('w1b', 1, 'w1c'), writable('w1c', 1), lost)],
      ],
    ])('%s: %s', (saw, _, surveys) => {
      expect(after(...surveys)).toBe(saw)
    })
  })

  test('a cascade says nothing of it', () => {
    expect(heard(standby('w1c', 1, 'w1b'), standby('w1b', 1, null))).toBe('unknown')
  })
})

describe('witnesses', () => {
  const facts = (
    registered: Parameters<typeof surveyOf>[0][number],
    ...heard: ReturnType<typeof testimony>[]
  ) => factsOf(surveyOf([writable('cn1', 0), registered], heard), 1, NO_CLAIMS)
  const down = (who: string) => testimony(who, 'w1a', 'down')

  test.each([
    ['we and one more', true, facts(silent('w1a'), down('cn1'))],
    ['we alone', false, facts(silent('w1a'))],
    ['it spoke to us', false, facts(mute('w1a', 'auth'), down('cn1'), down('w2a'))],
    ['it answered us', false, facts(writable('w1a', 1), down('cn1'), down('w2a'))],
    ['one says alive', false, facts(silent('w1a'), down('cn1'), testimony('w2a', 'w1a', 'alive'))],
    ['of another node', false, facts(silent('w1a'), testimony('cn1', 'w2a', 'down'))],
    ['nobody knows', false, facts(silent('w1a'), testimony('cn1', 'w1a', 'unknown'))],
  ])('%s', (_, isDown, given) => {
    expect(witnesses(given).isDown).toBe(isDown)
  })
})

describe('facts of a group', () => {
  const KNOWN = installed({ lineage: [lineage(1)] })
  const coordinator = writable('cn1', 0, { installed: KNOWN })
  const names = (members: readonly { address: { host: string } }[]) =>
    members.map((member) => member.address.host)

  test('one server behind two addresses is one member, by its registered address', () => {
    const twice = { ...writable('10.0.0.2', 1), instance: 'w1b' }
    const facts = factsOf(
      surveyOf([coordinator, twice, silent('w1a'), writable('w1b', 1)]),
      1,
      fileStandby(1, '10.0.0.2'),
    )
    expect(names(facts.members)).toEqual(['w1b'])
    expect(names(facts.writable)).toEqual(['w1b'])
  })

  test('another name of the primary in a secondary’s row is no second member', () => {
    const catalog = [primaryRow(2, 1, { at: 'w1b' }), secondaryRow(3, 1, { at: 'W1B' })]
    const nodes = [
      writable('cn1', 0, { catalog: [...TWO_WORKERS.slice(0, 1), ...catalog] }),
      writable('w1b', 1),
      { ...writable('W1B', 1), instance: 'w1b' },
    ]
    expect(names(factsOf(surveyOf(nodes), 1, NO_CLAIMS).members)).toEqual(['w1b'])
  })

  test('clones are no members', () => {
    const catalog = [...TWO_WORKERS, secondaryRow(9, 1, { at: 'w1x', isclone: true, isactive: false })]
    const nodes = [writable('cn1', 0, { catalog }), silent('w1a'), writable('w1x', 1)]
    expect(factsOf(surveyOf(nodes), 1, NO_CLAIMS).members).toEqual([])
  })

  test('a writable server that says it is of the group is a member, an expand coordinator is not', () => {
    const found = factsOf(surveyOf([coordinator, writable('w1a', 1), writable('stray', 1)]), 1, NO_CLAIMS)
    expect(names(found.writable)).toEqual(['w1a', 'stray'])
    const expand = writable('cnx', 0, { citus: { useSecondaryNodes: 'always' } })
    expect(names(factsOf(surveyOf([coordinator, expand]), 0, NO_CLAIMS).members)).toEqual(['cn1'])
  })

  test('the node a remedy stands in for is still a member', () => {
    const remedy = {
      nodeid: 3,
      group: 1,
      address: address('w1x'),
      rack: 'south',
      isactive: true,
      given: address('w1b'),
    }
    const cn = writable('cn1', 0, { installed: installed({ remedies: [remedy] }) })
    const facts = factsOf(surveyOf([cn, writable('w1a', 1), standby('w1x', 1, 'w1a')]), 1, NO_CLAIMS)
    expect(names(facts.members)).toEqual(['w1a', 'w1x'])
  })

  test.each([
    ['recorded', [coordinator, silent('w1a'), writable('w1b', 1)]],
    ['registered primary', [writable('cn1', 0), writable('w1a', 1)]],
    ['registered primary', [writable('cn1', 0), standby('w1a', 1, null)]],
    ['other members', [writable('cn1', 0), silent('w1a'), standby('w1b', 1, null), writable('stray', 1)]],
    [null, [writable('cn1', 0), silent('w1a'), writable('w1b', 1)]],
    [null, [writable('cn1', 0), writable('w1a', 1, { citus: { localGroup: 7 } }), writable('w1b', 1)]],
  ] as const)('the system identifier is known from: %s', (from, nodes) => {
    const facts = factsOf(surveyOf(nodes), 1, NO_CLAIMS)
    expect(facts.lineageFrom).toBe(from)
    expect(facts.lineage?.systemIdentifier ?? null).toBe(from === null ? null : systemOf(1))
  })
})

describe('the group of a vouched node', () => {
  const of = (...given: Parameters<typeof vouching>) => {
    const survey = surveyOf([writable('cn1', 0), writable('stray', 2)])
    return groupOfVouched(survey, TWO_WORKERS, {
      ...vouching(...given),
      standbys: fileStandby(1, 'filed').standbys,
    })
  }

  test.each([
    ['as the caller says', of('w1b', 2), 2],
    ['as registered', of('w1b'), 1],
    ['as in the file', of('filed'), 1],
    ['as it says itself', of('stray'), 2],
    ['nobody knows', of('unheard-of'), null],
  ])('%s', (_, group, expected) => {
    expect(group).toBe(expected)
  })
})
