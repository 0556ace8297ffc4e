import { describe, expect, test } from 'vitest'
import type { LogLevel } from '../../src/config/log-level.ts'
import { Secret } from '../../src/config/secret.ts'
import type { Blocker } from '../../src/model/blocker.ts'
import { type Refusal, unproved } from '../../src/model/outcome.ts'
import { remark } from '../../src/model/remark.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { cycleLevel, openWatchLog } from '../../src/watch/log.ts'
import { address } from '../support/builders.ts'
import { acted, diagnosed, report } from '../support/watch-state.ts'

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
}

type Logged = Record<string, unknown> & { readonly level: string; readonly msg: string }

async function logAt(level: LogLevel) {
  const written: string[] = []
  const clock = { ms: 0 }
  const log = await openWatchLog({ level, write: (line) => written.push(line), now: () => clock.ms })
  const lines = (): Logged[] =>
    written.splice(0).map((line) => {
      expect(line.trim().split('\n')).toHaveLength(1)
      const { level: number, ...rest } = JSON.parse(line)
      return { ...rest, level: LEVELS[number] ?? String(number) }
    })
  const told = (...events: readonly WatchEvent[]): Logged[] => {
    events.forEach(log.told)
    return lines()
  }
  return { log, lines, told, clock, written }
}

const blocker = (parts: Partial<Blocker>): Blocker => ({
  node: address('w1a'),
  pid: 7,
  user: 'u',
  application: 'app',
  state: 'active',
  ageMs: 5,
  statement: null,
  client: null,
  database: null,
  ours: false,
  ...parts,
})

const refusal: Refusal = {
  group: 1,
  reason: 'split-brain',
  rule: 'D041',
  summary: 'two take writes',
  evidence: [],
  next: 'citus-ha status',
}
const blocked = (failures: number, groups = [1]) =>
  acted({
    failures,
    groups,
    report: report({ outcome: 'blocked', reason: remark('blocked', 'locked out'), epoch: null }),
  })

