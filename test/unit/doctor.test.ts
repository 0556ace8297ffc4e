import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { asTyped } from '../../src/cli/cluster-options.ts'
import { plain } from '../../src/cli/io.ts'
import { renderExamination } from '../../src/cli/render-examination.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examine } from '../../src/doctor/examine.ts'
import { psqlAsOwnRole, shellWord } from '../../src/model/shell.ts'
import { standbysWaitedFor } from '../../src/model/sync-names.ts'
import { judgeClients } from '../../src/switchover/clients.ts'
import { CASES } from '../support/ailments.ts'
import { address, installed, writable } from '../support/builders.ts'
import { factsOf, look } from '../support/examined.ts'
import { citusHa } from '../support/scenario.ts'

const idsOf = (parts: Parameters<typeof factsOf>[0]) => [
  ...new Set(examine(factsOf(parts)).map(({ id }) => id)),
]

describe('the table of checks', () => {
  test('has ids and codes that are unique, and says something of each', () => {
    for (const key of ['id', 'code'] as const) {
      const all = CHECKS.map((check) => check[key])
      expect(all).toEqual([...new Set(all)])
    }
    for (const { id, says } of CHECKS) expect(`${id} ${says}`).toMatch(/^H\d{3} .{20}/)
  })

  test('finds nothing in a healthy cluster', () => {
    expect(examine(factsOf({}))).toEqual([])
  })

  test('tells errors before warnings, and those before what is only worth knowing', () => {
    const every = CASES.flatMap(({ finds }) => examine(factsOf(finds)).map(({ severity }) => severity))
    expect(new Set(every)).toEqual(new Set(['error', 'warning', 'info']))
    for (const { finds } of CASES) {
      const order = examine(factsOf(finds)).map(({ severity }) =>
        ['error', 'warning', 'info'].indexOf(severity),
      )
      expect(order).toEqual([...order].sort())
    }
  })

  test('what several servers have in common is said once, after the last of them, by group', () => {
    const unusable = { installed: installed({ mayExecute: false }) }
    const facts = factsOf({ nodes: [writable('w2a', 2, unusable), writable('w1a', 1, unusable)] })
    const findings = examine(facts).filter(({ id }) => id === 'H140')
    const found = { database: 'app', coordinator: 'cn1:5432', servers: [], findings, at: '', remarks: [] }
    const written = { write: () => undefined }
    const io = { stdout: written, stderr: written, env: { NO_COLOR: '1' }, etc: '/nonexistent' }
    const text = renderExamination(found, { ...io, signal: new AbortController().signal })
    expect(text.split('\n').slice(1, 6)).toEqual([
      'error    H140 not-installed: w1a:5432: the schema citus_ha may not be used by this role',
      'error    H140 not-installed: w2a:5432: the schema citus_ha may not be used by this role',
      '         migration needed: 2',
      expect.stringMatching(/^ {9}mend: citus-ha install/),
      '2 errors, 0 warnings',
    ])
  })

  test('every check has a case that finds and one that does not', () => {
    const covered = new Set(CASES.map(({ id }) => id))
    expect(CHECKS.map(({ id }) => id).filter((id) => !covered.has(id))).toEqual([])
  })
})

describe('each check', () => {
  test.each(CASES)('$id: $name', ({ id, finds, mend, look }) => {
    const findings = examine(factsOf(finds)).filter((each) => each.id === id)
    expect(
      findings,
      examine(factsOf(finds))
        .map((each) => each.summary)
        .join('\n'),
    ).toHaveLength(1)
    expect(findings[0]).toMatchObject({ severity: CHECKS.find((check) => check.id === id)?.severity })
    expect(findings[0]?.summary).toMatch(/\S/)
    expect(findings[0]).toMatchObject({
      mend: mend ? expect.stringMatching(mend) : null,
      look: look ? expect.stringMatching(look) : null,
    })
    expect(mend === undefined).toBe(look !== undefined)
  })

  test.each(CASES)('$id, not: $misses', ({ id, near }) => {
    expect(idsOf(near)).not.toContain(id)
  })
})

describe('citus-ha doctor --list', () => {
  test('prints the checks without asking any server', async () => {
    const ran = await citusHa(['doctor', '--list'])
    expect(ran).toMatchObject({ exitCode: 0, stderr: '' })
    expect(ran.stdout.trim().split('\n')).toHaveLength(CHECKS.length)
    expect(ran.stdout).toMatch(/^H110 {2}prepared-off +error +max_prepared_transactions is 0/m)
    const { checks } = JSON.parse((await citusHa(['doctor', '--list', '--json'])).stdout)
    expect(checks.map(({ id }: { id: string }) => id)).toEqual(CHECKS.map(({ id }) => id))
  })
})

