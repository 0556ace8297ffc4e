import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { RULES } from '../../src/diagnose/rules.ts'
import { Metrics } from '../../src/http/metrics.ts'
import type { DiagnosisCode } from '../../src/model/diagnosis.ts'
import type { TargetState } from '../../src/notify/target.ts'
import type { WatchState } from '../../src/watch/state.ts'
import { address, installed, lineage, standby, surveyOf, TWO_WORKERS, writable } from '../support/builders.ts'
import {
  type Phase,
  promtool,
  type RuleCase,
  type Scrape,
  testRules,
  whyNoPromtool,
} from '../support/promtool.ts'
import { groupState, pulse, SOUND, stateOf as stateThen, viewOf as viewThen } from '../support/watch-state.ts'

const RULES_FILE = new URL('../../deploy/prometheus/citus-ha.rules.yml', import.meta.url).pathname
const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')

const ruleSchema = z.strictObject({
  alert: z.string().regex(/^CitusHa[A-Z]\w+$/),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['critical', 'warning', 'info']) }),
  annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook: z.string() }),
})
const fileSchema = z.object({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(ruleSchema) })),
})
type AlertRule = z.infer<typeof ruleSchema>

interface Parts {
  readonly states?: readonly WatchState[]
  readonly targets?: readonly TargetState[]
  readonly version?: string
}

async function answerOf({
  states = [stateOf()],
  targets = [],
  version = '1.0.0',
}: Parts = {}): Promise<string> {
  const metrics = await Metrics.open({ states: () => states, notifications: () => targets, version })
  for (const { database } of states) metrics.told({ kind: 'database', database, now: 'watched' })
  return await metrics.text()
}

/** A survey of just now. */
const viewOf = (survey = surveyOf(SOUND)) => viewThen({ ...survey, at: new Date().toISOString() })
const stateOf = (parts: Partial<WatchState> = {}) => stateThen({ view: viewOf(), ...parts })

/** Two watchers that see the same; the other one follows. */
async function scrapeOf(parts: Partial<WatchState>): Promise<Scrape> {
  return {
    one: await answerOf({ states: [stateOf(parts)] }),
    other: await answerOf({ states: [stateOf({ leadership: 'following', ...parts })] }),
  }
}

const inGroup = (code: DiagnosisCode, rule = 'D000') =>
  ({ groups: [groupState(0), groupState(1, { code, rule }), groupState(2)] }) satisfies Partial<WatchState>
const group = (parts: Parameters<typeof groupState>[1]) =>
  ({ groups: [groupState(0), groupState(1, parts), groupState(2)] }) satisfies Partial<WatchState>
const seen = (...nodes: Parameters<typeof surveyOf>[0]) => {
  const replaced = new Set(nodes.map(({ address: { host } }) => host))
  const others = SOUND.filter(({ address: { host } }) => !replaced.has(host))
  return { view: viewOf(surveyOf([...others, ...nodes])) }
}
const target = (parts: Partial<TargetState>): TargetState => ({
  name: 'webhook 1 (alerts.example)',
  sent: 9,
  failed: 0,
  dropped: 0,
  queued: 0,
  ...parts,
})

/** What is seen for so many minutes after a quiet one, and the alerts that fire then, those and no others. */
type Seen = readonly [alerts: readonly string[], minutes: number, scrape: Scrape | Partial<WatchState>]

const DIAGNOSES: readonly (readonly [string, number, DiagnosisCode])[] = [
  ['CitusHaSplitBrain', 2, 'split-brain'],
  ['CitusHaNoPrimary', 2, 'primary-down'],
  ['CitusHaNoPrimary', 2, 'primary-in-recovery'],
  ['CitusHaNoPrimary', 2, 'no-primary-row'],
  ['CitusHaPrimaryUnclear', 2, 'primary-unknown'],
  ['CitusHaPrimaryUnclear', 2, 'primary-alive-elsewhere'],
  ['CitusHaPrimaryUnclear', 2, 'unproved'],
  ['CitusHaRefused', 2, 'lineage-mismatch'],
  ['CitusHaRefused', 2, 'lineage-unknown'],
  ['CitusHaRefused', 2, 'less-than-known'],
  ['CitusHaOldPrimaryWrites', 2, 'old-primary-writes'],
  ['CitusHaReadOnly', 2, 'read-only'],
  ['CitusHaChangePending', 2, 'promoted'],
  ['CitusHaChangePending', 2, 'promotion-running'],
  ['CitusHaChangePending', 2, 'name-to-follow'],
  ['CitusHaSecondaryDown', 6, 'secondary-down'],
  ['CitusHaDisabled', 65, 'disabled'],
]

