import { describe, expect, test } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { fittedHelp } from '../../src/cli/help.ts'
import { exitCodeOfInterruption, Interrupted, unlessInterrupted } from '../../src/cli/interrupted.ts'
import { type ColorMode, hasColors, heightFor, inLocale, printJson, widthFor } from '../../src/cli/io.ts'
import { isUtf8 } from '../../src/cli/locale.ts'
import { commonEnd } from '../../src/cli/names.ts'
import { run } from '../../src/cli/program.ts'
import { inTable, widthOf, wrapped } from '../../src/cli/table.ts'
import type { Environment } from '../../src/config/url.ts'
import { plannedText } from '../../src/model/outcome.ts'

const sink = (isTTY: boolean, columns?: number) => ({
  write: () => true,
  isTTY,
  ...(columns !== undefined && { columns, rows: 50 }),
})

describe('colours', () => {
  test.each<[boolean, Environment, ColorMode, boolean]>([
    // On a terminal, what the environment says, what --color says, whether there are any.
    [true, {}, 'auto', true],
    [false, {}, 'auto', false],
    [true, { TERM: 'dumb' }, 'auto', false],
    [true, { NO_COLOR: '1' }, 'auto', false],
    [true, { NO_COLOR: '' }, 'auto', true],
    [true, { CLICOLOR: '0' }, 'auto', false],
    [false, { FORCE_COLOR: '1' }, 'auto', true],
    [true, { FORCE_COLOR: '0' }, 'auto', false],
    [false, { CLICOLOR_FORCE: '1' }, 'auto', true],
    [false, { CLICOLOR_FORCE: '0' }, 'auto', false],
    [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, 'auto', false],
    [false, { NO_COLOR: '1' }, 'always', true],
    [true, { FORCE_COLOR: '1' }, 'never', false],
  ])('terminal %s, %o, --color %s: %s', (isTTY, env, mode, has) => {
    expect(hasColors({ stdout: sink(isTTY), env, color: { mode } })).toBe(has)
  })
})

describe('the locale', () => {
  test.each<[Environment, boolean]>([
    [{}, false],
    [{ LANG: 'C' }, false],
    [{ LANG: 'POSIX' }, false],
    [{ LANG: 'en_US' }, false],
    [{ LANG: 'de_DE@euro' }, false],
    [{ LANG: 'en_US.ISO-8859-1' }, false],
    [{ LANG: 'en_US.UTF-8' }, true],
    [{ LANG: 'en_US.utf8' }, true],
    [{ LANG: 'C.UTF-8' }, true],
    [{ LANG: 'C', LC_CTYPE: 'en_US.UTF-8' }, true],
    [{ LANG: 'en_US.UTF-8', LC_CTYPE: 'C' }, false],
    [{ LANG: 'en_US.UTF-8', LC_CTYPE: 'en_US.UTF-8', LC_ALL: 'C' }, false],
    [{ LANG: 'en_US.UTF-8', LC_CTYPE: '', LC_ALL: '' }, true],
  ])('%o: UTF-8 %s', (env, is) => {
    expect(isUtf8(env)).toBe(is)
  })

  test('without UTF-8: ASCII for people, names and JSON as they are', () => {
    const shown: string[] = []
    const write = (text: string) => shown.push(text)
    const io = inLocale({
      stdout: { write },
      stderr: { write },
      env: { LANG: 'C' },
      signal: new AbortController().signal,
    })
    io.stdout.write('└─ “größe”’s… ✓')
    printJson(io, { said: 'a “group’s”' })
    expect(shown).toEqual(['`- "größe"\'s... +', '{\n  "said": "a “group’s”"\n}\n'])
  })
})

