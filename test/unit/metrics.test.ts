import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { Metrics } from '../../src/http/metrics.ts'
import type { WatchState } from '../../src/watch/state.ts'
import {
  address,
  installed,
  observe,
  primaryRow,
  silent,
  standby,
  surveyOf,
  TWO_WORKERS,
  writable,
} from '../support/builders.ts'
import { readExposition, samplesOf } from '../support/exposition.ts'
import { acted, groupState, pulse, report, SOUND, stateOf, viewOf } from '../support/watch-state.ts'

async function metricsOf(...states: WatchState[]) {
  const now = [...states]
  const metrics = await Metrics.open({ states: () => now, version: '1.2.3' })
  const read = async () => samplesOf(await metrics.text())
  const become = (...next: WatchState[]) => void now.splice(0, now.length, ...next)
  return { metrics, read, become }
}

const node = (at: string, group: number, extra = '') =>
  `{${[extra, `database="app"`, `group="${group}"`, `node="${at}:5432"`]
    .filter((label) => label !== '')
    .sort()
    .join(',')}}`

describe('the exposition', () => {
  test('is well-formed, named and helped throughout, with base units', async () => {
    const { metrics } = await metricsOf(stateOf())
    metrics.told({ kind: 'database', database: 'app', now: 'watched' })
    metrics.told(acted({ stages: { noticedMs: 5, decidedMs: 20, rightMs: 40 } }))
    const families = readExposition(await metrics.text())
    expect(families.size).toBeGreaterThan(20)
    for (const [name, { help, type, samples }] of families) {
      expect(name).toMatch(/^(citus_ha_[a-z_]+|(process|nodejs)_[a-z0-9_]+)$/)
      if (name.startsWith('citus_ha_')) expect(help).toMatch(/.+\.$/)
      expect(name.endsWith('_total')).toBe(type === 'counter')
      if (/_(age|notice|stage)_/.test(name)) expect(name).toMatch(/_seconds$/)
      expect([...samples.values()].every(Number.isFinite)).toBe(true)
    }
  })

  test('is what the page says, no more and no less', async () => {
    const { metrics } = await metricsOf(stateOf())
    const page = await readFile(new URL('../../docs/http.md', import.meta.url), 'utf8')
    const table = page.slice(page.indexOf('| name |'), page.indexOf('## Alerts'))
    const told = [...readExposition(await metrics.text()).keys()].sort()
    const ours = told.filter((name) => name.startsWith('citus_ha_'))
    expect([...table.matchAll(/`(citus_ha_[a-z_]+)`(?=,| \|)/g)].map(([, name]) => name).sort()).toEqual(ours)
    const others = new Set(told.filter((name) => !ours.includes(name)).map((name) => name.split('_')[0]))
    expect([...others].sort()).toEqual(['nodejs', 'process'])
  })

  test('escapes what a name may hold', async () => {
    const { metrics } = await metricsOf(stateOf({ database: 'a"b\\c\nd' }))
    const leading = readExposition(await metrics.text()).get('citus_ha_leading')
    expect([...(leading?.samples ?? [])]).toEqual([['citus_ha_leading{database="a\\"b\\\\c\\nd"}', 1]])
  })

  test('two sets of metrics share nothing', async () => {
    const first = await metricsOf(stateOf())
    const second = await metricsOf(stateOf())
    first.metrics.told({ kind: 'failed', database: 'app', message: 'no' })
    expect(await first.read()).toMatchObject({ 'citus_ha_failures_total{database="app"}': 1 })
    expect(Object.keys(await second.read())).not.toContain('citus_ha_failures_total{database="app"}')
  })
})