async function whatIsSeen(): Promise<Seen[]> {
  const { one, other } = await scrapeOf({})
  const holding = writable('w2a', 2, {
    prepared: ['citus_ha_c_app_1_1_00000000_1'],
    oldestPreparedMs: 90_500,
  })
  const drifted = TWO_WORKERS.map((row) => (row.nodeid === 4 ? { ...row, rack: 'elsewhere' } : row))
  const stopped = { ...standby('w1b', 1, 'w1a', { lsn: 4900n }), receiver: null }
  const behind = standby('w1b', 1, 'w1a', { lsn: 5000n })
  const ahead = writable('w1a', 1, { lsn: 400_000_000n })
  const retired = writable('w1b', 1, { retired: true, readOnly: true })
  const hanging = writable('w1a', 1, { lsn: 5000n, synchronousNames: 'w1b', senders: [] })
  const interrupted = writable('cn1', 0, {
    installed: installed({
      lineage: [0, 1, 2].map((each) => lineage(each)),
      intents: [
        {
          group: 1,
          from: address('w1a'),
          to: address('w1b'),
          phase: 'quiescing',
          byCommand: false,
          stopped: false,
          madeBy: 'somebody',
          run: 'a',
        },
      ],
    }),
    lsn: 1000n,
  })
  const failing = await answerOf({ targets: [target({ failed: 3 })] })
  const waiting = await answerOf({ targets: [target({ queued: 2 })] })
  const old = await answerOf({ version: '0.9.0', states: [stateOf({ leadership: 'following' })] })
  const down = { pulses: [pulse('w2b', { state: 'down', inRecovery: null })] }
  return [
    ...DIAGNOSES.map(([alert, minutes, code]): Seen => [[alert], minutes, inGroup(code)]),
    [['CitusHaGroupBlocked'], 2, group({ failures: 3 })],
    [['CitusHaPaused'], 245, group({ paused: true })],
    [['CitusHaFenceHeld'], 3, group({ fencedMs: 30_000 })],
    [['CitusHaTwoPrimaries'], 3, seen(writable('w1b', 1))],
    [['CitusHaWritesHang'], 3, seen(hanging)],
    [['CitusHaSwitchoverUnfinished'], 3, seen(interrupted)],
    // Its row should have been changed long ago, too.
    [['CitusHaOldPrimaryRuns', 'CitusHaProblem'], 65, seen(retired)],
    [['CitusHaProblem'], 12, seen(writable('w2a', 2, { installed: null }))],
    // An alert of its own is enough.
    [['CitusHaWritesHang'], 12, seen(hanging)],
    [['CitusHaSwitchoverUnfinished'], 12, seen(interrupted)],
    [['CitusHaInDoubt'], 2, seen(holding)],
    [['CitusHaCopyDiffers'], 2, seen(writable('w1a', 1, { catalog: drifted, lsn: 5000n }))],
    [['CitusHaNodeDown'], 2, down],
    [
      ['CitusHaNodeUnseen'],
      6,
      { one, other: await answerOf({ states: [stateOf({ leadership: 'following', ...down })] }) },
    ],
    [['CitusHaStandbyNotStreaming'], 3, seen(stopped)],
    [['CitusHaStandbyLag'], 6, seen(ahead, behind)],
    [['CitusHaWatcherMissing', 'CitusHaWatcherDown'], 6, { one: null, other: null }],
    [['CitusHaWatcherDown'], 6, { one: one ?? null, other: null }],
    [['CitusHaNobodyLeads'], 2, { leadership: 'following' }],
    [['CitusHaTwoLeaders'], 2, { leadership: 'leading' }],
    [
      ['CitusHaBlind', 'CitusHaWatcherNotReady'],
      6,
      { coordinator: null, failure: 'no writable coordinator' },
    ],
    [
      ['CitusHaWatcherNotReady'],
      6,
      { one, other: await answerOf({ states: [stateOf({ leadership: 'none' })] }) },
    ],
    [['CitusHaWatcherStuck'], 2, { turnedMsAgo: 130_000 }],
    [['CitusHaSurveyStale'], 2, { view: viewThen() }],
    [['CitusHaNotificationsFail'], 2, { one: failing, other }],
    [['CitusHaNotificationsWait'], 21, { one: waiting, other }],
    [['CitusHaVersionsDiffer'], 365, { one, other: old }],
    // What must wake nobody up.
    [[], 15, {}],
    [[], 15, { pulses: [pulse('w2b', { state: 'starting', inRecovery: null })] }],
    [[], 15, seen(writable('cn2', 0, { citus: { useSecondaryNodes: 'always', localGroup: 0 } }))],
  ].map((each) => each as Seen)
}

