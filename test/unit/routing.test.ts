import { describe, expect, test } from 'vitest'
import { type Catalog, secondariesOf } from '../../src/model/catalog.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Observation, Remedy, Testimony } from '../../src/model/observation.ts'
import { changesNothing, type Plan } from '../../src/model/plan.ts'
import type { Sight } from '../../src/model/sight.ts'
import { testify } from '../../src/model/testify.ts'
import type { Routing } from '../../src/plan/target-input.ts'
import {
  installed,
  left,
  OPTIONS,
  primaryRow,
  secondaryRow,
  silent,
  standby,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from '../support/builders.ts'
import { afterwards, at, KNOWN, planned, SECOND } from '../support/planned.ts'

/** Group 1 with secondaries w1b (node 3), w1c (6) and w1d (7), in this physical order. */
const MANY: Catalog = [
  ...TWO_WORKERS,
  secondaryRow(6, 1, { at: 'w1c', rack: 'east' }),
  secondaryRow(7, 1, { at: 'w1d', rack: 'west' }),
]
const reader = (parts: object = {}) =>
  standby('cnx', 0, 'cn1', { catalog: MANY, citus: { useSecondaryNodes: 'always' }, ...parts })
const follower = (name: string, parts: object = {}) => standby(name, 1, 'w1a', { catalog: MANY, ...parts })
const routing = (parts: Partial<Routing>) => ({ routing: { ...OPTIONS.routing, ...parts } })

function withDown(down: readonly string[], given: Parameters<typeof planned>[0] = {}): Plan {
  const live = ['w1b', 'w1c', 'w1d'].filter((name) => !down.includes(name)).map((name) => follower(name))
  const nodes = [...live, ...down.map((name) => silent(name)), ...(given.nodes ?? [])]
  return planned({ catalog: MANY, ...given, nodes })
}

/** Who an expand coordinator reads in group 1, by the coordinator's copy afterwards; `-`: the row is inactive. */
function readBy(made: Plan, cluster = 'default'): string | undefined {
  const [first] = secondariesOf(made.copies[0]?.after ?? [], 1, cluster)
  return first?.isactive ? first.address.host : '-'
}

describe('secondaryDown', () => {
  test.each([
    ['auto', ['w1b'], 'w1c', ['3 inactive']],
    ['auto', ['w1b', 'w1c'], 'w1d', ['3 inactive', '6 inactive']],
    ['auto', ['w1c'], 'w1b', ['6 inactive']],
    ['auto', ['w1b', 'w1c', 'w1d'], 'W1A', ['3 W1A:5432', '6 inactive', '7 inactive']],
    ['deactivate', ['w1b'], 'w1c', ['3 inactive']],
    ['deactivate', ['w1b', 'w1c', 'w1d'], '-', ['3 inactive', '6 inactive', '7 inactive']],
    ['leave', ['w1b'], 'w1b', []],
    ['leave', ['w1b', 'w1c', 'w1d'], 'w1b', []],
  ] as const)('%s, with %j down: reads go to %s', (secondaryDown, down, read, changes) => {
    const made = withDown(down, { nodes: [reader()], options: routing({ secondaryDown }) })
    expect(readBy(made)).toBe(read)
    expect(made.changes.map(({ nodeid, to }) => `${nodeid} ${to}`)).toEqual(changes)
    expect(made.fence).toEqual([])
    const fails = down.some((name) => name === read) || read === '-'
    expect(made.warnings.some((line) => /group 1: reads through secondaries/.test(line))).toBe(fails)
  })

  test.each([
    ['silent towards us alone', silent('w1b'), 'alive'],
    ['silent, and nobody can tell', silent('w1b'), 'unknown'],
  ] as const)('moves nothing for one that is %s', (_, node, says) => {
    const survey = withDown(['w1b'], { nodes: [reader()] })
    expect(changesNothing(survey)).toBe(false)
    const made = withDown([], { nodes: [reader(), node], heard: [testimony('cn1', 'w1b', says)] })
    expect(changesNothing(made)).toBe(true)
  })

  test('goes by nodecluster: one of another cluster is nobody to read instead', () => {
    const catalog = MANY.map((row) => (row.nodeid === 3 ? row : { ...row, ...elsewhere(row.nodeid) }))
    const nodes = [
      reader({ catalog }),
      writable('w1a', 1, { catalog }),
      follower('w1c', { catalog }),
      follower('w1d', { catalog }),
      silent('w1b'),
    ]
    const made = planned({ catalog, nodes })
    expect(readBy(made)).toBe('W1A')
    expect(readBy(made, 'reports')).toBe('w1c')
  })

  test('leaves rows alone that were inactive before, and clones', () => {
    const catalog = MANY.map((row) =>
      row.nodeid === 6 ? { ...row, isactive: false } : row.nodeid === 7 ? { ...row, isclone: true } : row,
    )
    const nodes = [reader({ catalog }), silent('w1b'), follower('w1c', { catalog })]
    const made = planned({ catalog, nodes })
    expect(afterwards(made).slice(-2)).toEqual(['6 w1c east inactive', '7 w1d west'])
    expect(readBy(made)).toBe('W1A')
  })

  const goneWith = ['w1b', 'w1c', 'w1d']
  test.each([
    ['assumed', 'nobody', 'auto', 'W1A', true],
    ['assumed', 'nobody', 'deactivate', '-', false],
    ['assumed', 'nobody', 'leave', 'w1b', false],
    ['seen', 'nobody', 'auto', 'w1b', null],
    ['seen', 'nobody', 'deactivate', 'w1b', null],
    ['seen', 'another cluster', 'auto', 'w1b', null],
    ['seen', 'this cluster', 'auto', 'W1A', true],
  ] as const)(
    'readers %s, %s seen to read, %s: with nobody left %s is read',
    (readers, who, secondaryDown, read, works) => {
      const clusterName = who === 'this cluster' ? 'default' : 'reports'
      const seen = who === 'nobody' ? [] : [reader({ citus: { useSecondaryNodes: 'always', clusterName } })]
      const options = routing({ readers, secondaryDown })
      const made = withDown(goneWith, { nodes: seen, options })
      expect(readBy(made)).toBe(read)
      // Whoever reads, or may, is told where that fails.
      const told = made.warnings.filter((line) => /group 1: reads through secondaries/.test(line))
      expect(told.length).toBe(works === false ? 1 : 0)
      if (works === null) expect(changesNothing(made)).toBe(true)
    },
  )

  test.each(['assumed', 'seen'] as const)('readers %s: what lives and lags is read as before', (readers) => {
    const far = { lsn: 1n }
    const nodes = [
      writable('w1a', 1, { catalog: MANY, lsn: 1_000_000_000n }),
      ...['w1b', 'w1c', 'w1d'].map((name) => follower(name, far)),
    ]
    const made = planned({ catalog: MANY, nodes, options: routing({ readers }) })
    expect(changesNothing(made)).toBe(true)
  })

  /** w1b is of cluster reports, w1c of the other one and before it; w1a can lend one name, and so can whoever is promoted. */
  test.each([
    ['whose reads work now', 'w1b', [], { default: 'w1c', reports: 'W1B' }],
    ['that has it already', null, ['w1b'], { default: 'w1c', reports: 'W1A' }],
    [
      'whose reads work, and not the one that has that of a dead node',
      'w1c',
      ['w1b'],
      { default: 'W1C', reports: 'w1b' },
    ],
  ])('of two clusters with nobody left, that one gets the other name %s', (_, promoted, lent, read) => {
    const rows = [...MANY.filter(({ nodeid }) => nodeid === 6), ...MANY.filter(({ nodeid }) => nodeid < 6)]
    const third = { cluster: 'reports', ...(lent.length > 0 ? { address: at('W1A') } : {}) }
    const catalog = rows.map((row) => (row.nodeid === 3 ? { ...row, ...third } : row))
    const given = { group: 1, rack: 'south', isactive: true, given: at('W1A') }
    const remedies = lent.map((name) => ({ ...given, nodeid: 3, address: at(name) }))
    const nodes = ['w1b', 'w1c'].map((name) =>
      name === promoted ? writable(name, 1, { ...SECOND, catalog }) : silent(name),
    )
    const primary = promoted === null ? writable('w1a', 1, { catalog }) : silent('w1a')
    const coordinator = { installed: installed({ lineage: KNOWN, remedies }) }
    const made = planned({ catalog, coordinator, nodes: [...nodes, primary] })
    const { default: one, reports: other } = read
    expect([readBy(made), readBy(made, 'reports')]).toEqual([one, other])
    expect(made.warnings.join()).toMatch(/no second name \(alias\)/)
  })

  const tried = (saw: Sight, control: Sight | null, about = 'W1B') => {
    const asked = { witness: at('cn1'), about: at(about), how: 'citus_check_connection_to_node' } as const
    return testify(asked, saw, 'as asked', control)
  }
  test.each<[string, Testimony, boolean]>([
    ['is reached by it', tried('reached', null), true],
    ['has no password for either name', tried('answered', 'answered'), true],
    ['has a password for the own name alone', tried('answered', 'reached'), false],
    ['finds that name in no certificate', tried('tls', 'reached'), false],
    ['can’t look it up', tried('dns', 'reached'), false],
    ['finds no way to it', tried('unroutable', 'answered'), false],
    ['reaches it by neither', tried('cut-off', 'timeout'), true],
    ['could not be asked', tried('no-report', null), true],
    ['does not reach another node by its other name', tried('tls', 'reached', 'W2B'), true],
  ])('a name is lent where the reader %s', (_, said, isLent) => {
    const heard = [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'down'), said]
    const made = planned({ nodes: [silent('w1a'), writable('w1b', 1, SECOND)], heard })
    expect(readBy(made)).toBe(isLent ? 'W1B' : 'w1a')
    expect(made.changes[0]).toMatchObject({ nodeid: 2, kind: 'primary-moved', to: 'w1b:5432' })
    const told = /cn1:5432 reaches w1b:5432 by this name, but not by W1B:5432: as asked; configure an alias/
    expect(told.test(made.warnings.join())).toBe(!isLent)
    expect(made.warnings.some((line) => /may fail: w1a:5432 down and left as they are/.test(line))).toBe(
      !isLent,
    )
  })

  test('a name that a row has already stays, whatever is said of it by now', () => {
    const catalog = TWO_WORKERS.map((row) =>
      row.nodeid === 3 ? { ...row, address: at('W1A'), rack: 'north' } : row,
    )
    const given = { nodeid: 3, group: 1, address: at('w1b'), rack: 'south', isactive: true, given: at('W1A') }
    const coordinator = { installed: installed({ lineage: KNOWN, remedies: [given] }) }
    const spare = installed({ spareAddresses: [{ group: 1, address: at('w1b') }] })
    const nodes = ['w1a', 'w2a'].map((name, n) => writable(name, n + 1, { catalog, installed: spare }))
    const heard = [testimony('cn1', 'w1b', 'down'), tried('tls', 'reached', 'W1A')]
    const made = planned({ catalog, coordinator, heard, nodes: [...nodes, silent('w1b')] })
    expect(changesNothing(made)).toBe(true)
  })

  /** Two workers of a standby each: group 1 after its failover, by what became of the old primary. */
  test.each([
    ['is gone', silent('w1a'), 'W1B'],
    ['follows the new one', standby('w1a', 1, 'w1b', SECOND), 'w1a'],
    ['follows nobody', standby('w1a', 1, null), 'w1a'],
    ['is read-only, as after a switchover', writable('w1a', 1, { readOnly: true, retired: true }), 'W1B'],
  ])('after a failover, where the old primary %s', (_, old, read) => {
    const claims = vouching('w1b')
    const made = planned({ nodes: [old, writable('w1b', 1, SECOND)], claims })
    expect(readBy(made)).toBe(read)
    expect(made.changes[0]).toMatchObject({ nodeid: 2, kind: 'primary-moved', to: 'w1b:5432' })
  })
})

