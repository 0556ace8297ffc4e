import { describe, expect, it } from 'vitest'
import type { Observation } from '../../src/model/observation.ts'
import type { ListedStandby, Plan } from '../../src/model/plan.ts'
import {
  address,
  installed,
  secondaryRow,
  silent,
  standby,
  systemOf,
  TWO_WORKERS,
  writable,
} from '../support/builders.ts'
import { FAILED_OVER, KNOWN, planned } from '../support/planned.ts'

const listed = (group: number, at: string, parts: Partial<ListedStandby> = {}): ListedStandby => ({
  group,
  address: address(at),
  cluster: 'default',
  rack: null,
  ...parts,
})

const allowed = [1, 2].flatMap((group) =>
  ['w1c', 'w1d', 'W1C', 'w2c'].map((at) => ({ group, address: address(at) })),
)
const coordinator = { installed: installed({ lineage: KNOWN, spareAddresses: allowed }) }
const FRESH = standby('w1c', 1, 'w1a')

function registering(
  nodes: readonly Observation[],
  register: readonly ListedStandby[] = [listed(1, 'w1c')],
  more: Partial<Parameters<typeof planned>[0]> = {},
): Plan {
  const { options, ...rest } = more
  return planned({ nodes, coordinator, options: { register, ...options }, ...rest })
}

