import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { renderReport } from '../../src/cli/render-report.ts'
import type { Blocker } from '../../src/model/blocker.ts'
import type { CopyReport } from '../../src/model/outcome.ts'
import { REASONS, WARNINGS } from '../../src/model/remark.ts'
import { type BareReport, withRemarks } from '../../src/model/switchover.ts'
import type { Acted } from '../../src/walk/act.ts'
import { Clock } from '../../src/walk/clock.ts'
import { reportOf } from '../../src/walk/report.ts'
import { statusOf } from '../../src/walk/status.ts'
import { silent, standby, surveyOf, testimony, writable } from '../support/builders.ts'
import { report, SOUND, viewOf } from '../support/watch-state.ts'

const SPLIT = surveyOf([...SOUND, writable('w1c', 1)])
const copy = (state: CopyReport['state']): CopyReport => {
  return { node: 'w2a:5432', role: 'metadata worker', state, convergedMs: null, detail: 'as it is' }
}
const RIGHT = { ...copy('right'), convergedMs: 1, detail: null }
const COMMITTED = {
  kind: 'committed',
  epoch: 3,
  decidedAt: 0,
  warnings: [],
  unfenced: [],
  ended: [],
  unfinished: [],
  aftermath: async () => undefined,
} as const
const SESSION: Blocker = {
  node: { host: 'cn1', port: 5432 },
  pid: 4711,
  database: null,
  user: 'app',
  application: 'psql',
  state: 'active',
  ageMs: 1000,
  statement: null,
  client: null,
  ours: false,
}
const NOTHING = { kind: 'nothing', warnings: [], unfenced: [], unfinished: [] } as const
const LEFT = { group: 1, what: 'left', line: 'group 1: it has died' } as const
const UNFENCED = 'w1a:5432, the old primary, runs on and could not be retired: no'

