import type { Claims } from '../../src/diagnose/facts.ts'
import type { Lineage, Observation, Position, Testimony } from '../../src/model/observation.ts'
import {
  fileStandby,
  installed,
  left,
  lineage,
  mute,
  named,
  position,
  silent,
  standby,
  TWO_WORKERS,
  testimony,
  vouching,
  writable,
} from './builders.ts'

export const PROMOTED = writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] })
const NOBODY_REACHES = [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'down')]

export interface Case {
  readonly name: string
  readonly rule: string
  readonly nodes: readonly Observation[]
  readonly heard?: readonly Testimony[]
  readonly known?: readonly Lineage[]
  readonly positions?: readonly Position[]
  readonly claims?: Claims
}

// A tool's word, which may come late or out of order.
const THIRD = [left(1, '0/50'), left(2, '0/60')]
const NAMED_BY_A_TOOL: readonly Case[] = [
  {
    name: 'a tool names a promoted standby while the old primary takes writes',
    rule: 'D040',
    nodes: [PROMOTED],
    claims: named('w1b'),
  },
  {
    name: 'the same, and only we lost the old primary',
    rule: 'D040',
    nodes: [silent('w1a'), PROMOTED],
    claims: named('w1b'),
  },
  {
    name: 'the same once more, after it was registered',
    rule: 'D050',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] })],
    known: [lineage(1, 2, left(1, '0/50'))],
    claims: named('w1a'),
  },
  {
    name: 'first run: a tool names a promoted standby',
    rule: 'D040',
    nodes: [silent('w1a'), PROMOTED],
    known: [],
    claims: named('w1b'),
  },
  {
    name: 'a tool names an old primary on the timeline before the recorded one',
    rule: 'D023',
    nodes: [silent('w1a'), PROMOTED],
    known: [lineage(1, 3, ...THIRD)],
    claims: named('w1b'),
  },
  {
    name: 'the same before the newer promotion was recorded: its primary answers',
    rule: 'D023',
    nodes: [silent('w1a'), PROMOTED, writable('w1c', 1, { timeline: 3, history: THIRD })],
    claims: named('w1b'),
  },
  {
    name: 'the same where only a standby of the newer primary answers',
    rule: 'D023',
    nodes: [silent('w1a'), PROMOTED, standby('w1c', 1, null, { timeline: 3, history: THIRD })],
    known: [],
    claims: { ...named('w1b'), standbys: fileStandby(1, 'w1c').standbys },
  },
  {
    name: 'a tool names the registered primary, and another is on a higher timeline',
    rule: 'D023',
    nodes: [PROMOTED],
    claims: named('w1a'),
  },
  {
    name: 'a tool names one of two that were promoted to one timeline',
    rule: 'D023',
    nodes: [silent('w1a'), PROMOTED, writable('w1c', 1, { timeline: 2, history: [left(1, '0/40')] })],
    claims: named('w1b'),
  },
  {
    name: 'a tool names a node that takes writes and was never promoted',
    rule: 'D023',
    nodes: [writable('w1b', 1)],
    claims: named('w1b'),
  },
  {
    name: 'a tool names a node whose line left the group’s before a living primary',
    rule: 'D023',
    nodes: [
      writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }),
      writable('w1b', 1, { timeline: 3, history: [left(1, '0/40'), left(2, '0/45')] }),
    ],
    known: [],
    claims: named('w1b'),
  },
  {
    name: 'a tool names a promoted node whose history can’t be read',
    rule: 'D023',
    nodes: [silent('w1a'), writable('w1b', 1, { timeline: 3, history: null })],
    known: [lineage(1, 2, left(1, '0/50'))],
    claims: named('w1b'),
  },
  {
    name: 'a tool names a node that is in recovery',
    rule: 'D022',
    nodes: [silent('w1a')],
    claims: named('w1b'),
  },
]

