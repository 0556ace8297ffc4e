import { describe, expect, test } from 'vitest'
import { expectations, verify } from '../../src/apply/verify.ts'
import { show } from '../../src/diagnose/witnesses.ts'
import { examine } from '../../src/doctor/examine.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Observation } from '../../src/model/observation.ts'
import { serverState } from '../../src/model/server-state.ts'
import { statusOf } from '../../src/walk/status.ts'
import { mute, receiver, silent, standby, surveyOf, writable } from '../support/builders.ts'
import { factsOf } from '../support/examined.ts'
import { samplesOf } from '../support/exposition.ts'
import { SOUND, stateOf, viewOf } from '../support/watch-state.ts'

interface Case {
  readonly name: string
  readonly node: Observation
  /** In `status`. */
  readonly state: string
  readonly problem: string | null
  /** null: nothing is warned of. */
  readonly warns?: RegExp | null
  /** A problem beside the line of the secondary. */
  readonly wrong?: RegExp
  /** In the metrics; null: nothing is said. */
  readonly role: string | null
  /** Of doctor, about this server. */
  readonly findings: readonly string[]
  readonly evidence: RegExp
  /** What is read there would be wrong: its row is to name another one. */
  readonly isRemedied?: true
}

/** A registered secondary, whatever it is, is the same thing wherever it is told of. */
const CASES: readonly Case[] = [
  {
    name: 'a standby that streams',
    node: standby('w1b', 1, 'w1a'),
    state: 'streaming',
    problem: null,
    role: 'standby',
    findings: [],
    evidence: /: in recovery, /,
  },
  {
    name: 'a standby without a receiver',
    node: standby('w1b', 1, null),
    state: 'standby, not streaming',
    problem: 'is standby, not streaming',
    role: 'standby',
    findings: ['H041'],
    evidence: /: in recovery, /,
  },
  {
    name: 'a standby whose receiver waits',
    node: standby('w1b', 1, null, { receiver: receiver(null, { status: 'waiting' }) }),
    state: 'standby, not streaming (WAL receiver waiting)',
    problem: 'is standby, not streaming (WAL receiver waiting)',
    role: 'standby',
    findings: ['H041'],
    evidence: /: in recovery, /,
  },
  {
    name: 'a standby that streams on another timeline',
    node: standby('w1b', 1, null, { receiver: receiver('w1c', { timeline: 7 }) }),
    state: 'streaming from w1c:5432 on timeline 7, its primary is on 1',
    problem: 'is streaming from w1c:5432 on timeline 7, its primary is on 1',
    role: 'standby',
    findings: ['H041'],
    evidence: /: in recovery, /,
  },
  {
    name: 'a standby that may not be looked into',
    node: standby('w1b', 1, null, { readsStatistics: false }),
    state: 'standby, replication state hidden',
    problem: null,
    wrong:
      /the replication state of w1b:5432 is hidden: the role that citus-ha connects as lacks pg_read_all_stats there/,
    role: 'standby',
    findings: [],
    evidence: /: in recovery, /,
  },
  {
    name: 'an old primary that is retired and read-only',
    node: writable('w1b', 1, { retired: true, readOnly: true }),
    state: 'retired',
    problem: null,
    warns: /w1b:5432, an old primary, is still running \(read-only\).*pg_ctl stop .*pg_rewind/,
    role: 'retired',
    findings: ['H180'],
    evidence: /: retired, /,
    isRemedied: true,
  },
  {
    name: 'an old primary that is retired, and takes writes of its own clients',
    node: writable('w1b', 1, { retired: true }),
    state: 'retired, but takes writes',
    problem: null,
    wrong: /w1b:5432: an old primary that is still running, and takes writes of its own.*\(H182\)/,
    role: 'retired',
    findings: ['H182'],
    evidence: /: retired, but takes writes, /,
    isRemedied: true,
  },
  {
    name: 'an old primary that is read-only, and not retired yet',
    node: writable('w1b', 1, { readOnly: true }),
    state: 'read-only',
    problem: 'is read-only',
    warns: null,
    role: 'read-only',
    findings: ['H180'],
    evidence: /: read-only, /,
  },
  {
    name: 'a second one that takes writes',
    node: writable('w1b', 1),
    state: 'writable',
    problem: 'is writable',
    role: 'primary',
    findings: ['H041'],
    evidence: /: writable, /,
  },
  {
    name: 'a silent one',
    node: silent('w1b'),
    state: 'unreachable (refused)',
    problem: 'is silent',
    role: null,
    findings: ['H041'],
    evidence: /: unreachable \(refused\)/,
  },
  {
    name: 'one that lets nobody in',
    node: mute('w1b', 'auth'),
    state: 'unreadable (auth)',
    problem: 'is unreadable (auth)',
    role: null,
    findings: ['H041'],
    evidence: /cannot be read \(auth\)/,
  },
]