describe('room', () => {
  test.each<[boolean, Environment, number | undefined, number | null]>([
    [true, {}, 120, 120],
    [true, { COLUMNS: '70' }, 120, 70],
    [true, { COLUMNS: 'wide' }, 120, 120],
    [true, {}, undefined, 80],
    [false, { COLUMNS: '70' }, undefined, null],
  ])('terminal %s, %o, %s columns: %s', (isTTY, env, columns, width) => {
    expect(widthFor(sink(isTTY, columns), env)).toBe(width)
  })

  test('a help text: paragraphs and codes are wrapped, commands to copy are not', () => {
    const first =
      'Refused while a watcher runs, a change or a switchover is running or unresolved, a fence is'
    const command = '  citus-ha uninstall --config citus-ha.yaml --user postgres --dry-run'
    const text = [
      first,
      'held.',
      'Exit codes:',
      '  5      committed, but not yet verified on every node',
      '',
      command,
    ]
    expect(fittedHelp(text.join('\n'), 50).split('\n')).toEqual([
      'Refused while a watcher runs, a change or a',
      'switchover is running or unresolved, a fence is',
      'held.',
      'Exit codes:',
      '  5      committed, but not yet verified on every',
      '         node',
      '',
      command,
    ])
    expect(fittedHelp(text.join('\n'), null)).toBe(text.join('\n'))
  })

  test.each([60, 80, 120, 300])('each command’s help on %i columns', async (columns) => {
    const stdout: string[] = []
    const io = {
      stdout: { write: (line: string) => stdout.push(line), isTTY: true, columns },
      stderr: { write: () => true },
      env: { LANG: 'C.UTF-8' },
      signal: new AbortController().signal,
    }
    for (const { name } of COMMANDS) await run([name, '--help'], io)
    const long = stdout
      .join('')
      .split('\n')
      // Commands to copy stay whole.
      .filter((line) => widthOf(line) > Math.max(columns, 80) && !line.includes('citus-ha '))
    expect(long).toEqual([])
  })

  test('lines', () => {
    expect(heightFor(sink(true, 80), {})).toBe(50)
    expect(heightFor(sink(true, 80), { LINES: '20' })).toBe(20)
    expect(heightFor(sink(false), {})).toBeNull()
  })

  test('columns are as wide as what is in them looks, and only those are cut that may be', () => {
    const columns = [
      { head: 'A' },
      { head: 'NAME', least: 8, cut: 'middle' as const },
      { head: 'N', align: 'right' as const },
    ]
    const rows = [
      ['1', '数据库-primary-node:5432', '7'],
      ['22', 'e\u0301:1', '10'],
    ]
    for (const width of [16, 20, 24]) {
      const lines = inTable(columns, rows, width)
      for (const line of lines) expect(widthOf(line), line).toBeLessThanOrEqual(width)
      expect(lines[1]).toMatch(/^1 {3}数.*~[:\d]+ {3,4}7$/)
    }
    expect(inTable(columns, rows, null)).toEqual([
      'A   NAME                       N',
      '1   数据库-primary-node:5432   7',
      '22  e\u0301:1                       10',
    ])
  })

  test.each<[readonly string[], string]>([
    [['a.x.example:5432', 'b.x.example:5432'], '.x.example:5432'],
    [['a-1.x.example:5432', 'b-1.y.example:5432'], '.example:5432'],
    [['a.x.example:5432', 'b.x.example:5433'], ''],
    [['a.x.example:5432', '10.0.0.9:5432', 'b.x.example:5432', '[::1]:5432', 'w1:5432'], '.x.example:5432'],
    [['a.x.example:5432'], ''],
    [['10.0.0.9:5432', '10.0.1.9:5432'], ''],
    [['x.example:5432', 'a.x.example:5432'], '.example:5432'],
    [[], ''],
  ])('%o end in %s', (addresses, end) => {
    expect(commonEnd(addresses)).toBe(end)
  })
})

describe('an interruption', () => {
  test.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s gives up what has only looked, and nothing else', async (signal, code) => {
    const stop = new AbortController()
    const never = new Promise<string>(() => undefined)
    const given = unlessInterrupted(never, stop.signal, () => true)
    let resolve: (text: string) => void = () => undefined
    const change = new Promise<string>((made) => {
      resolve = made
    })
    const kept = unlessInterrupted(change, stop.signal, () => false)
    const reason = new Interrupted(signal)
    stop.abort(reason)
    await expect(given).rejects.toBe(reason)
    resolve('made')
    expect(await kept).toBe('made')
    expect(exitCodeOfInterruption(stop.signal)).toBe(code)
  })
})

const row = { group: 1, nodeid: 2, from: 'a:1', to: 'b:1', kind: 'primary-moved', why: '' } as const

test.each([
  [[], [], 'nothing to do'],
  [[row], [{ node: 'a:1', statements: [] }], '1 row would change; nothing was changed'],
  [[row, row], [{ node: 'a:1', statements: [] }], '2 rows would change; nothing was changed'],
  [[], [{ node: 'a:1', statements: [] }], 'copies would be updated; nothing was changed'],
])('a dry run of %o and %o: %s', (changes, sql, text) => {
  expect(plannedText({ changes, sql })).toBe(text)
})

test('a paragraph keeps the blanks that it begins with', () => {
  expect(wrapped('    - one two three', 14, '      ')).toEqual(['    - one two', '      three'])
  expect(wrapped('  a-word-that-is-longer b', 10, '')).toEqual(['  a-word-that-is-longer', 'b'])
})
