import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examine } from '../../src/doctor/examine.ts'
import { psql, shellWord } from '../../src/model/shell.ts'
import { standbysWaitedFor } from '../../src/model/sync-names.ts'
import { CASES } from '../support/ailments.ts'
import { address } from '../support/builders.ts'
import { factsOf } from '../support/examined.ts'
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
    expect(psql(address('w1a'), 'a b', 'SELECT 1')).toBe(`psql -h w1a -p 5432 -d "a b" -c "SELECT 1"`)
  })
})