describe('nodes', () => {
  test('are shown as they were surveyed, and newer where their pulse is', async () => {
    const { read, become } = await metricsOf(stateOf())
    expect(await read()).toMatchObject({
      [`citus_ha_node_up${node('w1a', 1)}`]: 1,
      [`citus_ha_node_role${node('w1a', 1, 'role="primary"')}`]: 1,
      [`citus_ha_node_role${node('w1b', 1, 'role="standby"')}`]: 1,
      [`citus_ha_node_registered${node('w1b', 1, 'as="secondary"')}`]: 1,
      [`citus_ha_node_lag_bytes${node('w1b', 1)}`]: 100,
      [`citus_ha_node_lag_bytes${node('w2b', 2)}`]: 0,
      [`citus_ha_node_timeline${node('w1b', 1)}`]: 1,
    })
    const pulses = [
      pulse('w1a', { lsn: 9000n }),
      pulse('w1b', { inRecovery: true, lsn: 8000n }),
      pulse('w2a', { state: 'down', inRecovery: false }),
      pulse('w2b', { inRecovery: false }),
      pulse('cn1', { state: 'starting', inRecovery: null, lsn: null, heardMsAgo: null }),
    ]
    become(stateOf({ pulses }))
    const now = await read()
    expect(now).toMatchObject({
      [`citus_ha_node_lag_bytes${node('w1b', 1)}`]: 1000,
      [`citus_ha_node_up${node('w2a', 2)}`]: 0,
      [`citus_ha_node_up${node('cn1', 0)}`]: 1,
      [`citus_ha_node_role${node('w2b', 2, 'role="primary"')}`]: 1,
    })
    // Nothing is said of what is not known, or no longer true.
    expect(now).not.toHaveProperty([`citus_ha_node_role${node('w2a', 2, 'role="primary"')}`])
    expect(now).not.toHaveProperty([`citus_ha_node_role${node('w2b', 2, 'role="standby"')}`])
    expect(now).not.toHaveProperty([`citus_ha_node_lag_bytes${node('w2b', 2)}`])
  })

  test('that never answered are down, that are in no row have their own group, that are gone are gone', async () => {
    const spare = standby('w1c', 1, 'w1a', { lsn: 4000n })
    const nodes = [...SOUND.filter(({ instance }) => instance !== 'w2b'), silent('w2b'), spare]
    const { read, become } = await metricsOf(stateOf({ view: viewOf(surveyOf(nodes)) }))
    expect(await read()).toMatchObject({
      [`citus_ha_node_up${node('w2b', 2)}`]: 0,
      [`citus_ha_node_up${node('w1c', 1)}`]: 1,
      [`citus_ha_node_registered${node('w1c', 1, 'as="none"')}`]: 1,
      [`citus_ha_node_lag_bytes${node('w1c', 1)}`]: 1000,
    })
    become(stateOf())
    const now = Object.keys(await read())
    expect(now.filter((key) => key.includes('w1c'))).toEqual([])
    become()
    expect(Object.keys(await read()).filter((key) => key.includes('node='))).toEqual([])
  })

  test('are known by their pulse alone before there is a survey', async () => {
    const pulses = [pulse('w1a'), pulse('w2a', { state: 'down' }), pulse('cn1', { state: 'starting' })]
    const { read } = await metricsOf(stateOf({ view: null, groups: [], coordinator: null, pulses }))
    const up = Object.entries(await read()).filter(([key]) => key.startsWith('citus_ha_node_up'))
    expect(up).toEqual([
      ['citus_ha_node_up{database="app",group="",node="w1a:5432"}', 1],
      ['citus_ha_node_up{database="app",group="",node="w2a:5432"}', 0],
    ])
  })

  test('a second name of a primary is no second primary, and a standby that receives nothing shows', async () => {
    const rows = TWO_WORKERS.map((row) =>
      row.role === 'secondary' && row.group === 1 ? { ...row, address: address('W1A') } : row,
    )
    const primary = writable('w1a', 1, { lsn: 5000n, catalog: rows })
    const again = { ...primary, address: address('W1A') }
    const stopped = { ...standby('w2b', 2, 'w2a', { lsn: 5000n }), receiver: null }
    const unseen = { ...standby('w1b', 1, 'w1a', { lsn: 4900n }), receiver: null, readsStatistics: false }
    const coordinator = writable('cn1', 0, { catalog: rows })
    const nodes = [coordinator, primary, again, unseen, writable('w2a', 2, { lsn: 5000n }), stopped]
    const { read } = await metricsOf(stateOf({ view: viewOf(surveyOf(nodes)) }))
    const now = await read()
    const primaries = Object.keys(now).filter((key) => /node_role.*group="1".*role="primary"/.test(key))
    expect(primaries).toEqual([`citus_ha_node_role${node('w1a', 1, 'role="primary"')}`])
    expect(now).toMatchObject({
      [`citus_ha_node_role${node('W1A', 1, 'role="alias"')}`]: 1,
      [`citus_ha_node_streaming${node('w2b', 2)}`]: 0,
      // What the role may not see is said.
      'citus_ha_warnings{code="can-not-look",database="app",group=""}': 1,
      'citus_ha_problems{code="can-not-look",database="app",group=""}': 1,
    })
    expect(now).not.toHaveProperty([`citus_ha_node_streaming${node('w1b', 1)}`])
  })

  test('the row that a remedy has lent to the new primary is no second primary', async () => {
    const rows = TWO_WORKERS.map((row) => {
      if (row.nodeid === 2) return { ...row, address: address('w1b') }
      return row.nodeid === 3 ? { ...row, address: address('W1B') } : row
    })
    const remedies = [
      {
        nodeid: 3,
        group: 1,
        address: address('w1a'),
        rack: 'default',
        isactive: true,
        given: address('W1B'),
      },
    ]
    const coordinator = writable('cn1', 0, { catalog: rows, installed: installed({ remedies }) })
    const primary = writable('w1b', 1, { catalog: rows })
    const again = { ...primary, address: address('W1B') }
    const nodes = [coordinator, primary, again, writable('w2a', 2), standby('w2b', 2, 'w2a'), silent('w1a')]
    const { read } = await metricsOf(stateOf({ view: viewOf(surveyOf(nodes)) }))
    const now = await read()
    const primaries = Object.keys(now).filter((key) => /node_role.*group="1".*role="primary"/.test(key))
    expect(primaries).toEqual([`citus_ha_node_role${node('w1b', 1, 'role="primary"')}`])
    expect(now).toMatchObject({ [`citus_ha_node_role${node('W1B', 1, 'role="alias"')}`]: 1 })
  })

  test('show what is prepared there, and for how long', async () => {
    const holding = writable('w2a', 2, {
      prepared: ['citus_ha_c_app_1_1_00000000_1'],
      oldestPreparedMs: 90_500,
    })
    const { read } = await metricsOf(stateOf({ view: viewOf(surveyOf([...SOUND, holding])) }))
    expect(await read()).toMatchObject({
      [`citus_ha_prepared_transactions${node('w2a', 2)}`]: 1,
      [`citus_ha_prepared_transactions_oldest_age_seconds${node('w2a', 2)}`]: 90.5,
      [`citus_ha_prepared_transactions${node('w1a', 1)}`]: 0,
      [`citus_ha_prepared_transactions_oldest_age_seconds${node('w1a', 1)}`]: 0,
    })
  })
})

