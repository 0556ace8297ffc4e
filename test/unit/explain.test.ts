import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { ALERTS } from '../../src/cli/explain/alerts.ts'
import { CHECK_EXPLANATIONS } from '../../src/cli/explain/checks.ts'
import { EXIT_EXPLANATIONS } from '../../src/cli/explain/exits.ts'
import { everything, namesIn } from '../../src/cli/explain/explain.ts'
import { REMARK_EXPLANATIONS } from '../../src/cli/explain/remarks.ts'
import { RULE_EXPLANATIONS } from '../../src/cli/explain/rules.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { REASONS, WARNINGS } from '../../src/model/remark.ts'
import { headingsOf } from '../support/pages.ts'
import { citusHa } from '../support/scenario.ts'

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')

describe('every code has an explanation, and no other has', () => {
  test.each<[string, readonly (string | number)[], object]>([
    ['rules', RULES.map(({ id }) => id), RULE_EXPLANATIONS],
    ['checks', CHECKS.map(({ id }) => id), CHECK_EXPLANATIONS],
    ['exit codes', EXIT_CODES.map(([code]) => code), EXIT_EXPLANATIONS],
    ['remarks', Object.keys({ ...WARNINGS, ...REASONS }), REMARK_EXPLANATIONS],
  ])('%s', (_, codes, explanations) => {
    expect(Object.keys(explanations).sort()).toEqual([...new Set(codes.map(String))].sort())
  })

  test('alerts', async () => {
    const rules = await read('deploy/prometheus/citus-ha.rules.yml')
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
    expect(Object.keys(ALERTS).sort()).toEqual(alerts.sort())
  })
})

describe('what an explanation says', () => {
  test('is said, and asks for something where something is wrong', () => {
    const isWell = ['0', 'D050']
    for (const { kind, code, means, meanwhile, todo } of everything()) {
      expect(means, code).not.toBe('')
      expect(meanwhile, code).toMatch(/\.$/)
      if (kind !== 'term') expect(todo.length > 0, code).toBe(!isWell.includes(code))
    }
  })

  test('are commands that there are, with options that they have', async () => {
    const reference = await read('docs/reference/commands.md')
    const sections = new Map(
      reference.split(/^## citus-ha /m).map((section) => [/^[a-z]+/.exec(section)?.[0] ?? '', section]),
    )
    const texts = everything().flatMap(({ meanwhile, todo }) => [meanwhile, ...todo])
    const commands = texts.flatMap((text) => [...text.matchAll(/`citus-ha ([a-z]+)([^`]*)`/g)])
    expect(commands.length).toBeGreaterThan(80)
    for (const [text, name = '', rest = ''] of commands) {
      expect(sections.get(name), text).toBeDefined()
      for (const [flag] of rest.matchAll(/--[a-z-]+/g))
        expect(sections.get(name), text).toMatch(new RegExp(`[\` ]${flag}[\` ]`))
    }
  })

  test('ends with a page that there is, and its heading', async () => {
    for (const { code, page } of everything()) {
      const [path = '', heading] = page.split('#')
      const headings = headingsOf(await read(path))
      if (heading !== undefined) expect(headings, `${code}: ${page}`).toContain(heading)
    }
  })

  test('is for a terminal: without links, with backticks in pairs', () => {
    for (const { code, means, meanwhile, todo } of everything())
      for (const text of [means, meanwhile, ...todo]) {
        expect(text, code).not.toMatch(/\]\(/)
        expect(text.split('`').length % 2, `${code}: ${text}`).toBe(1)
      }
  })
})

