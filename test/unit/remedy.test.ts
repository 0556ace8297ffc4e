import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Catalog } from '../../src/model/catalog.ts'
import type { Observation } from '../../src/model/observation.ts'
import { changesNothing, type Plan } from '../../src/model/plan.ts'
import { rowOrLentAt } from '../../src/model/remedy.ts'
import {
  installed,
  left,
  lineage,
  OPTIONS,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  TWO_WORKERS,
  writable,
} from '../support/builders.ts'
import { afterwards, at, FAILED_OVER, planned, SECOND } from '../support/planned.ts'

describe('the row at an address', () => {
  const remedy = { nodeid: 3, group: 1, address: at('w1b'), rack: 'south', isactive: true, given: at('W1A') }
  const third = (parts: object): Catalog =>
    TWO_WORKERS.map((row) => (row.nodeid === 3 ? { ...row, ...parts } : row))
  const found = (catalog: Catalog, given = remedy.given) =>
    rowOrLentAt(catalog, at('w1b'), [{ ...remedy, given }])?.nodeid

  test('is its own, or the one that a remedy has lent out of it', () => {
    expect(found(TWO_WORKERS)).toBe(3)
    expect(found(third({ isactive: false }), at('w1b'))).toBe(3)
    expect(found(third({ address: at('W1A') }))).toBe(3)
  })

  test('is none whose remedy somebody has changed since, and its own rather than a lent one', () => {
    expect(found(third({ address: at('w1n') }))).toBeUndefined()
    const other = secondaryRow(6, 1, { at: 'w1b' })
    expect(found([...third({ address: at('w1n') }), other])).toBe(6)
    expect(found([...third({ address: at('W1A') }), other])).toBe(6)
  })
})