describe('copies', () => {
  const differs = (at: string, role: string) =>
    `citus_ha_copy_differs{database="app",node="${at}:5432",role="${role}"}`

  test('that are not as the coordinator’s are named; nothing is said of those that cannot be read', async () => {
    const drifted = TWO_WORKERS.map((row) => (row.nodeid === 4 ? primaryRow(4, 2, { at: 'elsewhere' }) : row))
    const nodes = observe(...SOUND, writable('w1a', 1, { catalog: drifted, lsn: 5000n }), silent('w2a'))
    const { read } = await metricsOf(stateOf({ view: viewOf(surveyOf(nodes)) }))
    const now = await read()
    expect(now).toMatchObject({
      [differs('w1a', 'metadata worker')]: 1,
      [differs('w1b', 'worker standby')]: 0,
    })
    expect(now).not.toHaveProperty([differs('w2a', 'metadata worker')])
    expect(now).not.toHaveProperty([differs('cn1', 'coordinator')])
  })

  test('of an expand coordinator with nodeids of its own are compared by what they mean', async () => {
    const own = TWO_WORKERS.map((row) => ({ ...row, nodeid: row.nodeid + 100 }))
    const stale = own.map((row) => (row.nodeid === 104 ? primaryRow(104, 2, { at: 'old' }) : row))
    const citus = { useSecondaryNodes: 'always', localGroup: 0 } as const
    const expand = (catalog: typeof own) => writable('cn2', 0, { catalog, citus })
    const { read, become } = await metricsOf(stateOf({ view: viewOf(surveyOf([...SOUND, expand(own)])) }))
    expect(await read()).toMatchObject({ [differs('cn2', 'expand coordinator')]: 0 })
    become(stateOf({ view: viewOf(surveyOf([...SOUND, expand(stale)])) }))
    expect(await read()).toMatchObject({ [differs('cn2', 'expand coordinator')]: 1 })
  })
})

describe('groups and loops', () => {
  test('one diagnosis a group, the one of now', async () => {
    const { read, become } = await metricsOf(stateOf())
    const of = (samples: Record<string, number>) =>
      Object.keys(samples).filter(
        (key) => key.startsWith('citus_ha_group_diagnosis') && /group="1"/.test(key),
      )
    const labels = (code: string, rule: string) =>
      `citus_ha_group_diagnosis{code="${code}",database="app",group="1",rule="${rule}"}`
    expect(of(await read())).toEqual([labels('healthy', 'D050')])
    const split = groupState(1, {
      code: 'split-brain',
      rule: 'D041',
      failures: 4,
      paused: true,
      cooldownMs: 1500,
    })
    become(stateOf({ groups: [split] }))
    const now = await read()
    expect(of(now)).toEqual([labels('split-brain', 'D041')])
    expect(now).toMatchObject({
      'citus_ha_group_failures{database="app",group="1"}': 4,
      'citus_ha_group_paused{database="app",group="1"}': 1,
      'citus_ha_group_rest_seconds{database="app",group="1"}': 1.5,
    })
  })

  test('who leads, how often it turned, how long ago', async () => {
    const other = stateOf({ database: 'b', leadership: 'following', turnedMsAgo: 1500, view: null })
    const { read, become } = await metricsOf(stateOf(), other)
    expect(await read()).toMatchObject({
      'citus_ha_leading{database="app"}': 1,
      'citus_ha_leading{database="b"}': 0,
      'citus_ha_ready{database="b"}': 1,
      'citus_ha_turn_age_seconds{database="b"}': 1.5,
      'citus_ha_turns_total{database="app"}': 12,
      'citus_ha_surveys_total{database="app"}': 3,
      'citus_ha_build_info{version="1.2.3"}': 1,
    })
    become(stateOf({ turns: 15 }))
    expect(await read()).toMatchObject({ 'citus_ha_turns_total{database="app"}': 15 })
  })
})