describe('what waits for synchronous standbys', () => {
  test.each([
    ['', 0],
    [' ', 0],
    ['a, b', 1],
    ['*', 1],
    ['2 (a, b, c)', 2],
    ['FIRST 2 (a, b)', 2],
    ['any 3 (*)', 3],
  ])('%j: %i', (names, count) => {
    expect(standbysWaitedFor(names)).toBe(count)
  })
})

describe('a command that mends', () => {
  test('quotes for the shell what anybody may have named', () => {
    expect(shellWord('app')).toBe('app')
    expect(shellWord(`it's $(rm)`)).toBe(`'it'\\''s $(rm)'`)
  })

  test.each(['a\nb', '\x03rm -rf ~\r', 'x\u001b[201~\n', "it's\\\t!", '\u009b2J', '\u2028', 'x\x01f'])(
    'holds nothing that a terminal would obey: %j',
    (text) => {
      const word = shellWord(text)
      expect(word).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
      const env = { LC_ALL: 'C.UTF-8' }
      expect(execFileSync('bash', ['-c', `printf %s ${word}`], { encoding: 'utf8', env })).toBe(text)
    },
  )

  test('has a word for nothing, too', () => {
    expect(shellWord('')).toBe('""')
    expect(psqlAsOwnRole(address('w1a'), 'a b', 'SELECT 1')).toBe(
      `psql -h w1a -p 5432 -d "a b" -U citus_ha -c "SELECT 1"`,
    )
  })

  /** Each is a name that PostgreSQL takes for a role, a database or a prepared transaction. */
  const HOSTILE = [
    '$(touch pwned)',
    '`touch pwned`',
    `'; touch pwned; '`,
    '"; touch pwned; "',
    '\ntouch pwned #',
    '\r\u001b[2K\u202etouch pwned',
    '\\! touch pwned',
    `\\'; touch pwned; --`,
    '!touch pwned',
    '-c touch pwned',
    'x   # citus-ha recover; touch pwned',
  ] as const

  /** What a shell makes of a line: the arguments of each `psql` in it. */
  async function pasted(line: string, ...flags: readonly string[]): Promise<string[][]> {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-pasted-'))
    try {
      const stand = 'psql() { printf "%s\\\\0" "$#" "$@"; }'
      const script = `${stand}\n${line}`
      const { stdout } = await promisify(execFile)('bash', [...flags, '-c', script], { cwd: directory })
      expect(await readdir(directory), line).toEqual([])
      const words = stdout.split('\0').slice(0, -1)
      const calls: string[][] = []
      while (words.length > 0) calls.push(words.splice(0, Number(words.shift())))
      return calls
    } finally {
      await rm(directory, { recursive: true })
    }
  }

  test.each(HOSTILE)('does in a shell what it says, whoever chose the names: %j', async (name) => {
    const transaction = { gid: name, owner: name, mayBeOurs: false, ageMs: 90_000, locks: [] }
    const found = examine(
      factsOf({ seen: { w1a: { prepared: look({ inUse: 1, transactions: [transaction] }) } } }),
    )
    const doctors = found.filter(({ id }) => id === 'H102').map(({ mend }) => mend ?? '')
    expect(doctors).toHaveLength(1)
    const { refusals } = judgeClients(address('w1a'), {
      overriding: [{ role: name, database: name }],
      subscriptions: [{ name, database: name }],
      prepared: [{ gid: name, owner: name, database: name }],
      unlogged: [],
    })
    const lines = [...doctors, ...refusals.map((line) => line.slice(line.lastIndexOf('; next: psql ') + 8))]
    for (const line of lines.map(asTyped({ config: "/etc/o'brien.yaml" }))) {
      // A terminal shows it as it is.
      expect(plain(line)).toBe(line)
      const [[, , , , , database] = [], ...more] = await pasted(line)
      expect(more).toEqual([])
      expect(['app', name]).toContain(database)
      // As an interactive zsh has it, which knows no comments.
      await pasted(line, '--norc', '-i', '+O', 'interactive_comments')
    }
  })

  test.each(['host=evil.example port=1', 'postgres://evil.example/x', 'postgresql://evil.example', `a='b\\`])(
    'connects to the server that it names, whatever the database is called: %j',
    async (database) => {
      const [[, , , , , given] = []] = await pasted(psqlAsOwnRole(address('w1a'), database, 'SELECT 1'))
      const value = database.replace(/['\\]/g, '\\$&')
      expect([`dbname='${value}'`, `dbname=${value}`]).toContain(given)
    },
  )
})