describe('an expand coordinator that reads all the time', () => {
  const reader = (cluster = 'default') =>
    standby('cnx', 0, 'cn1', { citus: { useSecondaryNodes: 'always', clusterName: cluster } })
  const THREE = [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1c', rack: 'east' })]
  /** Where its reads of group 1 may go, whichever row Citus takes first; names as the resolver takes them. */
  const targets = (made: Plan) =>
    (made.copies[0]?.after ?? [])
      .filter((row) => row.group === 1 && row.role === 'secondary')
      .map((row) => (row.isactive ? row.address.host.toLowerCase() : 'inactive'))

  test('reads from the new primary by another name, with no standby left', () => {
    const made = planned({ nodes: [reader(), ...FAILED_OVER] })
    expect(targets(made)).toEqual(['w1b'])
    expect(made.remedies).toMatchObject([{ nodeid: 3, address: at('w1a'), rack: 'north', isactive: true }])
    expect(made.forbidden).toEqual([])
  })

  test('reads from live nodes only, with another standby left', () => {
    const nodes = [reader(), silent('w1a'), writable('w1b', 1, { ...SECOND, catalog: THREE })]
    const made = planned({
      catalog: THREE,
      nodes: [...nodes, standby('w1c', 1, 'w1b', { ...SECOND, catalog: THREE })],
    })
    expect(targets(made)).toEqual(['w1c', 'inactive'])
  })

  test('reads from the old primary at once, where that follows the new one', () => {
    const nodes = [reader(), standby('w1a', 1, 'w1b', SECOND), writable('w1b', 1, SECOND)]
    const made = planned({ nodes })
    expect(targets(made)).toEqual(['w1a'])
    expect(made.remedies).toEqual([])
  })

  test('of another nodecluster is no reason for a remedy, where readers have to be seen', () => {
    const options = { routing: { ...OPTIONS.routing, readers: 'seen' } } as const
    expect(planned({ nodes: [reader('reports'), ...FAILED_OVER], options }).remedies).toEqual([])
  })

  test('gets a configured name rather than a derived one', () => {
    const aliases = [{ address: at('w1b'), alias: at('w1b-alias') }]
    const made = planned({ nodes: [reader(), ...FAILED_OVER], options: { aliases } })
    expect(targets(made)).toEqual(['w1b-alias'])
  })

  test('loses its reads with a warning only where no other name can be made', () => {
    const catalog = TWO_WORKERS.map((row) =>
      row.group === 1 ? { ...row, address: { host: row.nodeid === 2 ? '::1' : '::2', port: 5432 } } : row,
    )
    const nodes = [
      reader(),
      silent('w1a'),
      silent('[::1]:5432'),
      writable('[::2]:5432', 1, { ...SECOND, catalog }),
    ]
    const made = planned({ catalog, nodes })
    expect(targets(made)).toEqual(['::1'])
    expect(made.warnings.join()).toMatch(/configure an alias.*left as they are/)
  })

  describe('after that change', () => {
    const lent: Catalog = TWO_WORKERS.map((row) => {
      if (row.nodeid === 2) return { ...row, address: at('w1b'), rack: 'south' }
      return row.nodeid === 3 ? { ...row, address: at('W1B'), rack: 'south' } : row
    })
    const remedies = [
      { nodeid: 3, group: 1, address: at('w1a'), rack: 'north', isactive: true, given: at('W1B') },
    ]
    // Every copy remembers the address it gave up (`citus_ha.former_address`).
    const spareAddresses = [{ group: 1, address: at('w1a') }]
    const spare = installed({ spareAddresses })
    const known = [lineage(0), lineage(1, 2, left(1, '0/50')), lineage(2)]
    const coordinator = { installed: installed({ lineage: known, remedies, spareAddresses }) }
    const primary = writable('w1b', 1, { ...SECOND, catalog: lent, installed: spare })
    const other = writable('w2a', 2, { catalog: lent, installed: spare })
    const alias = { ...primary, address: at('W1B') }
    const again = (...nodes: Observation[]) =>
      planned({ catalog: lent, coordinator, nodes: [reader(), primary, alias, other, ...nodes] })

    test.each([
      ['is still down', silent('w1a')],
      ['is there, but does not follow', standby('w1a', 1, null, { catalog: lent })],
      ['follows on its old timeline', standby('w1a', 1, 'w1b', { catalog: lent, timeline: 1 })],
    ])('nothing changes while the old primary %s', (_, old) => {
      const made = again(old)
      expect(changesNothing(made)).toBe(true)
      expect(made.remediesEnded).toEqual([])
    })

    test('the row is given back once the old primary streams from the new one', () => {
      const made = again(standby('w1a', 1, 'w1b', { ...SECOND, catalog: lent }))
      expect(afterwards(made).slice(1, 3)).toEqual(['2 w1b south', '3 w1a north'])
      expect(made).toMatchObject({ remediesEnded: [3], remediesStale: [] })
      expect(made.changes).toMatchObject([{ nodeid: 3, kind: 'remedy-ended' }])
      expect(made.fence).toEqual([])
    })

    test.each([
      ['is not back yet', standby('w1a', 1, null, { catalog: lent }), 'secondary-down'],
      [
        'is retired, and takes writes',
        writable('w1a', 1, { catalog: lent, retired: true }),
        'old-primary-writes',
      ],
    ])('what is said where the old primary %s', (_, old, code) => {
      const authority = writable('cn1', 0, { ...coordinator, catalog: lent })
      const follower = standby('w2b', 2, 'w2a', { catalog: lent })
      const seen = surveyOf([authority, primary, alias, other, follower, old])
      expect(diagnose(seen, NO_CLAIMS).find(({ group }) => group === 1)?.code).toBe(code)
    })

    test.each([
      ['assumed', '3 W1A north'],
      ['seen', '3 w1b south'],
    ] as const)('and the way back A -> B -> A is a swap again, readers %s: %s', (readers, second) => {
      const third = { timeline: 3, history: [left(1, '0/50'), left(2, '0/90')], catalog: lent }
      const dead = [silent('w1b'), silent('W1B')]
      const options = { routing: { ...OPTIONS.routing, readers } }
      const nodes = [...dead, writable('w1a', 1, third)]
      const made = planned({ catalog: lent, coordinator, nodes, options })
      expect(afterwards(made).slice(1, 3)).toEqual(['2 w1a north', second])
      // The row is under a remedy of its own again, or under none.
      expect(made.remediesEnded).toEqual(readers === 'seen' ? [3] : [])
      expect(made.remedies.map(({ address }) => address.host)).toEqual(readers === 'seen' ? [] : ['w1b'])
    })

    test('a row that somebody else has changed since is no longer ours', () => {
      const catalog = lent.map((row) => (row.nodeid === 3 ? { ...row, address: at('w1n') } : row))
      const follower = standby('w1n', 1, 'w1b', { ...SECOND, catalog })
      const nodes = [
        { ...primary, citus: primary.citus && { ...primary.citus, catalog } },
        writable('w2a', 2, { catalog }),
      ]
      const made = planned({ catalog, coordinator, nodes: [...nodes, silent('w1a'), follower] })
      expect(made.copies.every((copy) => copy.steps.length === 0)).toBe(true)
      expect(made).toMatchObject({ remediesEnded: [3], remediesStale: [3] })
    })
  })
})
