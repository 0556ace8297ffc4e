import { describe, expect, test } from 'vitest'
import type { Told } from '../../src/http/told.ts'
import type { Observation } from '../../src/model/observation.ts'
import {
  type ClusterView,
  clusterView,
  type GroupView,
  matches,
  type NodeView,
} from '../../src/page/cluster.ts'
import { agoText, bytesText, spanText, tookText } from '../../src/page/format.ts'
import { announcementOf, changesOf, storiesOf } from '../../src/page/stories.ts'
import { type NodeStatus, statusOf } from '../../src/walk/status.ts'
import {
  address,
  installed,
  lineage,
  mute,
  receiver,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  TWO_WORKERS,
  testimony,
  writable,
} from '../support/builders.ts'
import { SOUND, viewOf } from '../support/watch-state.ts'
import { wideCluster } from '../support/wide.ts'

const shown = (nodes: readonly Observation[]): ClusterView => clusterView(statusOf(viewOf(surveyOf(nodes))))

function groupIn(view: ClusterView, group: number): GroupView {
  const found = [view.coordinators, ...view.groups].find((each) => each?.group === group)
  if (!found) throw new Error(`group ${group} is not shown`)
  return found
}

/** A tree as text: `w1a(w1b(w1c))`. */
const treeText = (nodes: readonly NodeView[]): string =>
  nodes
    .map(({ address, standbys }) => {
      const name = address.replace(':5432', '')
      return standbys.length > 0 ? `${name}(${treeText(standbys)})` : name
    })
    .join(' ')

function withOther(...others: readonly Observation[]): Observation[] {
  const names = others.map(({ address }) => address.host)
  return [...SOUND.filter(({ address }) => !names.includes(address.host)), ...others]
}

