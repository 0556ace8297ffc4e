import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { parseAddress } from '../../src/model/node.ts'
import type { Observation } from '../../src/model/observation.ts'
import { changesNothing, type Plan } from '../../src/model/plan.ts'
import { plan } from '../../src/plan/plan.ts'
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

const KNOWN = [lineage(0), lineage(1), lineage(2)]
const SECOND = { timeline: 2, history: [left(1, '0/50')] }
const cn = (parts = {}) => writable('cn1', 0, { installed: installed({ lineage: KNOWN }), ...parts })
const run = (
  nodes: readonly Observation[],
  heard: Parameters<typeof surveyOf>[1] = [],
  claims: Claims = NO_CLAIMS,
) => {
  const s = surveyOf(nodes, heard)
  const d = diagnose(s, claims)
  return { d, p: plan(s, d, OPTIONS) }
}
const rows = (p: Plan, n = 0) =>
  p.copies[n]?.after.map(
    (r) => `${r.nodeid} ${r.group} ${r.role} ${r.address.host}${r.isactive ? '' : ' inactive'}`,
  )
const at = (host: string) => ({ host, port: 5432 })

describe('evidence that was once misread', () => {
  it('gives the primary’s row the server’s own name, not the alias that a remedy lent out', () => {
    // nodeid 3 was dead and lent to W1C (alias of nodeid 6 = w1c); now w1b dies, w1c promoted
    const catalog = [
      primaryRow(1, 0, { at: 'cn1' }),
      primaryRow(2, 1, { at: 'w1b' }),
      secondaryRow(3, 1, { at: 'W1C' }),
      secondaryRow(6, 1, { at: 'w1c' }),
    ]
    const remedies = [
      { nodeid: 3, group: 1, address: at('w1a'), rack: 'default', isactive: true, given: at('W1C') },
    ]
    const c = writable('w1c', 1, { ...SECOND, catalog })
    const { p } = run(
      [
        cn({ catalog, installed: installed({ lineage: KNOWN, remedies }) }),
        silent('w1b'),
        silent('w1a'),
        { ...c, address: at('W1C') },
        c,
      ],
      [testimony('cn1', 'w1b', 'down')],
    )
    expect(rows(p)?.[1]).toBe('2 1 primary w1c')
  })

  it('swaps where the vouched node is given by another spelling than its row', () => {
    const b = writable('w1b', 1, SECOND)
    const { p } = run(
      [cn(), silent('w1a'), { ...b, address: at('10.0.0.2') }, b, writable('w2a', 2)],
      [],
      vouching('10.0.0.2'),
    )
    expect(rows(p)?.slice(1, 3)).toEqual(['2 1 primary w1b', '3 1 secondary W1B'])
  })

  it('leaves the row of a refused group alone, whose server was promoted in another one', () => {
    const b = writable('w1b', 2, { ...SECOND })
    const { d, p } = run(
      [cn({ superuser: true }), writable('w1a', 1), b, silent('w2a')],
      [testimony('cn1', 'w2a', 'down')],
    )
    expect(d.map((x) => x.rule)).toEqual(['D050', 'D030', 'D063'])
    expect(rows(p)?.[2], 'a row of refused group 1').toBe('3 1 secondary w1b')
  })

  it('repairs a writable expand coordinator that missed a change', () => {
    const truth = TWO_WORKERS.map((r) =>
      r.nodeid === 2
        ? { ...r, address: at('w1b') }
        : r.nodeid === 3
          ? { ...r, address: at('w1a'), isactive: false }
          : r,
    )
    const own = TWO_WORKERS.map((r) => ({
      ...r,
      nodeid: r.nodeid + 100,
      ...(r.nodeid === 3 ? { isactive: false } : {}),
    }))
    const cnx = writable('cnx', 0, {
      catalog: own,
      systemIdentifier: '4711',
      citus: { useSecondaryNodes: 'always' },
    })
    const { p } = run([
      cn({ catalog: truth, installed: installed({ lineage: [lineage(1, 2, left(1, '0/50'))] }) }),
      writable('w1b', 1, { ...SECOND, catalog: truth }),
      silent('w1a'),
      writable('w2a', 2, { catalog: truth }),
      cnx,
    ])
    const copy = p.copies.find((c) => c.role === 'expand coordinator')
    expect(copy?.after.slice(1, 3).map((r) => `${r.nodeid} ${r.address.host} ${r.isactive}`)).toEqual([
      '102 w1b true',
      '103 w1a false',
    ])
  })

  it('does not believe a timeline of the recorded number whose history can’t be read', () => {
    // recorded: w1a promoted earlier to TL2. w1a dead; w1b was promoted from TL1 (collision: TL2) and its history can't be read
    const known = [lineage(0), lineage(1, 2, left(1, '0/50')), lineage(2)]
    const { d } = run(
      [
        cn({ installed: installed({ lineage: known }) }),
        silent('w1a'),
        writable('w1b', 1, { timeline: 2, history: null }),
        writable('w2a', 2),
      ],
      [testimony('cn1', 'w1a', 'down')],
    )
    expect(`${d[1]?.rule} ${d[1]?.standing}`).not.toBe('D063 proved')
  })

  it('does not count the promoted node as a witness for its own promotion', () => {
    // no metadata node can be asked ("unknown": old Citus), one log-shipping standby has no receiver: counts as "down"
    const { d } = run(
      [cn(), silent('w1a', 'timeout'), writable('w1b', 1, SECOND), writable('w2a', 2)],
      [testimony('cn1', 'w1a', 'unknown'), { ...testimony('w1b', 'w1a', 'down') }],
    )
    expect(`${d[1]?.rule} ${d[1]?.standing}`).not.toBe('D063 proved')
  })

  it('leaves a clone’s row alone, whoever vouches for the clone', () => {
    const catalog = [...TWO_WORKERS, secondaryRow(9, 1, { at: 'w1x', isclone: true, isactive: false })]
    const { p } = run(
      [
        cn({ catalog }),
        silent('w1a'),
        writable('w1x', 1, { ...SECOND, catalog }),
        standby('w1b', 1, null, { catalog }),
        writable('w2a', 2, { catalog }),
      ],
      [],
      vouching('w1x'),
    )
    expect(rows(p)?.at(-1)).toBe('9 1 secondary w1x inactive')
  })

  it('plans no second resync of a copy that Citus knows to be out of sync', () => {
    const catalog = TWO_WORKERS.map((r) => (r.nodeid === 4 ? { ...r, metadatasynced: false } : r))
    const lacking = TWO_WORKERS.slice(0, 4)
    const { p } = run([
      cn({ catalog }),
      writable('w1a', 1, { catalog }),
      standby('w1b', 1, 'w1a'),
      writable('w2a', 2, { catalog: lacking }),
      standby('w2b', 2, 'w2a'),
    ])
    expect(p.unsynced).toEqual([])
    expect(changesNothing(p)).toBe(true)
  })

  it('reads no address in exponential time', () => {
    const began = process.cpuUsage()
    parseAddress(`${'a'.repeat(26)}!:5432`)
    expect(process.cpuUsage(began).user).toBeLessThan(50_000)
  })

  it('warns of a vouched registered primary on another line', () => {
    const { d } = run(
      [
        cn({ installed: installed({ lineage: [lineage(1, 3, left(1, '0/1'), left(2, '0/2'))] }) }),
        writable('w1a', 1),
        writable('w2a', 2),
      ],
      [],
      vouching('w1a'),
    )
    expect(`${d[1]?.rule}`).toBe('D050')
    expect(d[1]?.warnings.length).toBeGreaterThan(0)
  })

  // Both were promoted, or follow who was, from timeline 1, at these places.
  it.each([
    ['less of what they have in common', '0/100', '0/200', lineage(1), 'refused'],
    ['more of it', '0/200', '0/100', lineage(1), 'sound'],
    ['less of it, which was decided', '0/100', '0/200', lineage(1, 2, left(1, '0/100')), 'sound'],
  ])(
    'a registered primary and a standby are on lines of their own: it has %s',
    (_, own, other, recorded, standing) => {
      const on = (at: string) => ({ timeline: 2, history: [left(1, at)] })
      const { d } = run([
        cn({ installed: installed({ lineage: [lineage(0), recorded, lineage(2)] }) }),
        writable('w1a', 1, on(own)),
        standby('w1b', 1, null, on(other)),
        writable('w2a', 2),
      ])
      expect(`${d[1]?.standing} ${d[1]?.remarks.map(({ text }) => text)}`).toMatch(new RegExp(`^${standing}`))
    },
  )

  it('takes no clone for a member, under whichever address it is asked', () => {
    const catalog = [...TWO_WORKERS, secondaryRow(9, 1, { at: 'w1x', isclone: true, isactive: false })]
    const x = writable('w1x', 1, { ...SECOND, catalog })
    const { d } = run(
      [
        cn({ catalog }),
        silent('w1a'),
        x,
        { ...x, address: at('10.0.0.9') },
        standby('w1b', 1, null, { catalog }),
        writable('w2a', 2, { catalog }),
      ],
      [testimony('cn1', 'w1a', 'down')],
      fileStandby(2, '10.0.0.9'),
    )
    expect(`${d[1]?.rule} ${d[1]?.standing}`).not.toBe('D063 proved')
  })
})
