import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { readExposition } from './exposition.ts'

const run = promisify(execFile)

/** Why tests with promtool can't run here; null: they can. */
export function whyNoPromtool(): string | null {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' })
    return null
  } catch {
    return 'no promtool here: on Debian it is in the package prometheus'
  }
}

/** @returns everything it said; '' where it minds nothing */
export async function promtool(args: readonly string[], stdin = ''): Promise<string> {
  const ran = run('promtool', [...args])
  ran.child.stdin?.end(stdin)
  return await ran.then(
    ({ stderr }) => stderr,
    ({ stdout, stderr }) => `${stdout}${stderr}`.trim() || 'it ended with an error',
  )
}

/** What each target answered, by its name; null: nothing. */
export type Scrape = Readonly<Record<string, string | null>>

/** Scrapes of the same answers, as long as so many minutes last. */
export type Phase = readonly [minutes: number, scrape: Scrape]

export interface RuleCase {
  readonly name: string
  readonly phases: readonly Phase[]
  /** PromQL at the end of the last phase, and the samples that it has then. */
  readonly queries: readonly { readonly expr: string; readonly samples: Readonly<Record<string, number>> }[]
}

/** No rule is about these, and they take long. */
const OF_NODE = /^(process|nodejs)_/

/**
 * Runs rules over time, on what watchers really answer.
 * @param file null: only the queries
 * @returns what `promtool test rules` minds; '': nothing
 */
export async function testRules(file: string | null, cases: readonly RuleCase[]): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'citus-ha-rules-'))
  try {
    const tests = cases.map(({ name, phases, queries }) => {
      const minutes = phases.reduce((sum, [each]) => sum + each, 0)
      return {
        name,
        interval: '1m',
        input_series: seriesOf(phases).filter(({ series }) => file === null || !OF_NODE.test(series)),
        promql_expr_test: queries.map(({ expr, samples }) => ({
          expr,
          eval_time: `${minutes}m`,
          exp_samples: Object.entries(samples).map(([labels, value]) => ({ labels, value })),
        })),
      }
    })
    const path = join(directory, 'test.yml')
    await writeFile(
      path,
      stringify({ rule_files: file === null ? [] : [file], evaluation_interval: '1m', tests }),
    )
    return await promtool(['test', 'rules', path])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function seriesOf(phases: readonly Phase[]): { series: string; values: string }[] {
  const read = phases.map(([minutes, scrape]) => ({
    count: minutes,
    samples: new Map(Object.entries(scrape).flatMap(([target, text]) => samplesFrom(target, text))),
  }))
  const names = new Set(read.flatMap(({ samples }) => [...samples.keys()]))
  return [...names].map((series) => {
    const values = read.flatMap(({ count, samples }) => {
      const value = samples.get(series)
      // As Prometheus marks what a target tells no more.
      return value === undefined ? [`stale _x${count - 1}`] : [`${value}x${count - 1}`]
    })
    return { series, values: values.join(' ') }
  })
}

function samplesFrom(target: string, text: string | null): [string, number][] {
  const labels = `instance="${target}:8008",job="citus-ha"`
  const up: [string, number] = [`up{${labels}}`, text === null ? 0 : 1]
  if (text === null) return [up]
  const samples = [...readExposition(text).values()].flatMap((family) => [...family.samples])
  const withLabels = (key: string) =>
    key.includes('{') ? key.replace('{', `{${labels},`) : `${key}{${labels}}`
  return [up, ...samples.map(([key, value]): [string, number] => [withLabels(key), value])]
}