describe('the cluster as it is shown', () => {
  test('that is well: coordinator, groups, who reads and writes where', () => {
    const view = shown(SOUND)
    expect(view).toMatchObject({ database: 'app', tone: 'good', verdict: 'All is well', problems: [] })
    expect(view.counts).toEqual({ groups: 3, healthyGroups: 3, nodes: 5, answering: 5, mostBehind: 100 })
    const group = groupIn(view, 1)
    expect(group).toMatchObject({ title: 'Group 1', tone: 'good', word: 'healthy', isQuiet: true })
    expect(group.brief).toBe('w1a:5432, 1 standby')
    expect(treeText(group.trees)).toBe('w1a(w1b)')
    const [primary] = group.trees
    expect(primary).toMatchObject({
      title: 'Primary',
      link: null,
      writes: ['coordinator', '2 metadata workers'],
    })
    expect(primary?.standbys[0]).toMatchObject({
      title: 'Standby',
      tone: 'good',
      link: 'flows',
      facts: ['timeline 1', '100 B behind', 'from w1a:5432'],
      writes: [],
    })
    expect(groupIn(view, 0).trees[0]).toMatchObject({ title: 'Coordinator', address: 'cn1:5432' })
  })

  test('an expand coordinator reads where the standbys are, and a standby coordinator takes no writes: neither is wrong', () => {
    const reads = standby('cn3', 0, 'cn1', { citus: { useSecondaryNodes: 'always' } })
    const view = shown(withOther(standby('cn2', 0, 'cn1'), reads))
    expect(view.tone).toBe('good')
    expect(treeText(groupIn(view, 0).trees)).toBe('cn1(cn2 cn3)')
    const titles = groupIn(view, 0).trees[0]?.standbys.map(({ title }) => title)
    expect(titles).toEqual(['Standby coordinator', 'Expand coordinator'])
    const [primary] = groupIn(view, 1).trees
    expect(primary?.standbys[0]?.reads).toEqual(['expand coordinator'])
    for (const { entry, works } of groupIn(view, 1).routes)
      expect({ entry, works }).toEqual({ entry, works: true })
  })

  test.each<[string, Observation[], string]>([
    ['a cascade', withOther(standby('w1c', 1, 'w1b')), 'w1a(w1b(w1c))'],
    [
      'two that claim to stream from each other',
      withOther(standby('w1b', 1, 'w1c'), standby('w1c', 1, 'w1b')),
      'w1b(w1c) w1a',
    ],
    ['two that take writes', withOther(writable('w1b', 1, { timeline: 2 })), 'w1a w1b'],
    ['a standby that is gone', withOther(silent('w1b')), 'w1a(w1b)'],
    ['a primary that is gone', withOther(silent('w1a')), 'w1a(w1b)'],
    ['a standby by an address that no row has', withOther(standby('w1b', 1, '10.0.0.1')), 'w1a(w1b)'],
  ])('%s is drawn as it is', (_, nodes, tree) => {
    const drawn = treeText(groupIn(shown(nodes), 1).trees)
    expect(drawn.split(' ').sort()).toEqual(tree.split(' ').sort())
  })

  test.each<[NodeStatus['stateCode'], Observation, Partial<NodeView>]>([
    ['streaming', standby('w1b', 1, 'w1a'), { tone: 'good', link: 'flows', state: 'streaming' }],
    [
      'not-streaming',
      standby('w1b', 1, null),
      { tone: 'warn', link: 'stopped', state: 'standby, not streaming' },
    ],
    [
      'streams-elsewhere',
      standby('w1b', 1, 'w1a', { receiver: receiver('w1a', { timeline: 7 }) }),
      { tone: 'warn', link: 'flows' },
    ],
    [
      'unseen',
      standby('w1b', 1, null, { readsStatistics: false }),
      { tone: 'unknown', link: 'unknown', state: 'standby, replication state hidden' },
    ],
    ['writable', writable('w1b', 1), { tone: 'bad', link: null, notes: ['registered as secondary'] }],
    ['read-only', writable('w1b', 1, { readOnly: true }), { tone: 'warn', title: 'Old primary', link: null }],
    ['retired', writable('w1b', 1, { retired: true }), { tone: 'off', title: 'Retired primary', link: null }],
    ['unreachable', silent('w1b'), { tone: 'bad', link: 'stopped', state: 'unreachable (refused)' }],
    ['unreadable', mute('w1b', 'auth'), { tone: 'bad', link: 'unknown' }],
  ])('a secondary that is %s', (stateCode, node, expected) => {
    const status = statusOf(viewOf(surveyOf(withOther(node))))
    const nodes = [...status.groups.flatMap((group) => group.nodes), ...status.others]
    expect(nodes.find(({ address }) => address === 'w1b:5432')?.stateCode).toBe(stateCode)
    const flat = (trees: readonly NodeView[]): NodeView[] =>
      trees.flatMap((each) => [each, ...flat(each.standbys)])
    const found = flat(groupIn(clusterView(status), 1).trees).find(({ address }) => address === 'w1b:5432')
    expect(found).toMatchObject(expected)
  })

  test('a standby that is down beside a sound primary is a problem of its group, with a command', () => {
    const view = shown(withOther(silent('w1b')))
    expect(view).toMatchObject({ tone: 'warn', verdict: 'Not all is well: group 1: 1 problem' })
    expect(groupIn(view, 1)).toMatchObject({ tone: 'warn', word: '1 problem', isQuiet: false })
    expect(view.problems).toEqual([
      {
        code: 'secondary-silent',
        text: 'group 1: secondary w1b:5432 is silent',
        command: 'psql -h w1b -p 5432 -d app -U citus_ha -c "SELECT 1"',
        hint: null,
      },
    ])
    expect(view.counts).toMatchObject({ nodes: 5, answering: 4, healthyGroups: 2 })
  })

  test('a next step is both: the command, and what stands behind it', () => {
    const heard = ['cn1', 'w2a'].map((witness) => testimony(witness, 'w1b', 'down'))
    const view = clusterView(statusOf(viewOf(surveyOf(withOther(silent('w1b')), heard))))
    expect(view.problems).toMatchObject([
      {
        code: 'secondary-down',
        command:
          'touch DATA_DIRECTORY/standby.signal && pg_ctl start -D DATA_DIRECTORY -o "-c config_file=CONFIG_FILE"',
      },
      {},
    ])
    expect(view.problems[0]?.hint).toBe(
      'on w1b:5432; if it is gone for good: citus-ha forget w1b:5432 --group 1',
    )
  })

  test.each([
    [`psql -c "ROLLBACK PREPARED 'x # y'"   # in app`, `psql -c "ROLLBACK PREPARED 'x # y'"`, 'in app'],
    [`psql -d 'it'\\''s # "$1"' -c "a"  # 'b # c`, `psql -d 'it'\\''s # "$1"' -c "a"`, "'b # c"],
    ['citus-ha doctor', 'citus-ha doctor', null],
    ['citus-ha doctor # why', 'citus-ha doctor', 'why'],
    ['citus-ha forget a#b', 'citus-ha forget a#b', null],
    [`psql -c "x # y"`, `psql -c "x # y"`, null],
    [`psql -d $'it\\'s # \\003' # why`, `psql -d $'it\\'s # \\003'`, 'why'],
    [`psql -d $'it\\'s # \\003'`, `psql -d $'it\\'s # \\003'`, null],
  ])('a command goes on where a # is quoted: %s', (next, command, hint) => {
    const status = statusOf(viewOf(surveyOf(withOther(silent('w1b')))))
    const remarks = status.remarks.slice(0, 1).map((each) => ({ ...each, next }))
    expect(clusterView({ ...status, remarks }).problems[0]).toMatchObject({ command, hint })
  })

  test('a split brain comes first, with what to do and when', () => {
    const view = shown(withOther(writable('w2b', 2, { timeline: 2 })))
    expect(view).toMatchObject({ tone: 'bad', verdict: 'Needs attention: group 2: split-brain' })
    expect(view.groups[0]).toMatchObject({ group: 2, tone: 'bad', word: 'split-brain' })
    expect(view.groups[0]?.trees.map(({ tone }) => tone)).toEqual(['bad', 'bad'])
    expect(view.problems[0]).toMatchObject({
      command: 'pg_ctl stop -m fast -D DATA_DIRECTORY',
      hint: 'on the one that must not take writes; then: citus-ha reconcile --group 2',
    })
  })

  test('pauses and fences are told, and keep a group from being folded', () => {
    const pause = { group: 1, since: '2026-01-01T00:00:00.000Z', by: 'ann', why: 'disks' }
    const known = installed({ lineage: [0, 1, 2].map((group) => lineage(group)), pauses: [pause] })
    const status = statusOf(viewOf(surveyOf(withOther(writable('cn1', 0, { installed: known })))))
    const view = clusterView(status, [
      { database: 'app', group: 2, leftMs: 12_000 },
      { database: 'b', group: 1, leftMs: 5 },
    ])
    expect(view.pauses).toEqual(['Group 1 is paused since 2026-01-01T00:00:00.000Z by ann: disks'])
    expect(groupIn(view, 1)).toMatchObject({ paused: true, fencedMs: null, isQuiet: false })
    expect(groupIn(view, 2)).toMatchObject({ paused: false, fencedMs: 12_000, isQuiet: false })
  })

  test('a row that names the primary by another name is that, and no second primary', () => {
    const catalog = [
      ...TWO_WORKERS.filter(({ nodeid }) => nodeid !== 3),
      secondaryRow(3, 1, { at: '[::ffff:10.0.0.1]:5432' }),
    ].map((row) => (row.nodeid === 2 ? { ...row, address: address('10.0.0.1') } : row))
    const remedy = {
      nodeid: 3,
      group: 1,
      address: address('w1b'),
      rack: 'default',
      isactive: true,
      given: address('[::ffff:10.0.0.1]:5432'),
    }
    const known = installed({
      lineage: [0, 1, 2].map((group) => lineage(group)),
      remedies: [remedy],
    })
    const one = writable('10.0.0.1', 1, { catalog })
    const view = shown([
      writable('cn1', 0, { catalog, installed: known }),
      one,
      { ...one, address: address('[::ffff:10.0.0.1]:5432') },
      writable('w2a', 2, { catalog }),
      standby('w2b', 2, 'w2a', { catalog }),
    ])
    const [primary, ...more] = groupIn(view, 1).trees
    expect(more).toEqual([])
    expect(primary).toMatchObject({ writes: ['coordinator', '2 metadata workers'] })
    expect(primary?.standbys).toMatchObject([
      { title: 'Another name of the primary', tone: 'off', link: 'same' },
    ])
    expect(view.counts.nodes).toBe(4)
  })

  test('200 servers: what is wrong comes first, all else is quiet, and a few letters find a group', () => {
    const view = shown(wideCluster(100, { w70b: silent('w70b') }))
    expect(view.counts).toMatchObject({ groups: 101, nodes: 201, answering: 200 })
    expect(view.groups.slice(0, 3).map(({ group }) => group)).toEqual([70, 1, 2])
    expect(view.groups.filter(({ isQuiet }) => isQuiet)).toHaveLength(99)
    const found = (typed: string) =>
      view.groups.filter((group) => matches(group, typed)).map(({ group }) => group)
    expect(found('')).toHaveLength(100)
    expect(found('W42a')).toEqual([42])
    expect(found('unreachable')).toEqual([70])
    expect(found('group 7 healthy w77')).toEqual([77])
    expect(found('nothing of the kind')).toEqual([])
  })
})