// w1b was promoted where timeline 1 was at 0/50, 80 bytes; who has less than that of it is no trouble.
const ALSO = fileStandby(1, 'w1c')
const W1C = (parts: Parameters<typeof standby>[3] = {}) => standby('w1c', 1, null, { lsn: 0x60n, ...parts })
const DEAD = { nodes: [silent('w1a'), PROMOTED], heard: NOBODY_REACHES, claims: ALSO }
const LAG = 16n * 1024n * 1024n
const LESS_THAN_KNOWN: readonly Case[] = [
  {
    ...DEAD,
    name: 'a living standby has more than the promoted one',
    rule: 'D064',
    nodes: [...DEAD.nodes, W1C()],
  },
  {
    ...DEAD,
    name: 'a living standby has just as much',
    rule: 'D063',
    nodes: [...DEAD.nodes, W1C({ lsn: 0x50n })],
  },
  {
    ...DEAD,
    name: 'it has received more, and applied no more',
    rule: 'D063',
    nodes: [...DEAD.nodes, W1C({ lsn: 0x50n, receivedLsn: 0x60n })],
  },
  {
    ...DEAD,
    name: 'it has received more than any lag',
    rule: 'D064',
    nodes: [...DEAD.nodes, W1C({ lsn: 0x50n, receivedLsn: 0x51n + LAG })],
  },
  {
    ...DEAD,
    name: 'what it has more is no transaction: both have replayed the same last commit',
    rule: 'D063',
    nodes: [silent('w1a'), { ...PROMOTED, lastCommit: '7.5' }, W1C({ lastCommit: '7.5' })],
  },
  {
    ...DEAD,
    name: 'the same, and enough for a transaction that was prepared',
    rule: 'D063',
    nodes: [silent('w1a'), { ...PROMOTED, lastCommit: '7.5' }, W1C({ lastCommit: '7.5', lsn: 0x50n + 121n })],
  },
  {
    ...DEAD,
    name: 'the same, and a commit is among it',
    rule: 'D064',
    nodes: [silent('w1a'), { ...PROMOTED, lastCommit: '7.5' }, W1C({ lastCommit: '7.6' })],
  },
  {
    ...DEAD,
    name: 'a living standby follows somebody who was promoted further',
    rule: 'D064',
    nodes: [...DEAD.nodes, W1C({ timeline: 3, history: THIRD })],
  },
  {
    ...DEAD,
    name: 'a living standby follows a twin of the same number',
    rule: 'D064',
    nodes: [...DEAD.nodes, W1C({ timeline: 2, history: [left(1, '0/60')] })],
  },
  {
    ...DEAD,
    name: 'a living standby of another system has more',
    rule: 'D030',
    nodes: [...DEAD.nodes, W1C({ systemIdentifier: '42' })],
  },
  {
    name: 'a standby that nobody named has more',
    rule: 'D064',
    nodes: [silent('w1a'), PROMOTED, W1C()],
    heard: NOBODY_REACHES,
  },
  {
    name: 'the old primary is back in recovery with what it did not ship',
    rule: 'D063',
    nodes: [standby('w1a', 1, null, { lsn: 0x60n }), PROMOTED],
  },
  {
    name: 'the same, and that is more than any lag',
    rule: 'D064',
    nodes: [standby('w1a', 1, null, { lsn: 0x51n + LAG }), PROMOTED],
  },
  { ...DEAD, name: 'the primary is on record further on', rule: 'D063', positions: [position('w1a', 0x60n)] },
  {
    ...DEAD,
    name: 'the same, and that is more than any lag',
    rule: 'D064',
    positions: [position('w1a', 0x51n + LAG)],
  },
  {
    ...DEAD,
    name: 'it had replayed more itself once',
    rule: 'D064',
    positions: [position('w1b', 0x60n, { inRecovery: true })],
  },
  {
    ...DEAD,
    name: 'another standby, which is gone, had replayed more',
    rule: 'D063',
    positions: [position('w1c', 0x60n, { inRecovery: true })],
  },
  {
    name: 'a tool names one that has less than a living standby',
    rule: 'D024',
    nodes: [silent('w1a'), PROMOTED, W1C()],
    claims: named('w1b'),
  },
  {
    name: 'a tool names one that had replayed more itself once',
    rule: 'D024',
    nodes: [silent('w1a'), PROMOTED],
    positions: [position('w1b', 0x60n, { inRecovery: true })],
    claims: named('w1b'),
  },
  {
    name: 'a person vouches for it all the same',
    rule: 'D040',
    nodes: [silent('w1a'), PROMOTED, W1C()],
    positions: [position('w1b', 0x60n, { inRecovery: true })],
    claims: vouching('w1b'),
  },
  {
    name: 'the registered primary was restored, and left its timeline before a standby’s position',
    rule: 'D043',
    nodes: [
      writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }),
      standby('w1b', 1, null, { lsn: 0x60n }),
    ],
  },
  {
    name: 'the same before what is on record of itself',
    rule: 'D043',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }), silent('w1b')],
    positions: [position('w1a', 0x60n)],
  },
  {
    name: 'a snapshot of the registered primary was started, on its own timeline',
    rule: 'D043',
    nodes: [silent('w1b')],
    positions: [position('w1a', 0x1000n)],
  },
  {
    name: 'the same, written down while this survey was made',
    rule: 'D050',
    nodes: [silent('w1b')],
    positions: [position('w1a', 0x1000n, { ageMs: 50 })],
  },
  {
    name: 'a standby of it, which does not stream, is further on on its timeline',
    rule: 'D043',
    nodes: [standby('w1b', 1, null, { lsn: 0x1000n })],
  },
  {
    name: 'the same, and it has a receiver: its connection may be dead, and the survey asks the primary last',
    rule: 'D043',
    nodes: [standby('w1b', 1, 'w1a', { lsn: 0x1000n })],
  },
  {
    name: 'the same, and our role may not see whether it streams',
    rule: 'D043',
    nodes: [standby('w1b', 1, null, { lsn: 0x1000n, readsStatistics: false })],
  },
  {
    name: 'the same, and where the primary is could not be read: nothing follows',
    rule: 'D050',
    nodes: [writable('w1a', 1, { lsn: null }), standby('w1b', 1, 'w1a', { lsn: 0x1000n })],
  },
  {
    name: 'what an old primary did not ship was given up by the decision',
    rule: 'D050',
    nodes: [
      writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }),
      standby('w1b', 1, null, { lsn: 0x60n }),
    ],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  {
    name: 'first run: a living standby has more than the registered primary came from',
    rule: 'D043',
    nodes: [
      writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }),
      standby('w1b', 1, null, { lsn: 0x60n }),
    ],
    known: [],
  },
  {
    name: 'the history file of the registered primary is gone',
    rule: 'D050',
    nodes: [writable('w1a', 1, { timeline: 2, history: null })],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
]