describe('citus-ha explain', () => {
  const explained = async (...words: string[]) => {
    const { stdout, exitCode } = await citusHa(['explain', '--json', ...words])
    expect(exitCode).toBe(0)
    const document = JSON.parse(stdout) as { explained: { kind: string; code: string }[] }
    return document.explained.map(({ kind, code }) => `${kind} ${code}`)
  }

  test.each<[string[], string[]]>([
    [['D063'], ['rule D063']],
    [['d063'], ['rule D063']],
    [['split-brain'], ['rule D041']],
    [['H064'], ['check H064']],
    [['address-not-allowed'], ['check H064']],
    [['exit', '5'], ['exit code 5']],
    [['5'], ['exit code 5']],
    [['130'], ['exit code 130']],
    [['copy-stale'], ['remark copy-stale']],
    [['CitusHaSplitBrain'], ['alert CitusHaSplitBrain']],
    [['paused'], ['check H050', 'remark paused']],
    [['retired'], ['term retired']],
    [['remedy'], ['term remedy']],
    [['remedies', 'in', 'force'], ['term remedy']],
    [
      ['primary-moved', 'remedy-ended', 'drift-repaired', 'wal-receiver'],
      ['term primary-moved', 'term remedy-ended', 'term drift-repaired', 'term wal-receiver'],
    ],
    [['citus_check_connection_to_node'], ['term citus_check_connection_to_node']],
    [['expand', 'coordinator'], ['term expand-coordinator']],
    [['blocked'], ['remark blocked', 'term blocked']],
    [['stand-in'], ['term stand-in']],
    [['held'], ['term held']],
    [['CONFIG_FILE'], ['term CONFIG_FILE']],
    [
      ['lineage-mismatch', 'D041', 'D042'],
      ['D021', 'D023', 'D030', 'D042', 'D061', 'D041'].map((id) => `rule ${id}`),
    ],
  ])('%j', async (words, expected) => {
    expect(await explained(...words)).toEqual(expected)
  })

  test('for people: what it means, what is safe meanwhile, what to do, and where the page is', async () => {
    const { stdout, stderr, exitCode } = await citusHa(['explain', 'D041'])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toMatch(
      /^D041 split-brain {2}\(rule, refused\)\nMeans: {6}.*\nMeanwhile: {2}.*\nDo: {9}- .*\n(?: {12}- .*\n)+Page: {7}.*docs\/runbooks\.md#split-brain\n$/,
    )
    expect(stdout).not.toContain('`')
  })

  test.each([
    [['D0063'], 'citus-ha: unknown code “D0063”; did you mean D063?\n'],
    [['exit', '6'], 'citus-ha: unknown code “6”; citus-ha explain lists the kinds of codes\n'],
    [['split-brian', 'D041'], 'citus-ha: unknown code “split-brian”; did you mean split-brain?\n'],
    [['nothing-like-it-at-all'], /^citus-ha: unknown code .*; citus-ha explain lists the kinds of codes\n$/],
  ])('%j is one line, and exit code 2', async (words, expected) => {
    const { stdout, stderr, exitCode } = await citusHa(['explain', ...words])
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' })
    if (typeof expected === 'string') expect(stderr).toBe(expected)
    else expect(stderr).toMatch(expected)
  })

  test('without a code: the kinds that there are', async () => {
    const { stdout, exitCode } = await citusHa(['explain'])
    expect(exitCode).toBe(0)
    for (const kind of ['rule', 'check', 'exit code', 'remark', 'alert', 'term'])
      expect(stdout).toMatch(new RegExp(`^${kind} +\\d+ `, 'm'))
    const { kinds } = JSON.parse((await citusHa(['explain', '--json'])).stdout) as {
      kinds: { kind: string; codes: string[] }[]
    }
    expect(new Set(kinds.flatMap(({ codes }) => codes))).toEqual(
      new Set(everything().map(({ code }) => code)),
    )
  })
})

test('no rule, check or alert has the id of another kind', () => {
  const ids = everything()
    .filter(({ kind }) => kind !== 'remark')
    .map(({ code }) => code)
  expect(new Set(ids).size).toBe(ids.length)
  expect(namesIn(everything()).every((name) => !/\s/.test(name))).toBe(true)
})

test('the README’s exit codes are those of the program', async () => {
  const readme = await read('README.md')
  for (const [code, meaning] of EXIT_CODES)
    if (code < 100) expect(readme).toContain(`| ${code} | ${meaning} |`)
})
