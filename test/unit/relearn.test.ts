import { describe, expect, it } from 'vitest'
import type { Answered, Observation } from '../../src/model/observation.ts'
import { relearning } from '../../src/plan/relearn.ts'
import {
  installed,
  lineage,
  primaryRow,
  silent,
  standby,
  surveyOf,
  systemOf,
  writable,
} from '../support/builders.ts'

const CATALOG = [
  primaryRow(1, 0, { at: 'cn' }),
  primaryRow(2, 1, { at: 'w1' }),
  primaryRow(3, 2, { at: 'w2' }),
]
const NEW = { superuser: true, catalog: CATALOG }
const recorded = installed({
  lineage: [0, 1, 2].map((group) => ({ ...lineage(group, 3), systemIdentifier: `old-${group}` })),
  epoch: { timeline: 3, epoch: 41 },
})
const coordinator = (parts: Partial<Answered> = {}) =>
  writable('cn', 0, { ...NEW, installed: recorded, ...parts })
const worker = (at: string, group: number, parts: Partial<Answered> = {}) =>
  writable(at, group, { ...NEW, ...parts })
const learn = (cn: Answered, ...others: readonly Observation[]) => relearning(surveyOf([cn, ...others]), cn)

describe('what would be learnt anew', () => {
  it('is every registered primary as it is, the coordinator’s record last, above every epoch', () => {
    const w2 = worker('w2', 2, { installed: installed({ epoch: { timeline: 3, epoch: 57 } }) })
    const found = learn(coordinator(), worker('w1', 1), w2, standby('w1b', 1, 'w1', { catalog: CATALOG }))
    expect(found.refusals).toEqual([])
    expect(found.lines.map(({ group, systemIdentifier }) => [group, systemIdentifier])).toEqual(
      [0, 1, 2].map((group) => [group, systemOf(group)]),
    )
    expect(found.changes).toHaveLength(3)
    expect(found.changes[1]).toBe(`group 1: system old-1, timeline 3 -> system ${systemOf(1)}, timeline 1`)
    expect(found.nodes.map(({ address }) => address.host)).toEqual(['w1', 'w2', 'cn'])
    expect(found.epoch).toBe(58)
  })

  it('is nothing where all is as on record', () => {
    const known = coordinator({ installed: installed({ lineage: [0, 1, 2].map((group) => lineage(group)) }) })
    expect(learn(known, worker('w1', 1), worker('w2', 2)).changes).toEqual([])
  })

  it('says where nothing is on record', () => {
    const bare = coordinator({ installed: installed({ lineage: [] }) })
    expect(learn(bare, worker('w1', 1), worker('w2', 2)).changes[0]).toMatch(
      /^group 0: nothing is on record; system /,
    )
  })

  it('is the coordinator’s as well where it has no row', () => {
    const { lines, nodes, refusals } = learn(
      coordinator({ citus: { ...coordinator().citus, catalog: CATALOG.slice(1) } as Answered['citus'] }),
      worker('w1', 1),
      worker('w2', 2),
    )
    expect(refusals).toEqual([])
    expect(lines.map(({ group }) => group)).toEqual([0, 1, 2])
    expect(nodes.at(-1)?.address.host).toBe('cn')
  })

  it('is refused where the registered coordinator is silent, and another one takes writes', () => {
    const { refusals } = learn(
      writable('cn2', 0, { ...NEW, installed: recorded }),
      silent('cn'),
      worker('w1', 1),
      worker('w2', 2),
    )
    expect(refusals).toEqual([
      'group 0: cn:5432: it does not answer, and cn2:5432 is the coordinator; next: citus-ha reconcile --promoted cn2:5432',
    ])
  })

  const REFUSED: readonly (readonly [
    what: string,
    w1: readonly Observation[],
    cn: Partial<Answered>,
    why: RegExp,
  ])[] = [
    ['a primary that is silent', [silent('w1')], {}, /^group 1: w1:5432: it does not answer/],
    ['a standby in a primary’s row', [standby('w1', 1, null, NEW)], {}, /^group 1: w1:5432: it is a standby/],
    ['one of another group', [worker('w1', 7)], {}, /its pg_dist_local_group says 7/],
    ['a retired one', [worker('w1', 1, { retired: true })], {}, /it is retired/],
    ['a role without the right', [worker('w1', 1, { superuser: false })], {}, /needs a superuser/],
    [
      'a history that can’t be read',
      [worker('w1', 1, { timeline: 4, history: null })],
      {},
      /timeline 4 or its history file/,
    ],
    [
      'a schema of somebody else',
      [worker('w1', 1, { untrusted: ['function f of mallory'] })],
      {},
      /not made by citus-ha: function f of mallory/,
    ],
    [
      'a second one that takes writes',
      [worker('w1', 1), worker('w1b', 1)],
      {},
      /^w1b:5432 takes writes as well, as group 1/,
    ],
    [
      'one that is retired and runs on',
      [worker('w1', 1), worker('w1b', 1, { retired: true })],
      {},
      /^w1b:5432 is retired and still running, as group 1/,
    ],
    [
      'a change in doubt',
      [worker('w1', 1, { prepared: ['citus_ha_x'] })],
      {},
      /^w1:5432: a change is in doubt there; next: citus-ha recover$/,
    ],
  ]
  it.each(REFUSED)('is refused for %s', (_, others, cn, why) => {
    const { refusals } = learn(coordinator(cn), ...others, worker('w2', 2))
    expect(refusals).toHaveLength(1)
    expect(refusals[0]).toMatch(why)
    expect(refusals[0]).toMatch(
      /; next: (?:citus-ha (?:doctor|recover|reconcile|relearn|status)\b|pg_ctl stop -m fast -D DATA_DIRECTORY)/,
    )
  })
})
