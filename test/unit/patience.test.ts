import { describe, expect, it } from 'vitest'
import type { Observation } from '../../src/model/observation.ts'
import type { Access } from '../../src/walk/access.ts'
import { Clock } from '../../src/walk/clock.ts'
import { observePatiently } from '../../src/walk/patience.ts'
import { roundLimit } from '../../src/walk/round-limit.ts'
import type { WalkRequest } from '../../src/walk/walk-request.ts'
import { address, primaryRow, silent, testimony, writable } from '../support/builders.ts'

const ROWS = [
  primaryRow(1, 0, { at: 'cn1' }),
  primaryRow(2, 1, { at: 'w1a' }),
  primaryRow(3, 2, { at: 'w2a' }),
]
const LATE = silent('w1a', 'timeout')
const HERE = writable('w1a', 1)

interface Case {
  readonly says: string
  readonly whom: 'all' | 'those that live'
  /** What becomes of each probe of w1a; the last one for ever. */
  readonly answers: readonly Observation[]
  readonly witness: 'alive' | 'down'
  readonly known?: boolean
  readonly deadlineMs?: number
  readonly asked: number
  readonly seen: Observation['kind']
}

const CASES: readonly Case[] = [
  {
    says: 'who answers is asked once',
    whom: 'all',
    answers: [HERE],
    witness: 'alive',
    asked: 1,
    seen: 'answered',
  },
  {
    says: 'who is late and lives is asked again',
    whom: 'those that live',
    answers: [LATE, HERE],
    witness: 'alive',
    asked: 2,
    seen: 'answered',
  },
  {
    says: 'who is late twice is asked a third time',
    whom: 'those that live',
    answers: [LATE, LATE, HERE],
    witness: 'alive',
    asked: 3,
    seen: 'answered',
  },
  {
    says: 'who is late three times is not asked again',
    whom: 'all',
    answers: [LATE, LATE, LATE, HERE],
    witness: 'alive',
    asked: 3,
    seen: 'unreachable',
  },
  {
    says: 'who is late and down costs a failover no time',
    whom: 'those that live',
    answers: [LATE, HERE],
    witness: 'down',
    asked: 1,
    seen: 'unreachable',
  },
  {
    says: 'who is late is asked again before a switchover, whatever witnesses say',
    whom: 'all',
    answers: [LATE, HERE],
    witness: 'down',
    asked: 2,
    seen: 'answered',
  },
  {
    says: 'who refuses is not late',
    whom: 'all',
    answers: [silent('w1a'), HERE],
    witness: 'alive',
    asked: 1,
    seen: 'unreachable',
  },
  {
    says: 'who is known to be silent was asked before',
    whom: 'all',
    answers: [LATE, HERE],
    witness: 'alive',
    known: true,
    asked: 1,
    seen: 'unreachable',
  },
  {
    says: 'nobody is asked again past the deadline',
    whom: 'all',
    answers: [LATE, HERE],
    witness: 'alive',
    deadlineMs: 0,
    asked: 1,
    seen: 'unreachable',
  },
]

describe('a server that does not answer in time', () => {
  it.each(CASES)('$says', async ({ whom, answers, witness, known, deadlineMs, asked, seen }) => {
    let times = 0
    const others = [writable('cn1', 0, { catalog: ROWS }), writable('w2a', 2)]
    const prober = {
      probe: async ({ host }: { readonly host: string }): Promise<Observation> =>
        host === 'w1a'
          ? (answers[Math.min(times++, answers.length - 1)] ?? LATE)
          : (others.find((node) => node.address.host === host) ?? silent(host)),
      ask: async (by: { readonly host: string }, about: { readonly host: string }) =>
        testimony(by.host, about.host, witness),
      held: async () => null,
    }
    const told: string[] = []
    const request = {
      database: 'app',
      seeds: [address('cn1')],
      acquainted: [],
      aliases: [],
      witnessFreshnessMs: 5000,
      claims: { vouched: null, standbys: [] },
      routing: { secondaryDown: 'leave', primaryDown: 'leave' },
      silence: known ? { nodes: [LATE], testimony: [], hurry: new Promise(() => undefined) } : null,
      signal: new AbortController().signal,
      progress: (line: string) => told.push(line),
    } as unknown as WalkRequest
    const access = { prober: () => prober } as unknown as Access
    const { nodes } = await observePatiently(access, request, new Clock(deadlineMs), { whom })
    expect(nodes.find((node) => node.address.host === 'w1a')?.kind).toBe(seen)
    expect(times).toBe(asked)
    expect(told).toEqual(Array(asked - 1).fill(expect.stringMatching(/^w1a:5432: .*; asking again$/)))
  })
})

describe('how long a round may wait for its locks', () => {
  it.each<[string, readonly [number, number, number, number?], number]>([
    ['the first as it was set', [200, 1, 30_000], 200],
    ['the next half as long again', [200, 2, 30_000], 300],
    ['a later one 2 s', [200, 9, 30_000], 2000],
    ['none shorter than the first', [5000, 3, 30_000], 5000],
    ['none past the deadline', [200, 9, 700], 700],
    ['but the first limit', [200, 9, -1], 200],
    ['none longer than a caller wants', [200, 9, 30_000, 250], 250],
  ])('%s', (_, [lockTimeoutMs, n, leftMs, longestRoundMs = 2000], limitMs) => {
    expect(roundLimit({ lockTimeoutMs, longestRoundMs }, n, leftMs)).toBe(limitMs)
  })
})
