import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { Metrics } from '../../src/http/metrics.ts'
import { testRules, whyNoPromtool } from '../support/promtool.ts'
import { acted, stateOf } from '../support/watch-state.ts'

const FILE = new URL('../../deploy/grafana/citus-ha.json', import.meta.url)
const DATASOURCE = z.strictObject({
  type: z.literal('prometheus'),
  uid: z.string().regex(/^\$\{datasource\}$/),
})

const panelSchema = z.object({
  id: z.int(),
  type: z.enum(['row', 'stat', 'timeseries', 'state-timeline']),
  title: z.string().min(1),
  gridPos: z.strictObject({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  targets: z
    .array(
      z.strictObject({
        refId: z.string(),
        datasource: DATASOURCE,
        expr: z.string(),
        legendFormat: z.string(),
        instant: z.boolean().optional(),
      }),
    )
    .default([]),
})
const dashboardSchema = z.object({
  uid: z.string().max(40),
  schemaVersion: z.int(),
  templating: z.object({
    list: z.array(z.object({ name: z.string(), type: z.string(), definition: z.string().optional() })),
  }),
  panels: z.array(panelSchema),
})

const dashboard = dashboardSchema.parse(JSON.parse(await readFile(FILE, 'utf8')))
const queries = dashboard.panels.flatMap(({ title, targets }) => targets.map((each) => ({ title, ...each })))
const variables = dashboard.templating.list.flatMap(({ definition }) => definition ?? [])

/** As Grafana puts its variables in, with everything chosen. */
const asAsked = (expr: string) =>
  expr.replaceAll(/\$__(rate_interval|range)\b/g, '10m').replaceAll(/\$(cluster|database|group)\b/g, '.*')

/** A watcher that has seen a promotion, and has something to say of everything. */
async function exposition(): Promise<string> {
  const target = { name: 'command', sent: 1, failed: 0, dropped: 0, queued: 0 }
  const states = () => [stateOf()]
  const metrics = await Metrics.open({ states, notifications: () => [target], version: '1' })
  metrics.told({ kind: 'database', database: 'app', now: 'watched' })
  metrics.told(acted({ stages: { noticedMs: 5, decidedMs: 20, rightMs: 40 } }))
  return await metrics.text()
}

describe('the dashboard for Grafana', () => {
  test('asks the data source that is chosen, and has variables for cluster, database and group', () => {
    expect(dashboard.templating.list.map(({ name, type }) => [name, type])).toEqual([
      ['datasource', 'datasource'],
      ['cluster', 'query'],
      ['database', 'query'],
      ['group', 'query'],
    ])
    const known = new Set([
      'datasource',
      'cluster',
      'database',
      'group',
      '__rate_interval',
      '__range',
      '__all',
    ])
    for (const text of [...variables, ...queries.map(({ expr }) => expr)])
      for (const [, name] of text.matchAll(/\$\{?(\w+)/g)) expect(known, text).toContain(name)
    for (const { title, expr } of queries) expect(expr, title).toMatch(/\{cluster=~"\$cluster"/)
  })

  test('has no two panels with one id, or in one place', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const taken = new Map<string, string>()
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.get(`${x}/${y}`), title).toBeUndefined()
          taken.set(`${x}/${y}`, title)
        }
    }
    for (const { title, targets } of panels)
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length)
  })

  test('asks for metrics and labels that there are', async () => {
    const text = await exposition()
    const labelsOf = (name: string) =>
      new Set([...text.matchAll(new RegExp(`^${name}(?:_bucket)?\\{(.*)\\} `, 'gm'))].flatMap(labelsIn))
    const labelsIn = ([, labels = '']: RegExpExecArray) =>
      [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label)
    const names = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name))
    for (const { title, expr, legendFormat } of queries) {
      const used = [...expr.matchAll(/\b((?:citus_ha|process|nodejs)_\w+?)(?:_bucket)?(?=[{[ )]|$)/g)].map(
        ([, name = '']) => name,
      )
      expect(used.length, title).toBeGreaterThan(0)
      for (const name of used) expect(names, title).toContain(name)
      const labels = new Set(['instance', ...used.flatMap((name) => [...labelsOf(name)])])
      // Of problems and warnings there are none here.
      if (!used.some((name) => /^citus_ha_(problems|warnings)$/.test(name)))
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
          expect(labels, title).toContain(label)
    }
  })

  test('every panel shows something', async ({ skip }) => {
    const why = whyNoPromtool()
    if (why) return skip(why)
    const text = await exposition()
    // What is shown only while something is wrong has to be well-formed, and shows nothing here.
    const quiet = queries.filter(({ expr }) => /by .*code!="healthy"|citus_ha_(problems|warnings)/.test(expr))
    expect(quiet.map(({ title }) => title)).toEqual([
      'What is believed of each group',
      'Problems of citus-ha status',
      'Warnings of citus-ha status',
    ])
    const asked = queries.map((query) => {
      const samples: Record<string, number> = quiet.includes(query) ? {} : { '{}': 1 }
      return { expr: `group(${asAsked(query.expr)})`, samples }
    })
    const name = 'panels'
    expect(await testRules(null, [{ name, phases: [[30, { one: text }]], queries: asked }])).toBe('')
  })
})