describe('one line a fact', () => {
  test.each([
    ['debug', diagnosed()],
    ['info', diagnosed({ was: 'primary-down' })],
    ['info', diagnosed({ code: 'promoted', standing: 'proved', rule: 'D070' })],
    ['warn', diagnosed({ code: 'primary-down', standing: 'refused', rule: 'D090' })],
    ['warn', diagnosed({ code: 'lineage-unknown', standing: 'refused', rule: 'D060' })],
    [
      'error',
      diagnosed({ code: 'split-brain', standing: 'refused', rule: 'D041', evidence: ['w1a', 'w1b'] }),
    ],
  ] as const)('a diagnosis at %s, with its rule', async (level, event) => {
    const { told } = await logAt('trace')
    const { group, rule, code, standing, evidence } = event
    const expected = { event: 'diagnosed', database: 'app', level, group, rule, code, standing, evidence }
    expect(told(event)).toMatchObject([expected])
  })

  test.each([
    ['info', 'promoted', 12],
    ['debug', 'lost', null],
    ['debug', 'receiver-changed', null],
  ] as const)('at %s that a pulse showed %s', async (level, what, ageMs) => {
    const { told } = await logAt('trace')
    const node = address('w1b')
    const noticed = { kind: 'noticed', database: 'app', node, what, detail: 'as seen', ageMs } as const
    expect(told(noticed)).toMatchObject([
      { level, what, node: 'w1b:5432', ageMs, msg: `w1b:5432: ${what}: as seen` },
    ])
  })

  test('a change is a line, and each of its rows and warnings, too', async () => {
    const { told } = await logAt('info')
    const row = {
      group: 1,
      nodeid: 2,
      kind: 'primary-moved',
      from: 'w1a:5432',
      to: 'w1b:5432',
      why: 'promoted',
    }
    const groups = [
      { group: 0, code: 'healthy', rule: 'D050', summary: '' },
      { group: 1, code: 'promoted', rule: 'D070', summary: '' },
    ] as const
    const changes = [{ ...row, kind: 'primary-moved' as const }]
    const done = report({ changes, groups, warnings: ['a copy is left to Citus'] })
    const stages = { noticedMs: 5, decidedMs: 20, rightMs: 40 }
    expect(told(acted({ report: done, stages }))).toMatchObject([
      { level: 'info', event: 'row', group: 1, nodeid: 2, change: 'primary-moved', to: 'w1b:5432' },
      {
        level: 'info',
        event: 'acted',
        outcome: 'changed',
        epoch: 7,
        stages,
        rules: [{ group: 1, rule: 'D070' }],
      },
      { level: 'warn', event: 'warning', msg: 'a copy is left to Citus' },
    ])
  })

  test('a change that is not proved on every copy yet, or was not all, is a warning', async () => {
    const { told } = await logAt('info')
    for (const outcome of ['unproved', 'refused'] as const) {
      expect(told(acted({ report: report({ outcome }) }))).toMatchObject([{ level: 'warn', outcome }])
    }
  })

  test.each([
    ['after a commit', 0, 'warn'],
    ['where nothing was left to commit', 1, 'error'],
  ] as const)('a copy that is not proved is named, %s', async (_, failures, level) => {
    const { told } = await logAt('info')
    const copy = { node: 'cn2:5432', role: 'standby coordinator', state: 'unreachable' } as const
    const copies = [{ ...copy, convergedMs: null, detail: 'timeout: no answer' }]
    const [reason] = unproved(copies)
    if (!reason) throw new Error('it is right')
    const open = acted({
      failures,
      report: report({ outcome: 'unproved', reason, copies, warnings: ['else'] }),
    })
    const msg = expect.stringContaining('cn2:5432, standby coordinator, is unreachable: timeout: no answer')
    expect(told(open)).toContainEqual(expect.objectContaining({ level, msg }))
  })

  test('why nobody is known to lead', async () => {
    const { told } = await logAt('info')
    const [line] = told({ kind: 'leadership', database: 'app', now: 'none', why: 'no answer within 300 ms' })
    expect(line?.msg).toBe('this instance does not lead, and the leader is unknown: no answer within 300 ms')
  })

  test('who leads, what is followed, what is watched, what is held back', async () => {
    const { told } = await logAt('trace')
    const database = 'app'
    const would = ['primary-moved: node 2, w1a:5432 -> w1b:5432']
    const held = { kind: 'held', database, group: 1, would } as const
    expect(
      told(
        { kind: 'leadership', database, now: 'leading', why: null },
        { kind: 'leadership', database, now: 'none', why: 'no answer within 300 ms' },
        { kind: 'coordinator', database, node: null, why: 'it does not answer' },
        { kind: 'coordinator', database, node: address('cn2'), why: 'another server leads the cluster now' },
        { kind: 'database', database, now: 'gone' },
        { ...held, why: 'paused' },
        { ...held, why: 'following' },
        { kind: 'progress', database, line: 'trying again' },
      ).map(({ level, event, node, why }) => ({ level, event, node, why })),
    ).toEqual([
      { level: 'info', event: 'leadership' },
      { level: 'warn', event: 'leadership' },
      { level: 'warn', event: 'coordinator', node: null },
      { level: 'info', event: 'coordinator', node: 'cn2:5432' },
      { level: 'info', event: 'database' },
      { level: 'info', event: 'held', why: 'paused' },
      { level: 'debug', event: 'held', why: 'following' },
      { level: 'info', event: 'progress' },
    ])
  })
})

