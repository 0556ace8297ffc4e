import { describe, expect, test } from 'vitest'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examine } from '../../src/doctor/examine.ts'
import type { Activity } from '../../src/model/activity.ts'
import type { Observation } from '../../src/model/observation.ts'
import { plan } from '../../src/plan/plan.ts'
import { type Status, statusOf } from '../../src/walk/status.ts'
import { TOLD_OTHERWISE } from '../../src/walk/wrong.ts'
import { CASES } from '../support/ailments.ts'
import {
  givenIn,
  installed,
  left,
  mute,
  OPTIONS,
  standby,
  TWO_WORKERS,
  writable,
} from '../support/builders.ts'
import { type Case, factsOf, KNOWN_LINES } from '../support/examined.ts'

/** What status says where doctor would see this. */
function statusOfCase(given: Case): Status {
  const { survey, coordinator, diagnoses, aliases, claims, seeds } = factsOf(given)
  return statusOf({
    survey,
    coordinator,
    diagnoses,
    plan: plan(survey, diagnoses, OPTIONS),
    groups: null,
    aliases,
    given: givenIn({ claims, seeds }),
  })
}

/** Checks with severity error that no survey can answer, and what they would need. */
const NOT_READ: Readonly<Record<string, string>> = {
  H010: 'no view is made of two coordinators: the command ends with an error',
  H062: 'each node is asked for each name',
  H071: 'the case says so of copies; what status says of them is `metadata-differs`',
  H090: 'pg_dist_poolinfo',
  H100: 'the case is of what holds locks; what a survey sees is below',
  H101: 'locks of prepared transactions',
  H110: 'max_prepared_transactions',
  H111: 'max_prepared_transactions',
  H120: 'the case is of a session’s settings; what a survey sees is below',
}
/** The same check finds some of it in what status reads, and some in what it does not. */
const NOT_READ_CASES = [
  'a function that may not be executed',
  'a writable expand coordinator whose daemon recovers',
]
/** What status says there, though doctor has no error: not known is no all-clear, or the case has no copies that agree. */
const MORE = ['can-not-look', 'metadata-differs']

describe('an error of doctor', () => {
  const errors = CASES.filter(({ id }) => CHECKS.find((check) => check.id === id)?.severity === 'error')

  test('is one that status tells, or one that it does not read', () => {
    const ids = CHECKS.filter(({ severity }) => severity === 'error').map(({ id }) => id)
    expect(Object.keys({ ...NOT_READ, ...TOLD_OTHERWISE }).filter((id) => !ids.includes(id))).toEqual([])
  })

  test.each(errors)(
    '$id, $name: status does not call it healthy where it has read it',
    ({ id, name, finds }) => {
      const { problems } = statusOfCase(finds)
      const isRead = NOT_READ[id] === undefined && !NOT_READ_CASES.includes(name)
      if (isRead) expect(problems).not.toEqual([])
      else expect(problems.filter((text) => text.endsWith(`(${id})`))).toEqual([])
    },
  )

  test.each(errors)('$id, not: $misses: no problem that doctor does not have', ({ near }) => {
    if (examine(factsOf(near)).some(({ severity }) => severity === 'error')) return
    const { remarks, problems } = statusOfCase(near)
    expect(remarks.slice(0, problems.length).filter(({ code }) => !MORE.includes(code))).toEqual([])
  })
})

describe('what status has read, and is wrong', () => {
  const ours = 'citus_ha_c1_app_1_7_deadbeef_1'
  const cases: readonly {
    readonly name: string
    readonly nodes: readonly Observation[]
    readonly code: string
    readonly says: RegExp
    readonly next: RegExp | null
    /** Others that are problems of the same thing. */
    readonly beside?: readonly string[]
  }[] = [
    {
      name: 'a standby that pg_hba.conf does not let be read',
      nodes: [mute('w1b', 'auth')],
      code: 'secondary-unknown',
      says: /^group 1: secondary w1b:5432 is unreadable \(auth\): says auth$/,
      next: /^psql -h w1b /,
    },
    {
      name: 'an old primary that is retired, and takes writes',
      nodes: [
        writable('w1a', 1, { timeline: 2, history: [left(1, '0/50')] }),
        writable('w1z', 1, { retired: true, readOnly: false }),
      ],
      code: 'old-primary-writes',
      says: /w1z:5432.*takes writes.*\(H182\)$/,
      next: /pg_rewind/,
    },
    {
      name: 'commits that wait for nobody',
      nodes: [writable('w1a', 1, { synchronousNames: 'b', senders: [] })],
      code: 'writes-hang',
      says: /writes hang/,
      next: /^citus-ha doctor/,
    },
    {
      name: 'a change that is left prepared',
      nodes: [writable('w1a', 1, { prepared: [ours], oldestPreparedMs: 9000 })],
      code: 'change-left-prepared',
      says: /^w1a:5432: an interrupted change of citus-ha has been prepared for 9 s.*H100/,
      next: /^citus-ha recover$/,
    },
    {
      name: 'a schema that this role may not use',
      nodes: [writable('cn1', 0, { installed: installed({ mayExecute: false }) })],
      code: 'not-installed',
      says: /cn1:5432.*may not be used by this role.*which pauses and remedies are in force is not known.*\(H140\)/,
      next: /^citus-ha install --role ROLE --user postgres .*ROLE: the role that citus-ha connects as/,
    },
    {
      name: 'replication that this role may not see',
      nodes: [standby('w1b', 1, null, { readsStatistics: false })],
      code: 'can-not-look',
      says: /w1b:5432 is hidden/,
      next: null,
    },
  ]

  test.each(cases)('$name: a problem, with what to do', ({ nodes, code, says, next }) => {
    const { remarks, problems } = statusOfCase({ nodes })
    const found = remarks.slice(0, problems.length).filter((each) => each.code === code)
    expect(found.map(({ text }) => text)).toEqual([expect.stringMatching(says)])
    if (next) expect(found[0]?.next).toMatch(next)
    // One line for one thing.
    expect(new Set(remarks.map(({ text }) => text)).size).toBe(remarks.length)
  })

  test('is no problem where it was done on purpose, and said', () => {
    const { problems, warnings } = statusOfCase({
      nodes: [
        writable('cn1', 0, {
          installed: installed({ lineage: KNOWN_LINES }),
          catalog: TWO_WORKERS.map((row) => (row.nodeid === 2 ? { ...row, isactive: false } : row)),
        }),
        { kind: 'unreachable', address: { host: 'w1a', port: 5432 }, cause: 'refused', detail: '' },
      ],
    })
    expect(problems.filter((text) => /disabled/.test(text))).toEqual([])
    expect(warnings).toContainEqual(expect.stringMatching(/disabled.*citus_activate_node/))
  })

  test('is said of whoever is at work, and is no problem, where that could not be read for a moment', () => {
    const unread = { activity: null, unread: 'too many connections' } as const
    const { survey, coordinator, diagnoses } = factsOf({})
    const view = {
      survey,
      coordinator,
      diagnoses,
      plan: plan(survey, diagnoses, OPTIONS),
      groups: null,
      aliases: [],
      given: givenIn(),
    }
    expect(statusOf(view, unread)).toMatchObject({
      problems: [],
      warnings: [expect.stringContaining('too many connections')],
    })
    const activity = { watchers: [], leader: null, changes: [], fences: [], otherWriters: [] } as Activity
    expect(statusOf(view, { activity, unread: null }).problems).toEqual([])
  })
})
