import { describe, expect, test } from 'vitest'
import { type MonitorNode, readMonitor } from '../../src/integrate/auto-failover.ts'
import { readPatroni } from '../../src/integrate/patroni.ts'
import { readPgpool } from '../../src/integrate/pgpool.ts'
import { readPromoted } from '../../src/integrate/promoted.ts'
import { readRepmgr } from '../../src/integrate/repmgr.ts'
import { nodeOf, type Word } from '../../src/integrate/word.ts'
import { formatAddress } from '../../src/model/node.ts'

const W1B = { host: 'w1b', port: 5432 }

/** What a word comes to: the names and the address of the promoted, or null. */
function promoted(word: Word): string | null {
  if (word.kind === 'unconcerned') return null
  return [...word.names, word.address === null ? '-' : formatAddress(word.address)].join(' ')
}

const PROMOTED = 'server "w1b" (ID: 2) was successfully promoted to primary'
const AT = '2026-01-01 00:00:00+00'
// As the sample scripts of Pgpool-II have them: d h p D m H M P r R N S.
const pgpool = (command: string, failed: string, primary: string, main = ['1', 'w1b', '5432']) => [
  ...[command, failed, 'w1a', '5432', '/data/a', main[0] ?? '', main[1] ?? '', '0', primary],
  ...[main[2] ?? '', '/data/b', 'w1a', '5432'],
]

const CASES: readonly (readonly [
  string,
  (args: readonly string[]) => Word,
  readonly string[],
  string | null,
])[] = [
  ['Patroni 3 promotes', readPatroni, ['on_role_change', 'master', 'w1'], '-'],
  ['Patroni 4 promotes', readPatroni, ['on_role_change', 'primary', 'w1'], '-'],
  ['demotes', readPatroni, ['on_role_change', 'replica', 'w1'], null],
  ['leads a standby cluster', readPatroni, ['on_role_change', 'standby_leader', 'w1'], null],
  ['starts a primary', readPatroni, ['on_start', 'master', 'w1'], '-'],
  ['starts a replica', readPatroni, ['on_start', 'replica', 'w1'], null],
  ['stops', readPatroni, ['on_stop', 'master', 'w1'], null],
  ['reloads', readPatroni, ['on_reload', 'master', 'w1'], null],
  ['restarts a primary', readPatroni, ['on_restart', 'primary', 'w1'], '-'],
  ['restarts a replica', readPatroni, ['on_restart', 'replica', 'w1'], null],
  ['repmgr promotes', readRepmgr, ['2', 'standby_promote', '1', AT, PROMOTED], 'w1b 2 -'],
  ['repmgrd promotes', readRepmgr, ['2', 'repmgrd_failover_promote', '1', AT, 'node 2 promoted'], '2 -'],
  ['repmgr switches over', readRepmgr, ['2', 'standby_switchover', '1', AT, ''], '2 -'],
  ['repmgr fails to promote', readRepmgr, ['2', 'standby_promote', '0', AT, 'no'], null],
  ['repmgr follows', readRepmgr, ['3', 'standby_follow', '1', AT, 'attached to upstream'], null],
  [
    'repmgr starts',
    readRepmgr,
    ['1', 'repmgrd_start', '1', AT, 'monitoring cluster primary "w1a" (ID: 1)'],
    null,
  ],
  ['repmgr says something new', readRepmgr, ['1', 'some_future_event', '1'], null],
  ['Pgpool-II: the primary fails', readPgpool, pgpool('failover', '0', '0'), 'w1b:5432 1 w1b:5432'],
  ['Pgpool-II: a standby fails', readPgpool, pgpool('failover', '2', '1'), null],
  ['Pgpool-II: the last fails', readPgpool, pgpool('failover', '0', '0', ['-1', '', '']), null],
  ['Pgpool-II: a standby follows', readPgpool, pgpool('follow_primary', '2', '0'), 'w1b:5432 1 w1b:5432'],
  ['Pgpool-II: it knew of no primary', readPgpool, pgpool('failover', '0', '-1'), 'w1b:5432 1 w1b:5432'],
  ['anything else', readPromoted, ['[fe80::1]:5432'], '[fe80::1]:5432 [fe80::1]:5432'],
]