const elsewhere = (nodeid: number) => (nodeid > 5 ? { cluster: 'reports' } : {})

describe('undone', () => {
  const remedy = (parts: Partial<Remedy> = {}): Remedy => {
    return {
      nodeid: 3,
      group: 1,
      address: at('w1b'),
      rack: 'south',
      isactive: true,
      given: at('w1b'),
      ...parts,
    }
  }
  const inactive = [
    ...MANY.filter(({ nodeid }) => nodeid !== 3),
    ...MANY.filter(({ nodeid }) => nodeid === 3).map((row) => ({ ...row, isactive: false })),
  ]
  const coordinator = { installed: installed({ lineage: KNOWN, remedies: [remedy()] }), lsn: 100_000n }
  const after = (w1b: Observation, parts: Partial<Routing> = {}) => {
    const primary = writable('w1a', 1, { catalog: inactive, lsn: 100_000n })
    const others = ['w1c', 'w1d'].map((name) => follower(name, { catalog: inactive, lsn: 100_000n }))
    const nodes = [reader({ catalog: inactive }), primary, ...others, w1b]
    return planned({ catalog: inactive, coordinator, nodes, options: routing(parts) })
  }
  const lsn = (behind: bigint) => ({ catalog: inactive, lsn: 100_000n - behind })

  test.each([
    ['streams, and has everything', follower('w1b', lsn(0n)), true],
    ['streams, and is maxLag behind', follower('w1b', lsn(1000n)), true],
    ['streams, and is more than maxLag behind', follower('w1b', lsn(1001n)), false],
    ['answers, and does not stream', standby('w1b', 1, null, lsn(0n)), false],
    ['is still silent', silent('w1b'), false],
  ] as const)('once it %s', (_, node, ends) => {
    const made = after(node, { maxLag: 1000 })
    expect(made.remediesEnded).toEqual(ends ? [3] : [])
    expect(changesNothing(made)).toBe(!ends)
    // Whoever is read meanwhile goes on being read: nothing moves without need.
    expect(readBy(made)).toBe('w1c')
  })

  test('a policy that is changed to leave undoes what the other one did', () => {
    const made = after(silent('w1b'), { secondaryDown: 'leave' })
    expect(made.remediesEnded).toEqual([3])
    expect(afterwards(made)).toContain('3 w1b south')
  })
})

