import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { type Ailing, nextCommand } from '../../src/model/ailing.ts'
import type { Observation } from '../../src/model/observation.ts'
import { changesNothing } from '../../src/model/plan.ts'
import { Ailments } from '../../src/walk/ailments.ts'
import {
  address,
  installed,
  primaryRow,
  silent,
  surveyOf,
  TWO_WORKERS,
  testimony,
  writable,
} from '../support/builders.ts'
import { at, FAILED_OVER, KNOWN, planned, SECOND } from '../support/planned.ts'

const failing = (node: string, code: string | null): Ailing => ({
  node: address(node),
  step: 'rewrite',
  code,
  message: 'so it said',
})
const OLD_LIVES = [writable('w1a', 1), writable('w1b', 1, SECOND)]
const NOTHING_MOVED = [silent('w1b')]
const BOTH = [...FAILED_OVER, silent('w2a'), writable('w2b', 2, SECOND)]

/** In which round, of the same failure again and again, the node is left out; null: in none of ten. */
function leftOutIn(
  ailing: Ailing,
  {
    nodes = FAILED_OVER,
    blocked = true,
    lastAt = 99,
  }: { nodes?: readonly Observation[]; blocked?: boolean; lastAt?: number } = {},
): number | null {
  const plan = planned({ nodes })
  const ailments = new Ailments([])
  for (let round = 1; round <= 10; round++) {
    const isLast = round >= lastAt
    const isInTheWay = () => blocked
    if (ailments.note({ plan, ailing: [ailing], isInTheWay, isLast, mayForce: false }).length > 0)
      return round
  }
  return null
}

describe('which round is made without a participant that failed', () => {
  test.each([
    ['read-only', 'w2a', '25006', {}, 1],
    ['slots of prepared transactions', 'w2a', '53200', {}, 1],
    ['disk full', 'w2a', '53100', {}, 1],
    ['no slot for a connection', 'w2a', '53300', {}, 1],
    ['a trigger', 'w2a', 'P0001', {}, 1],
    ['no function', 'w2a', '42883', {}, 1],
    ['no right', 'w2a', '42501', {}, 1],
    ['an internal error', 'w2a', 'XX000', {}, 1],
    ['shutting down', 'w2a', '57P01', {}, 1],
    ['a session that is lost', 'w2a', 'ECONNRESET', {}, 1],
    ['no answer', 'w2a', 'SESSION_TIMEOUT', {}, 1],
    ['what says nothing of itself', 'w2a', null, {}, 1],
    ['a lock that somebody has', 'w2a', '55P03', {}, 1],
    ['the same, while the old primary lives', 'w2a', '55P03', { nodes: OLD_LIVES }, 3],
    ['the same, and no primary has moved', 'w2a', '55P03', { nodes: NOTHING_MOVED }, 3],
    ['a lock that nobody has', 'w2a', '55P03', { blocked: false }, null],
    ['the same, and no time', 'w2a', '55P03', { blocked: false, lastAt: 2 }, 2],
    ['a deadlock', 'w2a', '40P01', {}, 1],
    ['the same, while the old primary lives', 'w2a', '40P01', { nodes: OLD_LIVES }, 3],
    ['a copy that has changed', 'w2a', 'HA002', {}, 3],
    ['a newer change than this coordinator’s', 'w2a', 'HA001', { lastAt: 2 }, null],
    ['the coordinator', 'cn1', '25006', { lastAt: 2 }, null],
    ['the new primary', 'w1b', '25006', { lastAt: 2 }, null],
    ['the new primary of one of two groups', 'w1b', '25006', { nodes: BOTH }, 1],
  ] as const)('%s', (_, node, code, given, round) => {
    expect(leftOutIn(failing(node, code), given)).toBe(round)
  })
})