describe('what a tool says', () => {
  test.each(CASES)('%s', (_, read, args, expected) => {
    expect(promoted(read(args))).toBe(expected)
  })

  test.each([
    ['too few for Patroni', readPatroni, ['on_role_change', 'master']],
    ['no action of Patroni', readPatroni, ['master', 'on_role_change', 'w1']],
    ['nothing for repmgr', readRepmgr, []],
    ['repmgr’s in another order', readRepmgr, ['standby_promote', '2', '1']],
    ['repmgr’s placeholders as they are', readRepmgr, ['%n', '%e', '%s', '%t', '%d']],
    ['Pgpool-II’s without the command', readPgpool, pgpool('failover', '0', '0').slice(1)],
    [
      'Pgpool-II’s with an empty one lost',
      readPgpool,
      pgpool('failover', '0', '0').filter((_, n) => n !== 4),
    ],
    ['a host without a port', readPromoted, ['w1b']],
    ['two nodes', readPromoted, ['w1a:5432', 'w1b:5432']],
  ])('refuses %s', (_, read, args) => {
    expect(() => read(args)).toThrow(/^(patroni|repmgr|pgpool|promoted): expected .*, got \d+ arguments?: /)
  })
})

describe('what a monitor holds for primaries', () => {
  const node = (name: string, reported: string, goal: string): MonitorNode => {
    return { formation: 'default', group: 0, id: 1, name, host: name, port: 5432, reported, goal }
  }
  test.each([
    ['a settled pair', [node('w1a', 'primary', 'primary'), node('w1b', 'secondary', 'secondary')], ['w1a']],
    [
      'a failover that begins',
      [node('w1a', 'primary', 'draining'), node('w1b', 'secondary', 'prepare_promotion')],
      ['w1b'],
    ],
    [
      'one under way',
      [node('w1a', 'primary', 'demote_timeout'), node('w1b', 'prepare_promotion', 'stop_replication')],
      ['w1b'],
    ],
    [
      'one that is through',
      [node('w1a', 'demoted', 'catchingup'), node('w1b', 'wait_primary', 'primary')],
      ['w1b'],
    ],
    ['a node that is being made', [node('w1a', 'init', 'single')], []],
    [
      'a primary that is lost',
      [node('w1a', 'primary', 'demoted'), node('w1b', 'catchingup', 'catchingup')],
      [],
    ],
  ])('%s', (_, nodes, expected) => {
    expect(
      readMonitor(nodes).flatMap((word) => (word.kind === 'promoted' ? [word.address?.host] : [])),
    ).toEqual(expected)
  })
})

describe('which node that is', () => {
  const word = { kind: 'promoted', names: ['w1b', '2'], address: null, says: 'repmgr node 2' } as const
  const nodes = new Map([['2', W1B]])
  test('--node, the file, what the tool says, in this order', () => {
    const given = { host: 'given', port: 1 }
    expect(nodeOf(word, given, nodes)).toEqual(given)
    expect(nodeOf(word, undefined, nodes)).toEqual(W1B)
    expect(nodeOf({ ...word, address: given }, undefined, nodes)).toEqual(W1B)
    expect(nodeOf({ ...word, address: given }, undefined, new Map())).toEqual(given)
  })

  test('is asked for where nobody says it', () => {
    expect(() => nodeOf(word, undefined, new Map())).toThrow(
      'repmgr node 2: citus-ha cannot tell which node this is. Add --node HOST:PORT, as pg_dist_node has it, or one of "w1b", "2" under integrations.nodes',
    )
  })
})