describe('which of several secondaries is read', () => {
  const dead = [silent('w1b')]
  const cnx = [...MANY, secondaryRow(8, 0, { at: 'cnx', rack: 'west' })]

  test.each([
    ['the one of the reader’s rack', {}, {}, 'w1d'],
    ['not that one if it is too far behind', {}, { lsn: 1n }, 'w1c'],
    ['of those of one rack the one that is less behind', { rack: 'west' }, { lsn: 99_990n }, 'w1c'],
  ] as const)('%s', (_, w1c, w1d, read) => {
    const catalog = cnx.map((row) => (row.nodeid === 6 ? { ...row, ...w1c } : row))
    const far = 100_000n
    const nodes = [
      reader({ catalog }),
      writable('w1a', 1, { catalog, lsn: far }),
      follower('w1c', { catalog, lsn: far }),
      follower('w1d', { catalog, lsn: far, ...w1d }),
      ...dead,
    ]
    const made = planned({ catalog, nodes, options: routing({ maxLag: 1000 }) })
    expect(readBy(made)).toBe(read)
    expect(made.copies[0]?.steps.at(-1)).toEqual({ op: 'first', nodeid: read === 'w1c' ? 6 : 7 })
  })

  test('one that serves stays, however far behind it is and wherever it stands', () => {
    const nodes = [reader({ catalog: cnx }), follower('w1b', { catalog: cnx, lsn: 1n })]
    const made = planned({
      catalog: cnx,
      nodes: [...nodes, writable('w1a', 1, { catalog: cnx, lsn: 1_000_000n })],
    })
    expect(changesNothing(made)).toBe(true)
  })

  test('each copy has its own order, and is mended by itself', () => {
    const flipped = [
      ...MANY.filter(({ nodeid }) => nodeid !== 6),
      ...MANY.filter(({ nodeid }) => nodeid === 6),
    ]
    const first = flipped.map((row) => (row.nodeid === 3 ? { ...row, isactive: false } : row))
    const catalog = [
      ...first.filter(({ nodeid }) => nodeid !== 3),
      ...first.filter(({ nodeid }) => nodeid === 3),
    ]
    const nodes = [
      reader({ catalog }),
      writable('w1a', 1, { catalog }),
      writable('w2a', 2, { catalog: first }),
      ...['w1b', 'w1c', 'w1d'].map((name) => follower(name, { catalog })),
    ]
    const made = planned({ catalog, nodes })
    const steps = made.copies.map(({ node, steps: own }) => [node.host, own])
    expect(steps).toEqual([
      ['cn1', []],
      ['w1a', []],
      ['w2a', [{ op: 'first', nodeid: 6 }]],
    ])
    expect(made.changes).toMatchObject([{ kind: 'reads-moved', from: 'w1b:5432', to: 'w1c:5432' }])
  })
})

