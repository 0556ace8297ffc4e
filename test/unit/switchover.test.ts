import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { errorsAfter } from '../../src/doctor/after.ts'
import type { Catalog, CatalogRow } from '../../src/model/catalog.ts'
import type { Inspection } from '../../src/model/inspection.ts'
import type { Intent } from '../../src/model/intent.ts'
import type { Manager } from '../../src/model/manager.ts'
import type { Answered, Observation, UnreadableCause } from '../../src/model/observation.ts'
import { check } from '../../src/switchover/check.ts'
import {
  type Clients,
  judgeClients,
  judgeDatabase,
  type Named,
  namedIn,
} from '../../src/switchover/clients.ts'
import { managed } from '../../src/switchover/managed.ts'
import { senders, setting } from '../support/ailment.ts'
import {
  address,
  installed,
  left,
  lineage,
  MIGRATION,
  primaryRow,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  switchoverOrder,
  TWO_WORKERS,
  writable,
} from '../support/builders.ts'
import { type Case, factsOf, inspected, KNOWN_LINES, look, unlooked } from '../support/examined.ts'
import { viewed } from '../support/planned.ts'

describe('what doctor would say of the servers of a switchover, as they will be', () => {
  const cases: readonly { says: string; given: Case; errors: readonly string[] }[] = [
    { says: 'nothing of a sound target', given: {}, errors: [] },
    {
      says: 'that it waits for a standby, and none is attached',
      given: setting('w1b', 'synchronous_standby_names', '*'),
      errors: ['H120'],
    },
    {
      says: 'that it waits for one that will not follow by itself',
      given: {
        nodes: [standby('w1c', 1, 'w1a')],
        ...setting('w1b', 'synchronous_standby_names', 'w1c'),
      },
      errors: ['H120'],
    },
    {
      says: 'that it waits for more than stream from it already',
      given: {
        nodes: [standby('w1b', 1, 'w1a', { senders: senders('async') })],
        ...setting('w1b', 'synchronous_standby_names', 'ANY 2 (*)'),
      },
      errors: ['H120'],
    },
    {
      says: 'nothing where enough stream from it already',
      given: {
        nodes: [standby('w1b', 1, 'w1a', { senders: senders('async') })],
        ...setting('w1b', 'synchronous_standby_names', '*'),
      },
      errors: [],
    },
    {
      says: 'that it can take part in no change',
      given: setting('w1b', 'max_prepared_transactions', '0'),
      errors: ['H110'],
    },
    {
      says: 'that it takes no writes',
      given: setting('w1b', 'default_transaction_read_only', 'on'),
      errors: ['H150'],
    },
    {
      says: 'nothing of what ails another server',
      given: setting('w2b', 'max_prepared_transactions', '0'),
      errors: [],
    },
  ]

  it('nothing of a coordinator’s standby that takes its place', () => {
    const facts = factsOf({ nodes: [standby('cn2', 0, 'cn1')] })
    const at = (name: string) => facts.survey.nodes.find((node) => node.address.host === name) as Answered
    expect(errorsAfter(facts, [{ from: at('cn1'), to: at('cn2') }])).toEqual([])
  })

  it.each(cases)('$says', ({ given, errors }) => {
    const facts = factsOf(given)
    const at = (name: string) => facts.survey.nodes.find((node) => node.address.host === name) as Answered
    const found = errorsAfter(facts, [{ from: at('w1a'), to: at('w1b') }])
    expect(found.map(({ id }) => id)).toEqual(errors)
  })
})

