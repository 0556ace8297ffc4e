import { Command } from 'commander'
import { describe, expect, it, test } from 'vitest'
import { asTyped } from '../../src/cli/cluster-options.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { type About, commandOf, nextStep } from '../../src/model/next-step.ts'
import type { Observation } from '../../src/model/observation.ts'
import { check } from '../../src/switchover/check.ts'
import { judgeClients } from '../../src/switchover/clients.ts'
import type { SwitchoverOrder } from '../../src/switchover/order.ts'
import { statusOf } from '../../src/walk/status.ts'
import {
  address,
  installed,
  left,
  MIGRATION,
  silent,
  standby,
  surveyOf,
  switchoverOrder,
  writable,
} from '../support/builders.ts'
import { GROUP_MENDINGS } from '../support/mends-groups.ts'
import { SERVER_MENDINGS } from '../support/mends-servers.ts'
import { viewed } from '../support/planned.ts'
import { CASES } from '../support/situations.ts'

/** Something that can be typed. */
const COMMAND = /^(citus-ha [a-z]+|psql -h|pg_ctl (start|stop)|touch DATA_DIRECTORY|getent hosts|ssh) ?/

const about: About = {
  database: 'app',
  coordinator: address('cn1'),
  group: 1,
  node: null,
  primary: address('w1a'),
}

describe('a group for which nothing may be written', () => {
  const refusing = RULES.filter(({ standing }) => standing === 'refused')

  test.each(refusing)('$id, $code: what comes next is a command', ({ code }) => {
    const step = nextStep(code, about)
    expect(step && commandOf(step)).toMatch(COMMAND)
  })

  it.each(CASES)('$rule, $name: status and reports end with it', ({ nodes, heard = [], claims }) => {
    const survey = surveyOf(
      [
        writable('cn1', 0, { installed: installed() }),
        writable('w1a', 1),
        standby('w1b', 1, 'w1a'),
        writable('w2a', 2),
        standby('w2b', 2, 'w2a'),
        ...nodes,
      ],
      heard,
    )
    for (const { code, standing } of diagnose(survey, claims ?? NO_CLAIMS)) {
      if (standing !== 'refused') continue
      const step = nextStep(code, about)
      expect(step && commandOf(step)).toMatch(COMMAND)
      // The command that has just refused changes nothing when it is given again.
      expect(step?.mend ?? '').not.toMatch(/^citus-ha reconcile/)
    }
  })
})

describe('a check of doctor', () => {
  /** Not to be had on one machine with one installation of PostgreSQL and Citus; `test/unit/doctor.test.ts` has them. */
  const ELSEWHERE: Readonly<Record<string, string>> = {
    H073: 'a program of Patroni’s or pg_auto_failover’s (test/scenario/tool-*)',
    H110: 'Citus takes 0 for its own default',
    H160: 'two clocks',
    H170: 'two releases of Citus',
    H171: 'two releases of PostgreSQL',
    H172: 'two releases of PostgreSQL',
  }

  test.each(CHECKS)('$id, $code: what it prints is run on real servers', ({ id }) => {
    const tried = [...GROUP_MENDINGS, ...SERVER_MENDINGS].filter((each) => each.id === id)
    expect(tried.length > 0).toBe(ELSEWHERE[id] === undefined)
  })
})

describe('what speaks against a switchover ends with a command', () => {
  const order = switchoverOrder()
  const far = { lsn: 5000n }
  const cases: readonly {
    says: RegExp
    nodes?: readonly Observation[]
    to?: string
    more?: Partial<SwitchoverOrder>
  }[] = [
    { says: /w1b:5432 does not answer/, nodes: [silent('w1b')], to: 'w1b' },
    { says: /no standby streams/, nodes: [standby('w1b', 1, null)] },
    { says: /w1a:5432 is already its primary/, to: 'w1a' },
    { says: /w2a:5432 is no standby/, to: 'w2a' },
    { says: /w2b:5432 does not belong to this group/, to: 'w2b' },
    { says: /w1b:5432 does not stream/, nodes: [standby('w1b', 1, null)], to: 'w1b' },
    { says: /bytes behind/, nodes: [writable('w1a', 1, far)] },
    { says: /may not be given the address w1c:5432/, nodes: [standby('w1c', 1, 'w1a')], to: 'w1c' },
    { says: /a change is in doubt/, nodes: [writable('w2a', 2, { prepared: ['citus_ha_x'] })] },
    { says: /cannot be fenced/, nodes: [writable('w2a', 2, { installed: null })] },
    { says: /group 2: w2a:5432 is down/, nodes: [silent('w2a')] },
    {
      says: /both take writes/,
      nodes: [writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] })],
    },
  ]

  it.each(cases)('$says', ({ says, nodes = [], to, more }) => {
    const asked = { ...order, to: to === undefined ? null : address(to), ...more }
    const { refusals } = check(viewed({ nodes }), asked, MIGRATION)
    expect(refusals).toContainEqual(expect.stringMatching(says))
    for (const line of refusals) expect(line.split('; next: ')[1], line).toMatch(COMMAND)
  })

  it('what clients of the old primary do', () => {
    const { refusals } = judgeClients(address('w1a'), {
      overriding: [{ role: 'a b', database: null }],
      subscriptions: [{ name: 's', database: 'app' }],
      prepared: [{ gid: `it's`, owner: 'ann', database: 'app' }],
      unlogged: [],
    })
    expect(refusals).toHaveLength(3)
    for (const line of refusals) expect(line.split('; next: ')[1], line).toMatch(COMMAND)
  })
})

describe('status', () => {
  it('has one line for an old primary that is read-only and not retired yet', () => {
    const catalog = viewed({}).coordinator.citus?.catalog.map((row) => {
      if (row.nodeid === 2) return { ...row, address: address('w1b') }
      return row.nodeid === 3 ? { ...row, address: address('w1a') } : row
    })
    const nodes = [
      writable('w1a', 1, { readOnly: true }),
      writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] }),
    ]
    const status = statusOf(viewed({ nodes, ...(catalog && { catalog }) }))
    const about = status.remarks.filter(({ text }) => text.includes('w1a:5432'))
    expect(about.filter(({ node }) => node === 'w1a:5432')).toMatchObject([
      { code: 'secondary-read-only', next: 'citus-ha reconcile --group 1' },
    ])
  })
})

describe('a command, as whoever gave these options types it', () => {
  const typed = asTyped({ config: '/x.yaml' })

  it.each(COMMANDS)('citus-ha $name gets them where it takes them', async ({ name, load }) => {
    const command = new Command(name)
    const io = { stdout: { write: () => true }, stderr: { write: () => true }, env: {}, etc: '/nonexistent' }
    const complete = await load()
    complete(command, { ...io, signal: new AbortController().signal }, () => undefined)
    const takes = command.options.some(({ long }) => long === '--config')
    // What the sessions of a watcher call themselves: no text names it as the next command.
    const given = takes && name !== 'watch' ? ' --config /x.yaml' : ''
    expect(typed(`citus-ha ${name}   # then`)).toBe(`citus-ha ${name}${given}   # then`)
  })

  test.each([
    'citus-ha cannot tell which node this is',
    'run as citus-ha does; citus-ha’s role',
    'citus_ha (citus-ha watch from 127.0.0.1) is connected: stop it first',
  ])('%s: a sentence stays as it is', (sentence) => {
    expect(typed(sentence)).toBe(sentence)
  })
})