test('what is left out is flagged and named, and the others are written', () => {
  const made = planned({ nodes: FAILED_OVER, options: { ailing: [failing('w2a', '25006')] } })
  expect(made.copies.map(({ node }) => node.host)).toEqual(['cn1', 'w1b'])
  expect(made).toMatchObject({ unsynced: [4], leftOut: [{ nodeid: 4, node: at('w2a') }] })
  expect(made.leftOut[0]?.why).toMatch(
    /25006: so it said; to find the cause, run: psql -h w2a -p 5432 .*citus-ha reconcile/,
  )
})

test('of two groups that were promoted each does without the other’s new primary', () => {
  const made = planned({ nodes: BOTH, options: { ailing: [failing('w1b', 'P0001')] } })
  const moved = made.changes.filter(({ kind }) => kind === 'primary-moved')
  expect(moved.map(({ group }) => group)).toEqual([2])
  expect(made.leftOut.map(({ node }) => node.host)).toEqual(['w1b'])
})

test('a copy without the schema is named, also where it is right', () => {
  const made = planned({ nodes: [writable('w2a', 2, { installed: null })] })
  expect(changesNothing(made)).toBe(true)
  expect(made.leftOut).toMatchObject([{ nodeid: 4 }])
  expect(made.warnings.join()).toMatch(/w2a:5432 takes no part in changes: .*citus-ha install/)
})

describe('who is no member of this cluster', () => {
  const given = (...nodes: Parameters<typeof surveyOf>[0]) =>
    diagnose(
      surveyOf(
        [
          writable('cn1', 0, { installed: installed({ lineage: KNOWN }) }),
          writable('w1a', 1),
          writable('w2a', 2),
          ...nodes,
        ],
        nodes.flatMap((node) =>
          node.kind === 'answered' ? [] : [testimony('cn1', node.address.host, 'down')],
        ),
      ),
      NO_CLAIMS,
    ).map(({ group, code }) => [group, code])

  test('a server made anew at a secondary’s address: no group is refused for it', () => {
    const fresh = writable('w1b', 0, { systemIdentifier: '9', catalog: [] })
    expect(given(fresh)).toEqual([
      [0, 'healthy'],
      [1, 'healthy'],
      [2, 'healthy'],
    ])
  })

  test('at a primary’s address it is refused, for that group alone', () => {
    const fresh = writable('w2a', 0, { systemIdentifier: '9', catalog: [] })
    expect(given(fresh)).toEqual([
      [0, 'healthy'],
      [1, 'healthy'],
      [2, 'lineage-mismatch'],
    ])
  })
})

test('a node that was disabled and switched off is out of service, and nobody is refused or waited for', () => {
  const off = primaryRow(6, 3, { at: 'w3a', isactive: false, metadatasynced: false })
  const catalog = [...TWO_WORKERS, off]
  const nodes = [silent('w3a')]
  const made = planned({ catalog, nodes, heard: [] })
  expect(changesNothing(made)).toBe(true)
  expect(made.leftOut).toEqual([])
  const promoted = [silent('w1a'), writable('w1b', 1, { ...SECOND, catalog })]
  const failedOver = planned({ catalog, nodes: [...nodes, ...promoted] })
  expect(failedOver.leftOut).toEqual([])
})

test.each([
  ['its copy names the old primary', writable('w2a', 2), [1]],
  ['what it has is not known', silent('w2a', 'timeout'), [0, 1, 2]],
  ['nothing runs there', silent('w2a'), []],
])('what is left out may send writes astray: %s', (_, seen, groups) => {
  const nodes = [...FAILED_OVER.filter((node) => node.address.host !== 'w2a'), seen]
  const made = planned({ nodes, options: { ailing: [failing('w2a', 'P0001')] } })
  expect(made.leftOut.map(({ sendsAstray }) => sendsAstray)).toEqual([groups])
})

test('the command to look with is one for a shell, whatever the names are', () => {
  const ailing = { node: { host: "o'brien", port: 5432 }, code: 'P0001' }
  expect(nextCommand(ailing, 'a "b" $c')).toBe(
    `psql -h "o'brien" -p 5432 -d 'a "b" $c' -U citus_ha -c 'SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = $$pg_dist_node$$::regclass AND NOT tgisinternal'`,
  )
})