describe('what would write on a read-only primary', () => {
  const none = { overriding: [], subscriptions: [], prepared: [], unlogged: [] }
  const cases: readonly { given: Partial<Clients>; refused: RegExp }[] = [
    {
      given: { overriding: [{ role: 'a b', database: null }] },
      refused: /ALTER ROLE "a b" RESET default_transaction_read_only/,
    },
    { given: { overriding: [{ role: null, database: 'app' }] }, refused: /ALTER DATABASE "app" RESET/ },
    {
      given: { overriding: [{ role: 'a', database: 'app' }] },
      refused: /ALTER ROLE "a" IN DATABASE "app" RESET/,
    },
    { given: { subscriptions: [{ name: 's', database: 'app' }] }, refused: /ALTER SUBSCRIPTION "s" DISABLE/ },
    {
      given: { prepared: [{ gid: `it's`, owner: 'ann', database: 'app' }] },
      refused: /ann has prepared 'it''s'/,
    },
  ]

  it.each(cases)('is refused by name: $given', ({ given, refused }) => {
    expect(judgeClients(address('w1a'), { ...none, ...given }).refusals).toEqual([
      expect.stringMatching(refused),
    ])
  })

  it('nothing is, where there is nothing; what is not known is said', () => {
    expect(judgeClients(address('w1a'), none)).toEqual({ refusals: [], warnings: [] })
    const unlogged = ['a', 'b', 'c', 'd', 'e', 'f']
    expect(judgeClients(address('w1a'), { ...none, unlogged })).toEqual({
      refusals: [],
      warnings: [
        expect.stringContaining('unlogged tables are empty on every standby (a, b, c, d, e, and 1 more)'),
      ],
    })
  })
})

describe('another database of an old primary', () => {
  const at = address('w1a')
  const withCitus = (rows: 'own rows' | 'no rows') => {
    const { citus } = writable('w1a', 1)
    return writable('w1a', 1, { citus: citus && { ...citus, ...(rows === 'no rows' && { catalog: [] }) } })
  }
  const unread = (cause: UnreadableCause): Observation => ({
    kind: 'unreadable',
    address: at,
    cause,
    detail: 'why',
  })
  const noRight = unread('privilege')
  const cases: readonly {
    what: string
    here: Observation
    /** Whether the coordinator's rows there name it. */
    named?: Named
    /** Citus's daemon runs there. */
    daemon?: boolean
    refused?: RegExp
    warned?: RegExp
  }[] = [
    { what: 'without Citus', here: writable('w1a', 1, { citus: null }) },
    { what: 'that is gone', here: unread('no-database') },
    { what: 'with Citus', here: withCitus('own rows'), refused: /also has Citus but would not be switched/ },
    {
      what: 'of a worker without metadata',
      here: withCitus('no rows'),
      named: 'yes',
      refused: /also has Citus but/,
    },
    { what: 'with Citus, in which it is no node', here: withCitus('no rows'), named: 'no' },
    {
      what: 'with Citus and no rows, which the coordinator does not have',
      here: withCitus('no rows'),
      named: 'no such database',
      daemon: true,
    },
    {
      what: 'with Citus and no rows, where the coordinator can’t be asked',
      here: withCitus('no rows'),
      warned: /^\S+: database second: its pg_dist_node is empty, and .*, so it is not known/,
    },
    {
      what: 'the same, and its daemon runs',
      here: withCitus('no rows'),
      daemon: true,
      refused: /also has Citus, and its pg_dist_node is empty, .*; next: citus-ha config check/,
    },
    {
      what: 'without the right to connect',
      here: noRight,
      warned: /this role has no right to connect, so it is not known/,
    },
    {
      what: 'the same, where a daemon runs',
      here: noRight,
      daemon: true,
      refused: /also has Citus, and this role has no right.* under "databases" of the configuration$/,
    },
    {
      what: 'the same, where the coordinator names it',
      here: noRight,
      named: 'yes',
      refused: /also has Citus, and this role/,
    },
    { what: 'the same, where the coordinator does not', here: noRight, named: 'no' },
    {
      what: 'that pg_hba.conf closes',
      here: unread('auth'),
      warned: /this role is not let in \(why\), so it is not known/,
    },
    {
      what: 'the same, where a daemon runs: with what is to be done about both',
      here: unread('auth'),
      daemon: true,
      refused: /also has Citus, and this role is not let in .* a line for it in pg_hba\.conf there$/,
    },
    {
      what: 'of a server that is busy',
      here: unread('too-many-connections'),
      named: 'no',
      refused: /cannot be read/,
    },
  ]

  it.each(cases)('$what', ({ here, named = 'unknown', daemon = false, refused, warned }) => {
    const from = writable('w1a', 1, { citusDatabases: daemon ? ['app', 'second'] : ['app'] })
    expect(judgeDatabase(from, 'second', here, named)).toEqual({
      refusals: refused ? [expect.stringMatching(refused)] : [],
      warnings: warned ? [expect.stringMatching(warned)] : [],
    })
  })
})