// Group 1 of a cluster that is healthy but for the nodes given. A near miss stands below what it misses.
export const CASES: readonly Case[] = [
  {
    name: 'the primary was disabled on purpose, and is switched off',
    rule: 'D011',
    nodes: [
      writable('cn1', 0, {
        installed: installed({ lineage: [lineage(0), lineage(1), lineage(2)] }),
        catalog: TWO_WORKERS.map((row) => (row.nodeid === 2 ? { ...row, isactive: false } : row)),
      }),
      silent('w1a'),
    ],
    heard: NOBODY_REACHES,
  },
  { name: 'the vouched node does not answer', rule: 'D020', nodes: [silent('w1b')], claims: vouching('w1b') },
  {
    name: 'the vouched node can’t be read',
    rule: 'D020',
    nodes: [mute('w1b', 'auth')],
    claims: vouching('w1b'),
  },
  {
    name: 'another group’s node is vouched for and silent',
    rule: 'D050',
    nodes: [silent('w2b')],
    claims: vouching('w2b'),
  },
  {
    name: 'the vouched node is of another system',
    rule: 'D021',
    nodes: [{ ...PROMOTED, systemIdentifier: '42' }, silent('w1a')],
    heard: NOBODY_REACHES,
    claims: vouching('w1b'),
  },
  {
    name: 'the vouched node says it is of another group',
    rule: 'D021',
    nodes: [writable('w1b', 1, { citus: { localGroup: 2 } }), silent('w1a')],
    claims: vouching('w1b'),
  },
  {
    name: 'the vouched node has no Citus',
    rule: 'D021',
    nodes: [writable('w1b', 1, { citus: null }), silent('w1a')],
    claims: vouching('w1b'),
  },
  {
    name: 'a node of another group is vouched for as of this one',
    rule: 'D021',
    nodes: [writable('w2b', 2)],
    claims: vouching('w2b', 1),
  },
  { name: 'the vouched node is in recovery', rule: 'D022', nodes: [silent('w1a')], claims: vouching('w1b') },
  {
    name: 'the registered address answers as another system',
    rule: 'D030',
    nodes: [writable('w1a', 1, { systemIdentifier: '42' }), PROMOTED],
  },
  {
    name: 'the registered address answers as another group',
    rule: 'D030',
    nodes: [writable('w1a', 1, { citus: { localGroup: 2 } }), PROMOTED],
  },
  {
    name: 'a secondary’s address answers as another system',
    rule: 'D030',
    nodes: [standby('w1b', 1, 'x', { systemIdentifier: '42' })],
  },
  {
    name: 'the same, with the true one vouched for',
    rule: 'D040',
    nodes: [writable('w1a', 1, { systemIdentifier: '42' }), PROMOTED],
    claims: vouching('w1b'),
  },
  {
    name: 'a writable standby is vouched for while the old primary takes writes',
    rule: 'D040',
    nodes: [PROMOTED],
    claims: vouching('w1b'),
  },
  {
    name: 'a vouched node on another line',
    rule: 'D040',
    nodes: [writable('w1b', 1, { timeline: 1 }), silent('w1a')],
    known: [lineage(1, 3, left(1, '0/10'), left(2, '0/20'))],
    claims: vouching('w1b'),
  },
  ...NAMED_BY_A_TOOL,
  {
    name: 'the registered primary itself is vouched for',
    rule: 'D050',
    nodes: [PROMOTED],
    claims: vouching('w1a'),
  },
  { name: 'old and new take writes', rule: 'D041', nodes: [PROMOTED] },
  {
    name: 'two standbys were promoted, to one timeline number',
    rule: 'D041',
    nodes: [silent('w1a'), PROMOTED, writable('w1c', 1, { timeline: 2, history: [left(1, '0/49')] })],
    heard: NOBODY_REACHES,
  },
  {
    name: 'the registered primary was restored to an old timeline',
    rule: 'D042',
    nodes: [],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  {
    name: 'the registered primary is on another timeline of the same number',
    rule: 'D042',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/60')] })],
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  ...LESS_THAN_KNOWN,
  { name: 'everything is well', rule: 'D050', nodes: [] },
  {
    name: 'the registered primary is read-only',
    rule: 'D048',
    nodes: [writable('w1a', 1, { readOnly: true })],
  },
  {
    name: 'an old primary that is retired takes no part',
    rule: 'D050',
    nodes: [writable('w1b', 1, { readOnly: true, retired: true })],
  },
  {
    name: 'a retired one that still takes writes is told of',
    rule: 'D047',
    nodes: [writable('w1b', 1, { retired: true })],
  },
  {
    name: 'a retired one that still takes writes keeps no failover out',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED, writable('w1c', 1, { retired: true })],
    heard: NOBODY_REACHES,
  },
  {
    name: 'the registered primary is retired, and another one takes writes',
    rule: 'D063',
    nodes: [writable('w1a', 1, { readOnly: true, retired: true }), PROMOTED],
  },
  {
    name: 'the registered primary is retired, and none takes writes',
    rule: 'D070',
    nodes: [writable('w1a', 1, { retired: true })],
  },
  { name: 'a secondary is silent towards us alone', rule: 'D050', nodes: [silent('w1b')] },
  {
    name: 'a secondary is down',
    rule: 'D049',
    nodes: [silent('w1b')],
    heard: [testimony('cn1', 'w1b', 'down')],
  },
  {
    name: 'the primary was restarted and made a new timeline',
    rule: 'D050',
    nodes: [writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] })],
  },
  {
    name: 'first run: one standby, promoted, alone',
    rule: 'D060',
    nodes: [silent('w1a'), PROMOTED],
    heard: NOBODY_REACHES,
    known: [],
  },
  {
    name: 'first run: two members agree',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED, standby('w1c', 1, 'w1b', { timeline: 2 })],
    heard: NOBODY_REACHES,
    known: [],
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'first run: two members of different systems',
    rule: 'D060',
    nodes: [silent('w1a'), PROMOTED, standby('w1c', 1, null, { systemIdentifier: '42' })],
    heard: NOBODY_REACHES,
    known: [],
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'first run: vouched for, and its metadata names this cluster',
    rule: 'D040',
    nodes: [silent('w1a'), PROMOTED],
    known: [],
    claims: vouching('w1b'),
  },
  {
    name: 'first run: vouched for, but its metadata is another cluster’s',
    rule: 'D060',
    nodes: [silent('w1a'), writable('w1b', 1, { catalog: [], timeline: 2, history: [left(1, '0/50')] })],
    heard: NOBODY_REACHES,
    known: [],
    claims: vouching('w1b'),
  },
  {
    name: 'first run: the old primary is back as a standby',
    rule: 'D063',
    nodes: [standby('w1a', 1, 'w1b', { timeline: 2 }), PROMOTED],
    known: [],
  },
  {
    name: 'a restored standby takes writes',
    rule: 'D061',
    nodes: [silent('w1a'), writable('w1b', 1, { timeline: 2, history: [left(1, '0/40')] })],
    heard: NOBODY_REACHES,
    known: [lineage(1, 2, left(1, '0/50'))],
  },
  {
    name: 'the route to a living primary is lost',
    rule: 'D062',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'alive')],
  },
  {
    name: 'the same with nothing promoted',
    rule: 'D062',
    nodes: [silent('w1a')],
    heard: [testimony('w2a', 'w1a', 'alive')],
  },
  {
    name: 'the old primary is dead, the standby promoted',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED],
    heard: NOBODY_REACHES,
  },
  {
    name: 'one witness beside ourselves',
    rule: 'D063',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'down')],
  },
  { name: 'nobody beside ourselves', rule: 'D090', nodes: [silent('w1a'), PROMOTED] },
  {
    name: 'witnesses that know nothing',
    rule: 'D090',
    nodes: [silent('w1a'), PROMOTED],
    heard: [testimony('cn1', 'w1a', 'unknown'), testimony('w2a', 'w1a', 'unknown')],
  },
  {
    name: 'an unregistered standby of the file was promoted',
    rule: 'D063',
    nodes: [silent('w1a'), writable('w1c', 1, { timeline: 2, history: [left(1, '0/50')] })],
    heard: NOBODY_REACHES,
    claims: fileStandby(1, 'w1c'),
  },
  {
    name: 'the old primary follows the new one',
    rule: 'D063',
    nodes: [standby('w1a', 1, 'w1b', { timeline: 2 }), PROMOTED],
  },
  { name: 'everybody is in recovery', rule: 'D070', nodes: [standby('w1a', 1, null)] },
  {
    name: 'the primary is dead, nothing promoted',
    rule: 'D071',
    nodes: [silent('w1a'), standby('w1b', 1, null)],
    heard: NOBODY_REACHES,
  },
  { name: 'only we think so', rule: 'D090', nodes: [silent('w1a'), standby('w1b', 1, null)] },
  ...(['auth', 'tls', 'starting', 'too-many-connections', 'privilege'] as const).map(
    (cause): Case => ({
      name: `the registered primary says ${cause}: it lives`,
      rule: 'D090',
      nodes: [mute('w1a', cause), PROMOTED],
      heard: NOBODY_REACHES,
    }),
  ),
]
