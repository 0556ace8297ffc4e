import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server as Listener } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { logWriter } from '../../src/cli/log-writer.ts'
import { start } from '../support/program.ts'
import { atTerminal } from '../support/terminal.ts'

const TEXT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:DEBUG|INFO|WARN|ERROR): \S.*$/

const lines = (text: string) => text.split(/\r?\n/).filter((line) => line !== '')

describe('the lines of watch, JSON in a pipe and text on a terminal', () => {
  let taken: Listener
  let port: number

  beforeAll(async () => {
    taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    port = (taken.address() as AddressInfo).port
  })
  afterAll(() => void taken?.close())

  const nobody = ['--coordinator', 'postgres://citus_ha@127.0.0.1:1/app?require_auth=none']
  /** What it fails at, before it watches. */
  const FAILS: readonly (readonly [string, () => string[], number, RegExp])[] = [
    ['its port is taken', () => [...nobody, '--http', `127.0.0.1:${port}`], 2, /in use/],
    ['it has no coordinator', () => ['--config', '/dev/null'], 2, /no coordinator/],
    ['there is no file', () => ['--config', '/nonexistent.yaml'], 2, /no such file/],
    ['a URL is none', () => ['--coordinator', 'mysql://h/a'], 2, /postgres/],
  ]

  it.each(FAILS)('are all of one form where %s', async (_, args, exitCode, why) => {
    const ran = async (...flags: string[]) => {
      const program = start('watch', ...args(), ...flags)
      const { code } = await program.ended()
      expect({ code, stdout: program.stdout() }).toEqual({ code: exitCode, stdout: '' })
      return lines(program.stderr())
    }
    for (const flags of [[], ['--log-format', 'json']]) {
      const last = (await ran(...flags)).map((line): unknown => JSON.parse(line)).at(-1)
      expect(last).toMatchObject({ level: 50, event: 'ended', exitCode, msg: expect.stringMatching(why) })
    }
    const text = await ran('--log-format', 'text')
    expect(text.filter((line) => !TEXT.test(line))).toEqual([])
    expect(text.at(-1)).toMatch(why)
    const terminal = atTerminal('watch', '--color', 'never', ...args())
    expect(await terminal.ended()).toBe(exitCode)
    expect(lines(terminal.shown()).filter((line) => !TEXT.test(line))).toEqual([])
  })

  it.each(['json', 'text'])(
    'are all of one form while it watches, %s, with -v, to the end',
    async (format) => {
      const program = start('watch', ...nobody, '-v', '--http', '127.0.0.1:0', '--log-format', format)
      const said = (text: string) => program.stderr().includes(text)
      while (!(said('no writable coordinator') && said('failed after')))
        await once(program.process.stderr ?? program.process, 'data')
      program.process.kill('SIGTERM')
      expect(await program.ended()).toEqual({ code: 0, signal: null })
      const all = lines(program.stderr())
      if (format === 'json') for (const line of all) expect(() => JSON.parse(line)).not.toThrow()
      else expect(all.filter((line) => !TEXT.test(line))).toEqual([])
      expect(all.at(-1)).toContain('ended')
    },
  )

  it('are as the file says, where no flag does', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-log-'))
    try {
      const file = join(directory, 'f.yaml')
      await writeFile(file, `coordinators: [{ url: "${nobody[1]}" }]\nlog: { format: text }\n`)
      const program = start('watch', '--config', file, '--http', `127.0.0.1:${port}`)
      await program.ended()
      expect(lines(program.stderr()).filter((line) => !TEXT.test(line))).toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

test('a line of text has what matters as key=value, and nothing that a terminal would obey', async () => {
  const written: string[] = []
  const stderr = { write: (text: string) => written.push(text) }
  const write = await logWriter('text', { stderr, env: { NO_COLOR: '1' } })
  const fields = {
    event: 'diagnosed',
    database: 'my db',
    group: 1,
    rule: 'D070',
    was: null,
    evidence: [],
    rules: [{ group: 1 }],
    stack: 'at a\n  at b',
    esc: '\u001b[2J',
  }
  const line = { level: 40, time: Date.now(), pid: 1, hostname: 'h', name: 'citus-ha', ...fields }
  write(`${JSON.stringify({ ...line, msg: 'group 1: \u001b[31mred' })}\n`)
  expect(written.join('').replace(/^\S+ /, '')).toBe(
    'WARN: group 1: \\x1b[31mred database="my db" group=1 rule=D070 rules=[{"group":1}] stack="at a\\n  at b" esc="\\u001b[2J"\n',
  )
  expect(written.join('')).toMatch(/^\d{4}-/)
})

test.each(['json', 'text'] as const)(
  'a line of %s is one line of plain text, whatever is said',
  async (format) => {
    const written: string[] = []
    const write = await logWriter(format, {
      stderr: { write: (text) => written.push(text) },
      env: { NO_COLOR: '1' },
    })
    const hostile = 'a\n\r\u001b[31m\u007f\u0085\u009b2J\u2028\u2029\u202e\u2066z'
    const line = { level: 40, time: 0, msg: hostile, node: hostile, [hostile]: [hostile] }
    write(`${JSON.stringify(line)}\n`)
    const text = written.join('')
    expect(text).toMatch(/^[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+\n$/u)
    if (format === 'json') expect(JSON.parse(text)).toEqual(line)
  },
)

test('a level is in its colour, where colours are wanted', async () => {
  const written: string[] = []
  const stderr = { write: (text: string) => written.push(text) }
  const write = await logWriter('text', { stderr, env: {}, color: { mode: 'always' } })
  for (const level of [30, 50]) write(`${JSON.stringify({ level, time: 0, msg: 'm' })}\n`)
  expect(written[0]).toContain('\u001b[32mINFO')
  expect(written[1]).toContain('\u001b[31mERROR')
})

test.each([
  ['auto', true, 'text'],
  ['auto', false, 'json'],
  ['json', true, 'json'],
  ['text', false, 'text'],
] as const)('%s on a terminal (%s) is %s', async (format, isTTY, form) => {
  const written: string[] = []
  const write = await logWriter(format, { stderr: { write: (text) => written.push(text), isTTY }, env: {} })
  write('{"level":30,"time":0,"msg":"m"}\n')
  expect(written.join('').startsWith('{')).toBe(form === 'json')
})
