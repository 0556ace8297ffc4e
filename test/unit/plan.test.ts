import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Catalog, CatalogRow } from '../../src/model/catalog.ts'
import type { Observation } from '../../src/model/observation.ts'
import { changesNothing, type Plan } from '../../src/model/plan.ts'
import { plan } from '../../src/plan/plan.ts'
import { simulate } from '../../src/plan/simulate.ts'
import {
  fileStandby,
  installed,
  left,
  lineage,
  OPTIONS,
  primaryRow,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from '../support/builders.ts'
import { afterwards, at, FAILED_OVER, KNOWN, planned, SECOND } from '../support/planned.ts'

const edited = (nodeid: number, change: Partial<CatalogRow>): Catalog =>
  TWO_WORKERS.map((row) => (row.nodeid === nodeid ? { ...row, ...change } : row))
/** Rows alone count here; what is done for those who read through secondaries: routing.test.ts. */
const UNREAD = { routing: { ...OPTIONS.routing, readers: 'seen' } } as const
const of = (made: Plan) => made.copies.map((copy) => `${copy.node.host} ${copy.role} ${copy.steps.length}`)

describe('nothing to do', () => {
  test('in a healthy cluster: every copy takes part, none is written', () => {
    const made = planned({})
    expect(changesNothing(made)).toBe(true)
    expect(of(made)).toEqual(['cn1 coordinator 0', 'w1a metadata worker 0', 'w2a metadata worker 0'])
    expect(made).toMatchObject({ fence: [], proofs: [], leftOut: [], unsynced: [], warnings: [] })
  })

  test.each([
    ['the primary is down and nothing promoted', [silent('w1a'), standby('w1b', 1, null)], {}],
    ['split brain', [writable('w1b', 1, SECOND)], {}],
    ['a secondary is down', [silent('w1b')], UNREAD],
    ['the group is not asked for', FAILED_OVER, { groups: [2] }],
  ] as const)('when %s', (_, nodes, options) => {
    const made = planned({ nodes, options })
    expect(made.copies.every((copy) => copy.steps.length === 0)).toBe(true)
    expect(made.changes).toEqual([])
  })

  test('the first time: what is proved is recorded all the same', () => {
    const made = planned({ coordinator: { installed: installed() } })
    expect(changesNothing(made)).toBe(true)
    expect(made.proofs).toEqual(KNOWN)
  })
})

describe('a promoted standby', () => {
  test('changes places with the old primary, each rack with its machine, on every copy', () => {
    const made = planned({ nodes: FAILED_OVER, options: UNREAD })
    expect(afterwards(made)).toEqual([
      '1 cn1 default',
      '2 w1b south',
      '3 w1a north',
      '4 w2a north',
      '5 w2b south',
    ])
    expect(made.copies.map((copy) => [copy.node.host, copy.role])).toEqual([
      ['cn1', 'coordinator'],
      ['w1b', 'promoted'],
      ['w2a', 'metadata worker'],
    ])
    for (const copy of made.copies) expect(simulate(copy.before, copy.steps)).toEqual(copy.after)
    expect(made.changes.map(({ nodeid, kind }) => [nodeid, kind])).toEqual([
      [2, 'primary-moved'],
      [3, 'secondary-moved'],
    ])
    expect(made.fence).toEqual([1])
    expect(made.proofs).toEqual([lineage(1, 2, left(1, '0/50'))])
    expect(made.unsynced).toEqual([])
  })

  test('keeps its nodecluster for its row, which the old primary’s address takes', () => {
    const catalog = edited(3, { cluster: 'reports', isactive: false })
    expect(afterwards(planned({ catalog, nodes: nodesOf(catalog) })).slice(1, 3)).toEqual([
      '2 w1b south',
      '3 w1a north inactive reports',
    ])
  })

  test('leaves clones and inactive rows as they are', () => {
    const catalog = [
      ...edited(5, { isactive: false }),
      secondaryRow(6, 1, { at: 'w1x', isclone: true, isactive: false }),
    ]
    const rows = afterwards(
      planned({ catalog, nodes: [...nodesOf(catalog), standby('w1x', 1, 'w1b', { catalog })] }),
    )
    expect(rows.slice(3)).toEqual(['4 w2a north', '5 w2b south inactive', '6 w1x default inactive'])
  })

  test('that has no row takes the primary’s; no other row changes', () => {
    const claims = fileStandby(1, 'w1c')
    const nodes = [silent('w1a'), standby('w1b', 1, 'w1c', SECOND), writable('w1c', 1, SECOND)]
    const spare = installed({ lineage: KNOWN, spareAddresses: [{ group: 1, address: at('w1c') }] })
    const made = planned({ nodes, claims, coordinator: { installed: spare } })
    expect(afterwards(made).slice(1, 3)).toEqual(['2 w1c north', '3 w1b south'])
    expect(made.forbidden).toEqual([])
    // The old primary is in no row then, and it is said what gives it one.
    expect(made.remarks).toContainEqual(
      expect.objectContaining({
        code: 'without-row',
        group: 1,
        node: 'w1a:5432',
        text: expect.stringContaining("citus_add_secondary_node('w1a', 5432, 'w1c', 5432)"),
      }),
    )
    expect(planned({ nodes: FAILED_OVER }).remarks.map(({ code }) => code)).not.toContain('without-row')
  })

  test('may not be given an address that nobody allowed; a superuser may give it', () => {
    const nodes = [silent('w1a'), writable('w1c', 1, SECOND)]
    const claims = vouching('w1c', 1)
    expect(planned({ nodes, claims }).forbidden).toEqual([{ group: 1, address: at('w1c') }])
    expect(planned({ nodes, claims, coordinator: { superuser: true } }).forbidden).toEqual([])
  })

  test('of two groups at once is one change', () => {
    const nodes = [...FAILED_OVER, silent('w2a'), writable('w2b', 2, SECOND)]
    const made = planned({ nodes, options: UNREAD })
    expect(afterwards(made).map((row) => row.split(' ')[1])).toEqual(['cn1', 'w1b', 'w1a', 'w2b', 'w2a'])
    expect(made.fence).toEqual([1, 2])
    expect(of(made).length).toBe(3)
  })

  test('of the coordinator: its own copy is the first', () => {
    const catalog = [...TWO_WORKERS, secondaryRow(6, 0, { at: 'cn2', rack: 'south' })]
    const own = { catalog, installed: installed({ lineage: KNOWN }), ...SECOND }
    const seen = surveyOf(
      [
        silent('cn1'),
        writable('cn2', 0, own),
        writable('w1a', 1, { catalog }),
        writable('w2a', 2, { catalog }),
      ],
      [testimony('w1a', 'cn1', 'down')],
    )
    const proved = plan(seen, diagnose(seen, NO_CLAIMS), OPTIONS)
    expect(afterwards(proved)[0]).toBe('1 cn2 south')
    expect(proved.copies[0]?.node.host).toBe('cn2')
  })

  function nodesOf(catalog: Catalog): Observation[] {
    return [silent('w1a'), writable('w1b', 1, { ...SECOND, catalog })]
  }
})

describe('copies', () => {
  const drifted = edited(5, { rack: 'moon', isactive: false })

  test('of a metadata worker that differs by hand is repaired, and said', () => {
    const made = planned({ nodes: [writable('w1a', 1, { catalog: drifted })] })
    const [, copy] = made.copies
    expect(simulate(drifted, copy?.steps ?? [])).toEqual(TWO_WORKERS)
    expect(made.changes.length).toBe(2)
    expect(made.changes.every(({ kind, nodeid }) => kind === 'drift-repaired' && nodeid === 5)).toBe(true)
    expect(made.fence).toEqual([])
  })

  test.each([
    ['lacks a row', TWO_WORKERS.slice(0, 4)],
    ['has another cluster', edited(5, { cluster: 'reports' })],
    ['has another nodeid', edited(5, { nodeid: 50 })],
    ['has an address nobody allowed to be changed back', edited(2, { address: at('w1z'), role: 'primary' })],
  ])('that %s is left to Citus’s own sync, or repaired', (_, catalog) => {
    const made = planned({ nodes: [writable('w2a', 2, { catalog })] })
    const left = made.leftOut.map(({ nodeid }) => nodeid)
    expect(left).toEqual([4])
    expect(made.unsynced).toEqual([4])
    expect(made.changes).toMatchObject([{ kind: 'resync', nodeid: 4 }])
  })

  test('of an unreachable metadata worker is flagged when something changes, not before', () => {
    const dead = [silent('w2a', 'timeout'), standby('w2b', 2, null)]
    expect(planned({ nodes: dead })).toMatchObject({ unsynced: [], leftOut: [{ nodeid: 4 }] })
    const made = planned({ nodes: [...dead, ...FAILED_OVER] })
    expect(made).toMatchObject({ unsynced: [4], leftOut: [{ nodeid: 4 }] })
    const flagged = edited(4, { metadatasynced: false })
    expect(
      planned({
        catalog: flagged,
        nodes: [...dead, silent('w1a'), writable('w1b', 1, { ...SECOND, catalog: flagged })],
      }).unsynced,
    ).toEqual([])
  })

  test('without the schema is named and flagged, no reason to refuse the rest', () => {
    const bare = writable('w2a', 2, { installed: null })
    expect(changesNothing(planned({ nodes: [bare] }))).toBe(true)
    const made = planned({ nodes: [bare, ...FAILED_OVER] })
    expect(made).toMatchObject({
      unsynced: [4],
      leftOut: [{ nodeid: 4, why: expect.stringMatching(/install/) }],
    })
    expect(afterwards(made)[1]).toBe('2 w1b south')
  })

  test('of a worker without metadata is none', () => {
    const catalog = edited(4, { hasmetadata: false, metadatasynced: false })
    expect(of(planned({ catalog })).map((copy) => copy.split(' ')[0])).toEqual(['cn1', 'w1a'])
  })

  test('of an expand coordinator follows by group and address, its nodeids its own', () => {
    const own = TWO_WORKERS.map((row) => ({ ...row, nodeid: row.nodeid + 100 }))
    const expand = writable('cnx', 0, {
      catalog: own,
      systemIdentifier: '4711',
      citus: { useSecondaryNodes: 'always' },
    })
    expect(changesNothing(planned({ nodes: [expand] }))).toBe(true)
    const copy = planned({ nodes: [expand, ...FAILED_OVER] }).copies.at(-1)
    expect(copy?.role).toBe('expand coordinator')
    expect(copy?.after.map((row) => row.nodeid)).toEqual([101, 102, 103, 104, 105])
    expect(copy?.after[1]).toMatchObject({ address: at('w1b'), rack: 'south' })
    expect(copy?.after[2]?.address).not.toEqual(at('w1b'))
  })
})

test('a row of a group without a primary is left alone', () => {
  const catalog = [primaryRow(1, 0, { at: 'cn1' }), secondaryRow(2, 1, { at: 'w1b' })]
  const made = planned({ catalog, nodes: [writable('w1b', 1, { catalog })] })
  expect(made.copies.every((copy) => copy.steps.length === 0)).toBe(true)
})