describe('what repeats itself', () => {
  const levels = (lines: readonly Logged[]) => lines.map(({ level, event }) => `${level} ${event}`)

  test('a group that goes on failing is loud once, and told once when it is right again', async () => {
    const { told } = await logAt('trace')
    const progress = { kind: 'progress', database: 'app', line: 'locked out; trying again' } as const
    expect(levels(told(blocked(1), progress, blocked(2), progress, blocked(3)))).toEqual([
      'error acted',
      'debug progress',
      'debug acted',
      'debug progress',
      'debug acted',
    ])
    const lines = told(acted())
    expect(levels(lines)).toEqual(['info acted', 'info recovered'])
    expect(lines[1]).toMatchObject({ group: 1, failures: 3, was: 'blocked' })
    expect(levels(told(acted(), progress, blocked(1)))).toEqual([
      'info acted',
      'info progress',
      'error acted',
    ])
  })

  test('who is in the way for a moment is a warning, and an error once it lasts', async () => {
    const { told } = await logAt('trace')
    const by = (ageMs: number | null, failures: number) => {
      const event = blocked(failures)
      return { ...event, report: { ...event.report, blockers: [blocker({ ageMs })] } }
    }
    expect(levels(told(by(3_000, 1), by(5_000, 2), by(12_000, 3), by(14_000, 4)))).toEqual([
      'warn acted',
      'debug acted',
      'error acted',
      'debug acted',
    ])
    // Of a prepared transaction nobody can say that it will pass.
    expect(levels(told(acted(), by(null, 1)))).toEqual(['info acted', 'info recovered', 'error acted'])
  })

  test('it is an error as well if it lasts by one transaction after the other', async () => {
    const { told, clock } = await logAt('trace')
    const by = (failures: number) => {
      const event = blocked(failures)
      return { ...event, report: { ...event.report, blockers: [blocker({ ageMs: 4_000 })] } }
    }
    const at = (ms: number, failures: number) => {
      clock.ms = ms
      return levels(told(by(failures)))
    }
    expect(at(1_000, 1)).toEqual(['warn acted'])
    expect(at(6_000, 2)).toEqual(['debug acted'])
    expect(at(11_500, 3)).toEqual(['error acted'])
    expect(at(16_000, 4)).toEqual(['debug acted'])
    // A new row of them begins anew.
    expect(at(17_000, 1)).toEqual(['warn acted'])
  })

  test('another reason, another group, a new row of failures are loud again', async () => {
    const { told } = await logAt('trace')
    const refused = report({
      outcome: 'refused',
      reason: remark('split-brain', refusal.summary),
      epoch: null,
      refusals: [refusal],
    })
    told(blocked(1), blocked(2))
    expect(levels(told(acted({ failures: 3, report: refused })))).toEqual(['error acted'])
    expect(levels(told(blocked(1, [2]), blocked(2, [2])))).toEqual(['error acted', 'debug acted'])
    expect(levels(told(acted({ failures: 4, report: refused })))).toEqual(['debug acted'])
    expect(levels(told(blocked(1, [2])))).toEqual(['error acted'])
  })

  test('one group that is right again says nothing of another', async () => {
    const { told } = await logAt('trace')
    told(blocked(1), blocked(1, [2]))
    expect(levels(told(acted({ groups: [2] })))).toEqual(['info acted', 'info recovered'])
    expect(levels(told(blocked(2)))).toEqual(['debug acted'])
  })

  test('a group that somebody else put right is told as that', async () => {
    const { told } = await logAt('trace')
    told(blocked(1))
    expect(levels(told(diagnosed({ was: 'promoted' })))).toEqual(['info diagnosed', 'info recovered'])
    expect(levels(told(diagnosed({ was: 'promoted' })))).toEqual(['info diagnosed'])
  })

  test('turns that fail with texts that come and go are loud once in a while', async () => {
    const { told, clock } = await logAt('trace')
    const failed = (message: string) => ({ kind: 'failed', database: 'app', message }) as const
    const flapping = [failed('no coordinator'), failed('wrong password'), failed('no coordinator')]
    expect(levels(told(...flapping))).toEqual(['error failed', 'error failed', 'debug failed'])
    clock.ms += 600_000
    const [again] = told(failed('no coordinator\n    at somewhere.ts:1'))
    expect(again).toMatchObject({ level: 'error', msg: 'no coordinator', stack: '    at somewhere.ts:1' })
  })
})

test('no secret is written, wherever it stands', async () => {
  const { log, written } = await logAt('trace')
  const url = 'postgres://u:hunter2@cn1/app'
  const statement = `ALTER ROLE u PASSWORD 'x'; password='hunter2'`
  const inTheWay = blocker({ application: url, statement })
  const failing = report({
    outcome: 'blocked',
    reason: remark('blocked', url),
    warnings: [url],
    blockers: [inTheWay],
  })
  log.told(acted({ failures: 1, report: failing }))
  log.told(diagnosed({ standing: 'refused', summary: url, evidence: ['password=hunter2 host=x', url] }))
  log.told({ kind: 'failed', database: 'app', message: `cannot connect: ${url}\n  at ${url}` })
  log.told({ kind: 'progress', database: 'app', line: url })
  log.say('info', `read ${url}`, {
    config: { password: new Secret('hunter2'), sslpassword: 'hunter2', deep: [{ error: new Error(url) }] },
  })
  expect(written).toHaveLength(5)
  expect(written.join('')).not.toContain('hunter2')
  expect(written.join('')).toContain('cn1/app')
})

describe('the level', () => {
  test('decides what is written, and changes while it runs', async () => {
    const { log, told, lines } = await logAt('info')
    expect(told(diagnosed())).toEqual([])
    expect(cycleLevel(log)).toBe('debug')
    expect(lines()).toMatchObject([{ level: 'info', msg: 'the log’s level is debug now' }])
    expect(told(diagnosed())).toMatchObject([{ level: 'debug' }])
    expect([cycleLevel(log), cycleLevel(log), log.level]).toEqual(['trace', 'info', 'info'])
    lines()
    log.level = 'error'
    expect(told(diagnosed({ was: 'primary-down' }))).toEqual([])
    expect(cycleLevel(log)).toBe('info')
  })

  test('silent writes nothing at all', async () => {
    const { told } = await logAt('silent')
    expect(told(blocked(1))).toEqual([])
  })
})