describe('standbys that are to get a row', () => {
  it('are those that stream from the primary of a sound group, with the cluster and rack of the list', () => {
    const made = registering([FRESH], [listed(1, 'w1c', { cluster: 'reports', rack: 'north' })])
    expect(made.warnings).toEqual([])
    expect(made.changes).toEqual([])
    expect(made.registrations).toEqual([
      {
        group: 1,
        address: address('w1c'),
        primary: address('w1a'),
        cluster: 'reports',
        rack: 'north',
        why: 'streams from w1a:5432',
      },
    ])
  })

  it('are nobody where nobody is listed', () => {
    expect(registering([FRESH], [])).toMatchObject({ registrations: [], warnings: [] })
  })

  it.each<[string, Observation, RegExp]>([
    [
      'does not answer',
      silent('w1c'),
      /w1c:5432 has no row in pg_dist_node and is not registered: it does not answer/,
    ],
    ['does not stream', standby('w1c', 1, null), /it does not stream from its group’s primary/],
    ['streams on another timeline', standby('w1c', 1, 'w1a', { timeline: 3 }), /it does not stream/],
    ['is of another system', standby('w1c', 1, 'w1a', { systemIdentifier: systemOf(2) }), /identifier is/],
    ['is of another group', standby('w1c', 1, 'w1a', { citus: { localGroup: 2 } }), /local_group says 2/],
    ['has no Citus', standby('w1c', 1, 'w1a', { citus: null }), /local_group says nothing/],
  ])('not one that %s', (_, node, why) => {
    const made = registering([node])
    expect(made.registrations).toEqual([])
    expect(made.warnings).toEqual([expect.stringMatching(why)])
  })

  it('not one that takes writes', () => {
    expect(registering([writable('w1c', 1)]).registrations).toEqual([])
  })

  it('not one whose address this role may not give, unless it is a superuser', () => {
    const bare = { coordinator: { installed: installed({ lineage: KNOWN }) } }
    const made = registering([FRESH], undefined, bare)
    expect(made).toMatchObject({ registrations: [], warnings: [expect.stringMatching(/citus-ha install/)] })
    const superuser = { coordinator: { ...bare.coordinator, superuser: true } }
    expect(registering([FRESH], undefined, superuser).registrations).toHaveLength(1)
  })

  it.each<[string, readonly Observation[], readonly ListedStandby[], object]>([
    ['has a row', [], [listed(1, 'w1b')], {}],
    ['has a row under another name', [standby('w1c', 1, 'w1a', { instance: 'w1b' })], [listed(1, 'w1c')], {}],
    ['has another spelling of a row’s address, and is away', [silent('W1B')], [listed(1, 'W1B')], {}],
    ['is the alias of the primary', [writable('w1c', 1, { instance: 'w1a' })], [listed(1, 'w1c')], {}],
    [
      'is a clone',
      [FRESH],
      [listed(1, 'w1c')],
      { catalog: [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1c', isclone: true })] },
    ],
    [
      'is a clone under another name',
      [FRESH, standby('w1d', 1, 'w1a', { instance: 'w1c' })],
      [listed(1, 'w1d')],
      { catalog: [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1c', isclone: true })] },
    ],
  ])('not one that %s, without a word', (_, nodes, register, more) => {
    expect(registering(nodes, register, more)).toMatchObject({ registrations: [], warnings: [] })
  })

  it('not one whose row a remedy has lent out', () => {
    const catalog = TWO_WORKERS.map((row) => (row.nodeid === 3 ? { ...row, address: address('W1A') } : row))
    const { rack, isactive } = secondaryRow(3, 1, { at: 'w1b' })
    const given = address('W1A')
    const remedies = [{ nodeid: 3, group: 1, address: address('w1b'), rack, isactive, given }]
    const lent = installed({ lineage: KNOWN, spareAddresses: allowed, remedies })
    const nodes = [silent('w1b'), writable('W1A', 1, { instance: 'w1a' })]
    const made = registering(nodes, [listed(1, 'w1b')], { catalog, coordinator: { installed: lent } })
    expect(made).toMatchObject({ registrations: [], remediesEnded: [] })
  })

  it('also one that a remedy took from its row, where somebody has changed that row since', () => {
    const catalog = TWO_WORKERS.map((row) => (row.nodeid === 3 ? { ...row, address: address('w1d') } : row))
    const { rack, isactive } = secondaryRow(3, 1, { at: 'w1b' })
    const remedies = [{ nodeid: 3, group: 1, address: address('w1c'), rack, isactive, given: address('W1A') }]
    const stale = installed({ lineage: KNOWN, spareAddresses: allowed, remedies })
    const nodes = [FRESH, standby('w1d', 1, 'w1a', { catalog })]
    const made = registering(nodes, undefined, { catalog, coordinator: { installed: stale } })
    expect(made.registrations).toMatchObject([{ group: 1, address: address('w1c') }])
  })

  it('only once, of two names of one server', () => {
    const made = registering(
      [FRESH, standby('w1d', 1, 'w1a', { instance: 'w1c' })],
      [listed(1, 'w1d'), listed(1, 'w1c')],
    )
    expect(made.registrations.map((each) => each.address)).toEqual([address('w1d')])
  })

  it('not in a group that has something else to be done first, nor beside it while a worker is away', () => {
    const made = registering(
      [...FAILED_OVER, FRESH, standby('w2c', 2, 'w2a')],
      [listed(1, 'w1c'), listed(2, 'w2c')],
    )
    expect(made.changes).not.toEqual([])
    expect(made.registrations).toEqual([])
    expect(made.warnings.filter((line) => line.includes('w2c'))).toEqual([
      expect.stringMatching(/first w1a:5432 has to answer, with its metadata in sync/),
    ])
  })

  it('not while a metadata worker’s copy is behind', () => {
    const catalog = TWO_WORKERS.map((row) => (row.nodeid === 4 ? { ...row, metadatasynced: false } : row))
    const made = registering([FRESH], undefined, { catalog })
    expect(made).toMatchObject({ registrations: [], warnings: [expect.stringMatching(/first w2a:5432/)] })
  })

  it('not while the row of another group’s primary, which is down, names a standby', () => {
    const given = address('W2B')
    const catalog = TWO_WORKERS.map((row) => (row.nodeid === 4 ? { ...row, address: given } : row))
    const remedies = [{ nodeid: 4, group: 2, address: address('w2a'), rack: 'north', isactive: true, given }]
    const lent = installed({ lineage: KNOWN, spareAddresses: allowed, remedies })
    const standIn = standby('w2b', 2, null, { catalog })
    const nodes = [FRESH, silent('w2a'), standIn, { ...standIn, address: given }]
    const made = registering(nodes, undefined, { catalog, coordinator: { installed: lent } })
    expect(made.changes).toEqual([])
    expect(made.registrations).toEqual([])
    expect(made.warnings.filter((line) => line.includes('w1c'))).toEqual([
      expect.stringMatching(/is not registered: first group 2 has to have a primary that takes writes/),
    ])
  })

  it('only in the groups that are asked for', () => {
    const nodes = [FRESH, standby('w2c', 2, 'w2a')]
    const register = [listed(1, 'w1c'), listed(2, 'w2c')]
    const made = registering(nodes, register, { options: { groups: [2] } })
    expect(made.registrations.map(({ group }) => group)).toEqual([2])
  })

  it('nobody, where two coordinators take writes', () => {
    const rival = writable('cn2', 0, coordinator)
    expect(registering([FRESH, rival])).toMatchObject({ registrations: [], warnings: [] })
  })
})