describe('what is known of a server is told alike', () => {
  test.each(CASES)(
    '$name',
    async ({ node, state, problem, warns, wrong, role, findings, evidence, isRemedied }) => {
      const view = viewOf(surveyOf([...SOUND, node]))
      const status = statusOf(view)
      const shown = status.groups[1]?.nodes.find(({ address }) => address === 'w1b:5432')
      const primary = view.diagnoses[1]?.primary ?? null
      const known = serverState(node, primary)
      expect(shown).toMatchObject({ state, stateCode: known.code, role: known.role })
      const problems = status.problems.filter((line) => line.includes('secondary w1b:5432'))
      expect(problems).toEqual(
        problem === null ? [] : [expect.stringContaining(`group 1: secondary w1b:5432 ${problem}`)],
      )
      const warnings = status.warnings.filter((line) => line.includes('w1b:5432'))
      if (warns) expect(warnings.join('\n')).toMatch(warns)
      if (warns === null) expect(warnings).toEqual([])
      if (wrong) expect(status.problems.join('\n')).toMatch(wrong)
      const rows = isRemedied
        ? ['pg_dist_node is out of date on at least one node: citus-ha reconcile would change it']
        : []
      if (role !== 'primary' && role !== 'read-only' && problem === null && !wrong)
        expect(status.problems).toEqual(rows)

      const metrics = await Metrics.open({ states: () => [stateOf({ view })], version: '1' })
      const roles = Object.keys(samplesOf(await metrics.text()))
        .filter((key) => key.startsWith('citus_ha_node_role') && key.includes('w1b'))
        .map((key) => /role="([^"]*)"/.exec(key)?.[1])
      expect(roles).toEqual(role === null ? [] : [role])

      const found = examine(factsOf({ nodes: [node] }))
      const ids = found.filter((each) => each.node === 'w1b:5432' && /^H(04|18)/.test(each.id))
      expect(ids.map(({ id }) => id)).toEqual(findings)
      for (const { id, summary } of ids)
        if (id === 'H041' && problem !== null) expect(summary).toContain(problem)
      expect(show(node)).toMatch(evidence)
    },
  )

  test('a group without a proved primary makes no liar of its standbys', async () => {
    // Two take writes: nobody is proved. The standby streams from the registered one all the same.
    const nodes = [...SOUND, writable('w1c', 1), standby('w1d', 1, 'w1a')]
    const view = viewOf(surveyOf(nodes))
    expect(view.diagnoses[1]).toMatchObject({ code: 'split-brain', primary: null })
    const status = statusOf(view)
    expect(status.problems.filter((line) => line.includes('w1b') || line.includes('w1d'))).toEqual([])
    const reports = await verify(expectations(view.survey, view.plan, view.diagnoses), {
      truth: null,
      probe: async (address) => silent(formatAddress(address)),
      rows: async () => null,
      held: async () => null,
      resolve: async () => undefined,
      patienceMs: 0,
      decidedAt: null,
      signal: new AbortController().signal,
    })
    const states = reports.map(({ node, state }) => [node, state])
    expect(states).toContainEqual(['w1b:5432', 'right'])
    expect(states).toContainEqual(['w1d:5432', 'right'])
  })
})