describe('whether the coordinator’s rows in another database name an old primary', () => {
  const [coordinator, from] = [writable('cn1', 0), writable('w1a', 1)]
  const nodes = [coordinator, from, writable('w2a', 2), silent('w3a')]
  const row = (at: string) => primaryRow(1, 1, { at })

  it.each<[string, readonly CatalogRow[], Answered, 'yes' | 'no']>([
    ['none', [], from, 'no'],
    ['its own', [row('w1a')], from, 'yes'],
    ['others', [row('cn1'), row('w2a')], from, 'no'],
    ['one that does not answer', [row('w3a')], from, 'yes'],
    ['one that nobody was asked by', [row('elsewhere')], from, 'yes'],
    ['the coordinator, as it calls itself', [row('localhost')], from, 'no'],
    ['the same, which is to be replaced', [row('localhost')], coordinator, 'yes'],
    ['another server on the coordinator’s machine', [row('localhost:5433')], from, 'yes'],
  ])('%s', (_, rows, old, named) => {
    expect(namedIn(rows, old, coordinator, nodes)).toBe(named)
  })
})

describe('a group that another program manages', () => {
  const PATRONI =
    /^group 1: Patroni decides who its primary is \(it is connected to .*\).*; next: patronictl switchover/
  const AUTO = /^group 1: pg_auto_failover decides .*monitor.*; next: pg_autoctl perform switchover/
  const [w1a, w1b] = [writable('w1a', 1), standby('w1b', 1, 'w1a')]
  const by = (node: Answered, programs: readonly Manager[]) => inspected(node, { managers: look(programs) })
  const blind = writable('w1a', 1, { readsStatistics: false })
  const cases: readonly { what: string; servers: readonly Inspection[]; refused: readonly RegExp[] }[] = [
    { what: 'nobody', servers: [inspected(w1a), inspected(w1b)], refused: [] },
    { what: 'on the primary', servers: [by(w1a, ['Patroni']), inspected(w1b)], refused: [PATRONI] },
    { what: 'on the standby alone', servers: [inspected(w1a), by(w1b, ['Patroni'])], refused: [PATRONI] },
    {
      what: 'on both: one line that names both',
      servers: [by(w1a, ['Patroni']), by(w1b, ['Patroni'])],
      refused: [/w1a:5432 and w1b:5432/],
    },
    { what: 'another one', servers: [by(w1a, ['pg_auto_failover']), inspected(w1b)], refused: [AUTO] },
    {
      what: 'not known: it could not be read',
      servers: [inspected(w1a, { managers: unlooked('no answer') }), inspected(w1b)],
      refused: [/^w1a:5432: whether .* could not be read: no answer; next: citus-ha doctor$/],
    },
    {
      what: 'not known: the role sees its own sessions only',
      servers: [inspected(blind), inspected(w1b)],
      refused: [/^w1a:5432: whether .*pg_read_all_stats is missing/],
    },
  ]

  it.each(cases)('$what', ({ servers, refused }) => {
    expect(managed(servers, 1)).toEqual(refused.map((line) => expect.stringMatching(line)))
  })
})

describe('what a switchover has intended', () => {
  const intent: Intent = {
    group: 1,
    from: address('w1a'),
    to: address('w1b'),
    phase: 'promoting',
    byCommand: false,
    stopped: false,
    madeBy: 'a test',
    run: 'one',
  }
  const codeOf = (
    intents: readonly Intent[],
    promoted: Answered,
    lines = KNOWN_LINES,
  ): string | undefined => {
    const coordinator = writable('cn1', 0, { installed: installed({ lineage: lines, intents }) })
    const nodes = [coordinator, silent('w1a'), promoted, writable('w2a', 2)]
    return diagnose(surveyOf(nodes), NO_CLAIMS).find(({ group }) => group === 1)?.rule
  }
  const next = { timeline: 2, history: [left(1, '0/50')] }

  it('vouches for the target of the promotion that it was about', () => {
    expect(codeOf([intent], writable('w1b', 1, next))).toBe('D040')
    expect(codeOf([], writable('w1b', 1, next))).not.toBe('D040')
  })

  it.each([
    {
      says: 'the row names another primary by now',
      intents: [{ ...intent, from: address('w1c') }],
      on: next,
    },
    {
      says: 'the group has been promoted since',
      intents: [intent],
      on: next,
      lines: [lineage(0), lineage(1, 2, left(1, '0/50')), lineage(2)],
    },
    {
      says: 'the target has been promoted a second time',
      intents: [intent],
      on: { timeline: 3, history: [left(1, '0/50'), left(2, '0/60')] },
    },
    { says: 'the target’s history can’t be read', intents: [intent], on: { timeline: 2, history: null } },
  ])('does not vouch where $says', ({ intents, on, lines }) => {
    expect(codeOf(intents, writable('w1b', 1, on), lines)).not.toBe('D040')
  })
})