describe('primaryDown: secondary', () => {
  const options = routing({ primaryDown: 'secondary' })
  const heard = [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'down')]
  const waiting = (name: string, lsn: bigint) => standby(name, 1, null, { catalog: MANY, lsn })
  const down = [silent('w1a'), waiting('w1b', 100n), waiting('w1c', 300n), waiting('w1d', 200n)]

  test('the primary’s row names the standby that has most, by another name, and Citus’s records are kept', () => {
    const made = planned({ catalog: MANY, nodes: down, heard, options })
    expect(made.changes).toMatchObject([{ nodeid: 2, kind: 'degraded', from: 'w1a:5432', to: 'W1C:5432' }])
    expect(made.degraded).toEqual([1])
    expect(made.copies.map(({ isGuarded }) => isGuarded)).toEqual([true, true])
    expect(made.fence).toEqual([1])
    expect(made.unsynced).toEqual([])
    expect(made.remedies).toMatchObject([{ nodeid: 2, address: at('w1a'), given: at('W1C') }])
  })

  test.each([
    ['leave', { options: {} }],
    ['nobody is sure', { heard: [] }],
    ['no standby answers', { nodes: ['w1a', 'w1b', 'w1c', 'w1d'].map((name) => silent(name)) }],
  ])('nothing is written: %s', (_, parts) => {
    const made = planned({ catalog: MANY, nodes: down, heard, options, ...parts })
    expect(changesNothing(made)).toBe(true)
  })

  test('nothing is written where the name follows the primary by itself, and that is told', () => {
    const following = [at('w1a')]
    const made = planned({ catalog: MANY, nodes: down, heard, options: { ...options, following } })
    expect(changesNothing(made)).toBe(true)
    expect(made.warnings).toContainEqual(expect.stringContaining('its row is never rewritten'))
  })

  describe('while it is so', () => {
    const lent = MANY.map((row) => (row.nodeid === 2 ? { ...row, address: at('W1C'), rack: 'east' } : row))
    const remedies = [
      { nodeid: 2, group: 1, address: at('w1a'), rack: 'north', isactive: true, given: at('W1C') },
    ]
    // Every copy remembers the address it gave up (`citus_ha.former_address`).
    const spare = installed({ spareAddresses: [{ group: 1, address: at('w1a') }], keepsTransactions: true })
    const coordinator = { installed: { ...spare, lineage: KNOWN, remedies } }
    const own = { catalog: lent, installed: spare }
    const again = (...nodes: Observation[]) =>
      planned({
        catalog: lent,
        coordinator,
        heard,
        options,
        nodes: [writable('w2a', 2, own), ...nodes],
      })
    const still = (name: string, lsn: bigint) => standby(name, 1, null, { catalog: lent, lsn })
    const rest = [still('w1b', 900n), still('w1c', 300n), still('w1d', 200n)]

    test('it stays with the standby that serves, though another one has more by now', () => {
      expect(changesNothing(again(silent('w1a'), ...rest))).toBe(true)
    })

    test('and goes to another one when that dies', () => {
      const made = again(silent('w1a'), still('w1b', 900n), silent('w1c'), still('w1d', 200n))
      expect(made.changes).toContainEqual(
        expect.objectContaining({ nodeid: 2, kind: 'degraded', to: 'W1B:5432' }),
      )
    })

    test('the promotion ends it in one change', () => {
      const promoted = writable('w1d', 1, { timeline: 2, history: [left(1, '0/1000')], ...own })
      const made = again(silent('w1a'), still('w1b', 900n), still('w1c', 300n), promoted)
      expect(made.changes).toMatchObject([
        { nodeid: 2, kind: 'primary-moved', from: 'W1C:5432', to: 'w1d:5432' },
        { nodeid: 7 },
      ])
      expect(made.remediesEnded).toEqual([2])
      expect(made.degraded).toEqual([])
      expect(made.copies.map(({ isGuarded }) => isGuarded)).toEqual([true, true, true])
    })

    test('so does the primary that is back', () => {
      const primary = writable('w1a', 1, own)
      const made = again(primary, ...['w1b', 'w1c', 'w1d'].map((name) => follower(name, { catalog: lent })))
      expect(made.changes).toMatchObject([{ nodeid: 2, kind: 'degraded-ended', to: 'w1a:5432' }])
      expect(made.remediesEnded).toEqual([2])
    })

    test('nothing is written while the evidence is unclear', () => {
      expect(changesNothing(planned({ catalog: lent, coordinator, options, nodes: [...down] }))).toBe(true)
    })
  })

  test('never of the coordinator’s own group', () => {
    const catalog = [
      primaryRow(1, 0, { at: 'cn1' }),
      secondaryRow(9, 0, { at: 'cn2' }),
      ...TWO_WORKERS.slice(1),
    ]
    const made = planned({ catalog, options, nodes: [standby('cn2', 0, 'cn1', { catalog })] })
    expect(made.changes.filter(({ group }) => group === 0)).toEqual([])
    expect(formatAddress(made.copies[0]?.node ?? at('x'))).toBe('cn1:5432')
  })
})