const isScrape = (given: Scrape | Partial<WatchState>): given is Scrape => 'one' in given

/** A quiet time first, so that no alert fires only for want of something before. */
async function ruleCase([alerts, minutes, given]: Seen, rules: readonly AlertRule[]): Promise<RuleCase> {
  const scrape = isScrape(given) ? given : await scrapeOf(given)
  const quiet: Scrape = {
    one: await answerOf({ targets: [target({})] }),
    other: await answerOf({ states: [stateOf({ leadership: 'following' })] }),
  }
  const phases: readonly Phase[] = [
    [2, quiet],
    [minutes, scrape],
  ]
  const fires = Object.fromEntries(alerts.map((alert) => [`{alertname="${alert}"}`, 1]))
  const firing = { expr: 'group by (alertname) (ALERTS{alertstate="firing"})', samples: fires }
  // A template that names a label which is not there shows an empty place.
  const templates = alerts.map((alert) => {
    const text = JSON.stringify(rules.find((rule) => rule.alert === alert)?.annotations)
    const labels = [...new Set([...text.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => `${label}!=""`))]
    const expr = `group by (alertname) (ALERTS{${[`alertname="${alert}"`, ...labels].join(',')}})`
    return { expr, samples: { [`{alertname="${alert}"}`]: 1 } }
  })
  return { name: `${alerts.join(' and ')} after ${minutes} m`, phases, queries: [firing, ...templates] }
}

describe('the alerts for Prometheus', () => {
  let rules: readonly AlertRule[]

  beforeAll(async () => {
    const { groups } = fileSchema.parse(parse(await readFile(RULES_FILE, 'utf8')))
    rules = groups.flatMap((each) => each.rules)
  })

  test('each has a section of its own in docs/alerts.md, and each section an alert', async () => {
    const page = await read('docs/alerts.md')
    const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, title = '']) => title)
    expect(sections.sort()).toEqual(rules.map(({ alert }) => alert).sort())
    for (const { alert, annotations } of rules) {
      expect(annotations.runbook).toBe(`docs/alerts.md#${alert.toLowerCase()}`)
    }
  })

  test('what to do about them are commands that there are, with options that they have', async () => {
    const page = await read('docs/alerts.md')
    const reference = await read('docs/reference/commands.md')
    const sections = new Map(
      reference.split(/^## citus-ha /m).map((section) => [/^[a-z]+/.exec(section)?.[0] ?? '', section]),
    )
    const commands = [...page.matchAll(/`citus-ha ([a-z]+)([^`]*)`/g)]
    expect(commands.length).toBeGreaterThan(15)
    for (const [text, name = '', rest = ''] of commands) {
      const section = sections.get(name)
      expect(section, text).toBeDefined()
      for (const [flag] of rest.matchAll(/--[a-z-]+/g)) expect(section, text).toContain(`\`${flag}`)
    }
  })

  test('checks of doctor that are named there exist', async () => {
    const checks = await read('docs/reference/checks.md')
    for (const [id] of (await read('docs/alerts.md')).matchAll(/\bH\d{3}\b/g)) expect(checks).toContain(id)
  })

  test('are of metrics that there are', async () => {
    const names = new Set([...(await answerOf()).matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name))
    for (const { alert, expr } of rules)
      for (const [name] of expr.matchAll(/citus_ha_\w+/g)) expect(names, alert).toContain(name)
  })

  test('every diagnosis but healthy has one', () => {
    const codes = new Set(RULES.map(({ code }) => code))
    codes.delete('healthy')
    expect(new Set(DIAGNOSES.map(([, , code]) => code))).toEqual(codes)
  })

  test('promtool finds nothing to mind in them, nor in what a watcher answers', async ({ skip }) => {
    const why = whyNoPromtool()
    if (why) return skip(why)
    expect(await promtool(['check', 'rules', RULES_FILE])).toBe('')
    const targets = [target({})]
    expect(await promtool(['check', 'metrics'], await answerOf({ targets }))).toBe('')
    // It would say so.
    expect(await promtool(['check', 'metrics'], '# TYPE a_total gauge\na_total 1\n')).toMatch(/a_total/)
  })

  test('fire for what they are named after, and for nothing else', async ({ skip }) => {
    const why = whyNoPromtool()
    if (why) return skip(why)
    const table = await whatIsSeen()
    const named = new Set(table.flatMap(([alerts]) => alerts))
    expect([...named].sort(), 'every alert has a line').toEqual(rules.map(({ alert }) => alert).sort())
    const cases = await Promise.all(table.map((each) => ruleCase(each, rules)))
    expect(await testRules(RULES_FILE, cases)).toBe('')
  })
})