describe('what happened', () => {
  test('is counted by outcome, reason and kind, from zero on', async () => {
    const { metrics, read } = await metricsOf(stateOf())
    metrics.told({ kind: 'database', database: 'app', now: 'watched' })
    const changes = (outcome: string) => `citus_ha_changes_total{database="app",outcome="${outcome}"}`
    expect(await read()).toMatchObject({ [changes('blocked')]: 0, [changes('changed')]: 0 })
    metrics.told(acted())
    metrics.told(acted({ report: report({ outcome: 'blocked', epoch: null }), failures: 1 }))
    metrics.told({ kind: 'held', database: 'app', group: 1, why: 'paused', would: [] })
    metrics.told({ kind: 'failed', database: 'app', message: 'no coordinator' })
    expect(await read()).toMatchObject({
      [changes('changed')]: 1,
      [changes('blocked')]: 1,
      'citus_ha_held_total{database="app",why="paused"}': 1,
      'citus_ha_failures_total{database="app"}': 1,
    })
    metrics.told({ kind: 'database', database: 'app', now: 'gone' })
    expect(Object.keys(await read())).not.toContain(changes('changed'))
  })

  test('and timed from the promotion on, where a change was decided', async () => {
    const { metrics, read } = await metricsOf(stateOf())
    const told = { kind: 'noticed', database: 'app', detail: '', node: pulse('w1b').address } as const
    metrics.told({ ...told, what: 'promoted', ageMs: 8 })
    metrics.told({ ...told, what: 'promoted', ageMs: null })
    metrics.told({ ...told, what: 'lost', ageMs: null })
    const blocked = report({ outcome: 'blocked', epoch: null })
    metrics.told(acted({ report: blocked, stages: { noticedMs: 9, decidedMs: null, rightMs: null } }))
    metrics.told(acted({ stages: { noticedMs: 9, decidedMs: 40, rightMs: 60 } }))
    metrics.told(acted({ stages: { noticedMs: 9, decidedMs: 45, rightMs: null } }))
    const stage = (name: string, rest: string) =>
      `citus_ha_promotion_stage_seconds_${name}{database="app",${rest}}`
    const now = await read()
    expect(now).toMatchObject({
      'citus_ha_promotion_notice_seconds_count{database="app"}': 1,
      'citus_ha_promotion_notice_seconds_bucket{database="app",le="0.01"}': 1,
      'citus_ha_promotion_notice_seconds_bucket{database="app",le="0.005"}': 0,
      'citus_ha_noticed_total{database="app",what="promoted"}': 2,
      'citus_ha_noticed_total{database="app",what="lost"}': 1,
      [stage('count', 'stage="noticed"')]: 2,
      [stage('count', 'stage="decided"')]: 2,
      [stage('count', 'stage="right"')]: 1,
      [stage('bucket', 'le="0.05",stage="decided"')]: 2,
    })
    expect(now[stage('sum', 'stage="decided"')]).toBeCloseTo(0.085)
  })
})

test('a scrape of 200 nodes is cheap once the survey was read', async () => {
  const rows = Array.from({ length: 200 }, (_, n) => primaryRow(n + 1, n, { at: `n${n}` }))
  const view = viewOf(surveyOf(rows.map(({ group }) => writable(`n${group}`, group, { catalog: rows }))))
  const pulses = rows.map(({ group }) => pulse(`n${group}`))
  const groups = rows.map(({ group }) => groupState(group))
  const { read } = await metricsOf(stateOf({ view, pulses, groups }))
  const began = process.cpuUsage()
  const first = await read()
  expect(Object.keys(first).filter((key) => key.startsWith('citus_ha_copy_differs'))).toHaveLength(199)
  // Far from what it takes; what it guards against took seconds.
  expect(process.cpuUsage(began).user).toBeLessThan(2_000_000)
})