describe('what speaks against a switchover of group 1', () => {
  const order = switchoverOrder()
  const catalog = [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1c' })]
  const moved = { timeline: 2, history: [left(1, '0/50')] }
  const drifted = TWO_WORKERS.map((row) => (row.nodeid === 2 ? { ...row, isactive: false } : row))
  const isDown = /row of a secondary is out of date .*citus-ha reconcile/
  const cases: readonly {
    says: string
    nodes: readonly Observation[]
    catalog?: Catalog
    refused?: RegExp
    warned?: RegExp
  }[] = [
    { says: 'nothing of a sound cluster', nodes: [] },
    { says: 'another group’s secondary that is down', nodes: [silent('w2b')], warned: isDown },
    { says: 'its own other standby that is down', nodes: [silent('w1c')], catalog, warned: isDown },
    {
      says: 'another standby, which streams from the primary',
      nodes: [standby('w1c', 1, 'w1a', { lsn: 1n })],
      catalog,
      warned: /w1c:5432 will not follow by itself and has to be rewound/,
    },
    {
      says: 'two other standbys, which stream from the primary',
      nodes: [standby('w1c', 1, 'w1a', { lsn: 1n }), standby('w1d', 1, 'w1a', { lsn: 1n })],
      catalog: [...catalog, secondaryRow(7, 1, { at: 'w1d' })],
      warned: /w1c:5432, w1d:5432 will not follow by themselves and have to be rewound/,
    },
    {
      says: 'nothing of another standby, which streams from the target',
      nodes: [standby('w1c', 1, 'w1b', { lsn: 1n })],
      catalog,
    },
    {
      says: 'another standby, which streams from somewhere that is not known',
      nodes: [standby('w1c', 1, '10.0.0.1', { lsn: 1n })],
      catalog,
      warned:
        /w1c:5432 streams from a server that citus-ha does not know by that address: if it does not follow/,
    },
    {
      says: 'another group’s standby that was promoted',
      nodes: [silent('w2a'), writable('w2b', 2, moved)],
      refused: /pg_dist_node is out of date \(group 2, .*w2a:5432 -> w2b:5432/,
    },
    {
      says: 'another group that is down',
      nodes: [silent('w2a')],
      refused: /group 2: w2a:5432 is down/,
    },
    {
      says: 'a copy that differs',
      nodes: [writable('w2a', 2, { catalog: drifted })],
      refused: /pg_dist_node is out of date \(group 1/,
    },
    {
      says: 'a copy that differs, and a secondary that is down',
      nodes: [writable('w2a', 2, { catalog: drifted }), silent('w2b')],
      refused: /pg_dist_node is out of date/,
    },
  ]

  it.each(cases)('$says', ({ nodes, catalog: rows = TWO_WORKERS, refused, warned }) => {
    const { refusals, warnings } = check(viewed({ catalog: rows, nodes }), order, MIGRATION)
    if (refused) expect(refusals).toContainEqual(expect.stringMatching(refused))
    else expect(refusals).toEqual([])
    expect(warnings).toEqual(warned ? [expect.stringMatching(warned)] : [])
  })
  it.each([
    ['another group that is down is a warning where that is allowed', [silent('w2a')], []],
    ['its own is not', [silent('w1a')], ['group 1: ']],
  ])('%s', (_, nodes, refused) => {
    const { refusals, warnings } = check(viewed({ nodes }), { ...order, unreachable: 'allow' }, MIGRATION)
    expect(refusals).toEqual(refused.map((text) => expect.stringContaining(text)))
    if (refused.length === 0) expect(warnings.join()).toMatch(/group 2: w2a:5432 is down/)
  })
})