const AT = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString()
const NO_STAGES = { noticedMs: null, decidedMs: null, rightMs: null }

function diagnosed(second: number, parts: Partial<Told & { kind: 'diagnosed' }>): Told {
  const remark = { code: 'x', group: 1, node: null, text: 'app: group 1 is so' }
  const rest = { group: 1, rule: 'D1', summary: '', evidence: ['seen'], was: 'healthy' } as const
  const given = { code: 'healthy', standing: 'sound' } as const
  return { kind: 'diagnosed', at: AT(second), database: 'app', remark, ...rest, ...given, ...parts }
}

function acted(second: number, parts: Partial<Told & { kind: 'acted' }>): Told {
  const remark = { code: 'x', group: 1, node: null, text: 'app: group 1: done' }
  const rest = { groups: [1], stages: NO_STAGES, failures: 0, epoch: null, changes: [], inTheWay: [] }
  return { kind: 'acted', at: AT(second), database: 'app', remark, outcome: 'changed', ...rest, ...parts }
}

describe('what happened', () => {
  const noticed = (second: number, node: string, what: 'lost' | 'back' | 'changed'): Told => ({
    ...lost,
    at: AT(second),
    node,
    what,
    remark: { code: `node-${what}`, group: null, node, text: `${node}: ${what}` },
  })
  const lost: Told & { kind: 'noticed' } = {
    kind: 'noticed',
    at: AT(1),
    database: 'app',
    remark: { code: 'node-lost', group: null, node: 'w1a:5432', text: 'w1a:5432: lost: gone' },
    node: 'w1a:5432',
    group: 1,
    what: 'lost',
    detail: 'gone',
  }
  const moved = {
    group: 1,
    nodeid: 2,
    kind: 'primary-moved' as const,
    from: 'w1a:5432',
    to: 'w1b:5432',
    why: 'it was promoted',
  }

  test('is a story of a group, from the first sign to its end', () => {
    const told = [
      diagnosed(0, { code: 'healthy', standing: 'sound', was: null }),
      lost,
      diagnosed(2, { code: 'promoted', standing: 'proved' }),
      acted(3, {
        outcome: 'changed',
        epoch: 7,
        changes: [moved],
        stages: { noticedMs: 20, decidedMs: 75, rightMs: 1200 },
      }),
      diagnosed(4, { code: 'secondary-down', standing: 'sound' }),
    ]
    const [story, ...more] = storiesOf(told)
    expect(more).toEqual([])
    expect(story).toMatchObject({ group: 1, title: 'Group 1: secondary-down', tone: 'warn' })
    expect(story?.steps.map(({ tone, text }) => `${tone} ${text}`)).toEqual([
      'bad w1a:5432: lost: gone',
      'warn group 1 is so',
      'good group 1: done',
      'warn group 1 is so',
    ])
    expect(story?.steps[2]?.stages).toEqual([
      'noticed after 20 ms',
      'decided after 75 ms',
      'right on every copy after 1.2 s',
    ])
    expect(changesOf(told)).toMatchObject([
      {
        title: 'Change 7: group 1, changed',
        rows: [{ about: 'group 1, node 2: primary-moved', before: 'w1a:5432', after: 'w1b:5432' }],
      },
    ])
  })

  test('goes on while it is not over, however long, and another begins after its end', () => {
    const blocked = { outcome: 'blocked' as const, failures: 3, inTheWay: [{ node: 'w1a:5432', count: 2 }] }
    const told = [
      diagnosed(0, { code: 'split-brain', standing: 'refused' }),
      acted(50, blocked),
      acted(100, { outcome: 'changed', epoch: 8 }),
      diagnosed(130, { code: 'secondary-down', standing: 'sound' }),
    ]
    expect(storiesOf(told.slice(0, 1))[0]).toMatchObject({
      title: 'Group 1: split-brain, running',
      tone: 'bad',
    })
    const [open] = storiesOf(told.slice(0, 2))
    expect(open).toMatchObject({ title: 'Group 1: blocked, running', tone: 'warn' })
    expect(open?.steps[1]?.lines).toEqual([
      '2 blocking sessions on w1a:5432: citus-ha doctor names what blocks the change',
      'tried 3 times in a row; it is tried again',
    ])
    expect(storiesOf(told).map(({ title, steps }) => [title, steps.length])).toEqual([
      ['Group 1: secondary-down', 1],
      ['Group 1: changed', 3],
    ])
  })

  test('is nothing where a server is met first, or only something of it is new; over where it is back', () => {
    const first = [noticed(0, 'w1a:5432', 'back'), noticed(0, 'w1b:5432', 'changed')]
    expect(storiesOf(first)).toEqual([])
    const story = [...first, noticed(1, 'w1b:5432', 'lost')]
    expect(storiesOf(story)[0]).toMatchObject({
      title: 'Group 1: a server is lost, running',
      tone: 'bad',
    })
    const [over] = storiesOf([...story, noticed(2, 'w1b:5432', 'back')])
    expect(over).toMatchObject({ title: 'Group 1: a server is back', tone: 'good' })
    expect(over?.steps).toHaveLength(2)
  })

  test('is a long sentence for those who ask', () => {
    const text = `app: group 1: ${'long '.repeat(100)}end`
    const remark = { code: 'x', group: 1, node: null, text }
    const [story] = storiesOf([diagnosed(0, { code: 'split-brain', standing: 'refused', remark })])
    const [step] = story?.steps ?? []
    expect(step?.text).toMatch(/^group 1: long .* …$/)
    expect(step?.text.length).toBeLessThan(165)
    expect(step?.details).toEqual([text.slice('app: '.length), 'seen'])
  })

  test('is said aloud where a person should hear of it, and no more', () => {
    expect(announcementOf(lost)).toBeNull()
    expect(announcementOf(diagnosed(0, { code: 'healthy', standing: 'sound', was: null }))).toBeNull()
    expect(announcementOf(diagnosed(0, { code: 'split-brain', standing: 'refused' }))).toBe('group 1 is so')
  })
})

describe('numbers for people', () => {
  test.each([
    [bytesText(0), '0 B'],
    [bytesText(1023), '1023 B'],
    [bytesText(5018), '4.9 kB'],
    [bytesText(16 * 1024 ** 2), '16 MB'],
    [bytesText(3 * 1024 ** 5), '3072 TB'],
    [spanText(0), 'now'],
    [spanText(119_000), '119 s'],
    [spanText(120_000), '2 min'],
    [spanText(7_200_000), '2 h'],
    [spanText(260_000_000), '3 d'],
    [agoText(-5000), 'just now'],
    [agoText(12_400), '12 s ago'],
    [tookText(85.4), '85 ms'],
    [tookText(1240), '1.2 s'],
  ])('%s is %s', (text, expected) => expect(text).toBe(expected))
})