describe('a report says why it ended as it did', () => {
  const CASES: readonly {
    readonly name: string
    readonly acted: Acted
    readonly copies?: readonly CopyReport[]
    readonly split?: true
    readonly outcome: string
    readonly headline: RegExp
    readonly next: RegExp | null
    readonly reason: { readonly code: string; readonly text: RegExp; readonly group?: number; node?: string }
  }[] = [
    {
      name: 'nothing to do',
      acted: NOTHING,
      outcome: 'converged',
      headline: /: converged: every copy is up to date/,
      next: null,
      reason: { code: 'converged', text: /every copy/ },
    },
    {
      name: 'a change',
      acted: COMMITTED,
      outcome: 'changed',
      headline: /: changed: committed/,
      next: null,
      reason: { code: 'changed', text: /verified/ },
    },
    {
      name: 'a dry run',
      acted: { kind: 'planned', sql: [], unfinished: [] },
      outcome: 'planned',
      headline: /: dry run: nothing to do/,
      next: null,
      reason: { code: 'planned', text: /nothing to do/ },
    },
    {
      name: 'a group that is refused',
      acted: NOTHING,
      split: true,
      outcome: 'refused',
      headline: /: refused: the evidence/,
      next: /^pg_ctl stop .*citus-ha reconcile --group 1/,
      reason: { code: 'split-brain', text: /both take writes/, group: 1 },
    },
    {
      name: 'a group that is refused, beside a change of another',
      acted: COMMITTED,
      split: true,
      outcome: 'refused',
      headline: /: refused: the evidence/,
      next: /^pg_ctl stop/,
      reason: { code: 'split-brain', text: /both take writes/, group: 1 },
    },
    {
      name: 'a group that is refused, and a copy that is not right, beside a change',
      acted: COMMITTED,
      split: true,
      copies: [copy('stale')],
      outcome: 'unproved',
      headline: /: committed, but not every copy was verified/,
      next: /^citus-ha reconcile /,
      reason: { code: 'copy-stale', text: /w2a:5432, metadata worker, is stale: as it is/, node: 'w2a:5432' },
    },
    ...(['stale', 'unreachable', 'unreadable'] as const).map((state) => ({
      name: `nothing to do, and a copy that is ${state}`,
      acted: NOTHING,
      copies: [RIGHT, copy(state)],
      outcome: 'unproved',
      headline: /: nothing had to change, but not every copy was verified/,
      next: /^citus-ha reconcile /,
      reason: { code: `copy-${state}`, text: /as it is/, node: 'w2a:5432' },
    })),
    {
      name: 'an old primary that is not closed, and nothing else',
      acted: { ...NOTHING, unfenced: [UNFENCED] },
      outcome: 'unproved',
      headline: /: nothing had to change, but an old primary is not fenced/,
      next: /^citus-ha reconcile /,
      reason: { code: 'not-fenced', text: /could not be retired/ },
    },
    {
      name: 'an old primary that is not closed, after a change',
      acted: { ...COMMITTED, unfenced: [UNFENCED] },
      outcome: 'unproved',
      headline: /: committed, but an old primary is not fenced/,
      next: /^citus-ha reconcile /,
      reason: { code: 'not-fenced', text: /could not be retired/ },
    },
    {
      name: 'a switchover that is left behind',
      acted: { ...NOTHING, unfinished: [LEFT] },
      outcome: 'blocked',
      headline: /: blocked: nothing was changed/,
      next: /^citus-ha status$/,
      reason: { code: 'switchover-unfinished', text: /it has died/, group: 1 },
    },
    {
      name: 'a switchover that is left behind, after a change of another group',
      acted: { ...COMMITTED, unfinished: [LEFT] },
      outcome: 'unproved',
      headline: /: committed, but a switchover is not finished/,
      next: /^citus-ha status$/,
      reason: { code: 'switchover-unfinished', text: /it has died/, group: 1 },
    },
    {
      name: 'a switchover that is left behind, where a standby got its row',
      acted: {
        ...{ kind: 'registered', decidedAt: 0, changes: [] },
        ...{ warnings: [], unfenced: [], unfinished: [LEFT] },
      },
      outcome: 'unproved',
      headline: /, but a switchover is not finished/,
      next: /^citus-ha status$/,
      reason: { code: 'switchover-unfinished', text: /it has died/, group: 1 },
    },
    {
      name: 'an old primary that is not closed, where a standby got its row',
      acted: {
        ...{ kind: 'registered', decidedAt: 0, changes: [] },
        ...{ warnings: [], unfenced: [UNFENCED], unfinished: [] },
      },
      outcome: 'unproved',
      headline: /, but an old primary is not fenced/,
      next: /^citus-ha reconcile /,
      reason: { code: 'not-fenced', text: /could not be retired/ },
    },
    {
      name: 'locks',
      acted: { kind: 'blocked', why: 'a lock did not come', blockers: [], warnings: [], unfinished: [] },
      split: true,
      outcome: 'blocked',
      headline: /: blocked: nothing was changed/,
      next: /^citus-ha doctor /,
      reason: { code: 'blocked', text: /a lock did not come/ },
    },
    ...(
      [
        ['a session', SESSION, /^citus-ha reconcile --force-after 5s /],
        ['a prepared transaction', { ...SESSION, pid: 0 }, /^citus-ha doctor /],
        ['another change of ours', { ...SESSION, ours: true }, /^citus-ha reconcile {3}# again, once/],
      ] as const
    ).map(([name, blocker, next]) => ({
      name,
      acted: { kind: 'blocked', why: 'no lock', blockers: [blocker], warnings: [], unfinished: [] } as const,
      outcome: 'blocked',
      headline: /: blocked: nothing was changed/,
      next,
      reason: { code: 'blocked', text: /no lock/ },
    })),
    {
      name: 'a decision that nobody knows',
      acted: { kind: 'in-doubt', why: 'the coordinator is gone', unfinished: [] },
      outcome: 'unproved',
      headline: /: in doubt: whether/,
      next: /^citus-ha reconcile /,
      reason: { code: 'in-doubt', text: /the coordinator is gone/ },
    },
  ]
  test.each(CASES)('$name', ({ acted, copies = [RIGHT], split, outcome, headline, next, reason }) => {
    const view = split ? viewOf(SPLIT) : viewOf()
    const made = reportOf(view, acted, copies, new Clock())
    expect(made.outcome).toBe(outcome)
    expect(made.reason).toMatchObject({
      group: null,
      node: null,
      ...reason,
      text: expect.stringMatching(reason.text),
    })
    const stdout = { write: () => true, isTTY: false }
    expect(renderReport({ ...made, ended: [] }, { stdout, env: {} }).split('\n')[0]).toMatch(headline)
    if (next === null) expect(made.next).toBeNull()
    else expect(made.next).toMatch(next)
    const right = ['converged', 'changed', 'planned'].includes(outcome)
    if (!right) expect(made.remarks).toContainEqual(made.reason)
    // Each sentence of the older fields is among them.
    const texts = made.remarks.map(({ text }) => text)
    for (const text of [...made.warnings, ...made.unfenced, ...made.refusals.map(({ summary }) => summary)])
      expect(texts).toContain(text)
  })

  test.each([
    ['it does not stream from w2a:5432', /does not follow and sends queries by old rows: it does not/],
    ['refused: connect ECONNREFUSED', /does not follow: refused: connect/],
  ])('a standby that does not follow: %s', (detail, text) => {
    const copies = [RIGHT, { ...copy('does not follow'), detail }]
    const { remarks } = reportOf(viewOf(), NOTHING, copies, new Clock())
    expect(remarks.find(({ code }) => code === 'does-not-follow')?.text).toMatch(text)
  })

  test('a switchover’s sentences are all there, once', () => {
    const hanging = { code: 'writes-hang', group: 1, node: 'w1b:5432', text: 'writes hang' }
    const bare: BareReport = {
      outcome: 'unproved',
      databases: ['app'],
      moves: [{ group: 1, from: 'w1a:5432', to: 'w1b:5432' }],
      refusals: [],
      plan: [],
      why: 'it is not known',
      pauseMs: 1,
      othersMs: null,
      timings: {},
      waitedFor: [],
      ended: [],
      cutOff: [],
      rolledBack: null,
      left: ['a setting'],
      warnings: ['a warning', 'writes hang'],
      reports: [report({ remarks: [hanging, { ...hanging, text: 'else' }] })],
      durationMs: 1,
    }
    expect(withRemarks(bare).remarks.map(({ code, group, text }) => [code, group, text])).toEqual([
      ['unproved', 1, 'it is not known'],
      ['left', 1, 'a setting'],
      ['switchover-warning', 1, 'a warning'],
      ['switchover-warning', 1, 'writes hang'],
      ['writes-hang', 1, 'else'],
    ])
  })
})

test('status has a code, a group and a node for every problem and warning', () => {
  const nodes = [
    ...SOUND,
    silent('w1b'),
    writable('w2b', 2, { retired: true, readOnly: true }),
    standby('cn2', 0, null),
  ]
  const status = statusOf(viewOf(surveyOf(nodes, [testimony('cn1', 'w1b', 'down')])))
  expect(status.remarks.map(({ text }) => text)).toEqual([...status.problems, ...status.warnings])
  expect(status.remarks.map(({ code, group, node }) => [code, group, node])).toEqual(
    expect.arrayContaining([
      ['secondary-down', 1, 'w1b:5432'],
      ['stale-entry', 0, 'cn2:5432'],
      ['old-primary-runs', 2, 'w2b:5432'],
    ]),
  )
})

test('the page lists every code, with what the program says of it', async () => {
  const page = await readFile(new URL('../../docs/codes.md', import.meta.url), 'utf8')
  for (const [code, says] of Object.entries({ ...WARNINGS, ...REASONS }))
    expect(page).toContain(`| \`${code}\` | ${says} |`)
})
