import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Intent } from '../../src/model/intent.ts'
import { intentsIn } from '../../src/model/intents.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Answered } from '../../src/model/observation.ts'
import { leftRunning, rejoinCommand, retiredIn } from '../../src/model/retired.ts'
import { requireCoordinator } from '../../src/walk/checks.ts'
import {
  address,
  installed,
  left,
  lineage,
  standby,
  surveyOf,
  systemOf,
  writable,
} from '../support/builders.ts'

const PROMOTED = { timeline: 2, history: [left(1, '0/50')] }

describe('an old primary that runs on', () => {
  const CASES: readonly {
    readonly name: string
    readonly other: Answered
    readonly recorded?: number
    readonly toRetire: boolean
    readonly told: boolean
  }[] = [
    { name: 'read-only', other: writable('w1c', 1, { readOnly: true }), toRetire: true, told: true },
    { name: 'and takes writes', other: writable('w1c', 1), toRetire: true, told: false },
    {
      name: 'and takes writes, while nothing is recorded of the registered one',
      other: writable('w1c', 1),
      recorded: 1,
      toRetire: false,
      told: false,
    },
    {
      name: 'and is retired',
      other: writable('w1c', 1, { readOnly: true, retired: true }),
      toRetire: false,
      told: true,
    },
    {
      name: 'on the same timeline',
      other: writable('w1c', 1, { readOnly: true, ...PROMOTED }),
      toRetire: false,
      told: true,
    },
    { name: 'as a standby', other: standby('w1c', 1, null), toRetire: false, told: false },
    {
      name: 'of another system',
      other: writable('w1c', 1, { readOnly: true, systemIdentifier: systemOf(2) }),
      toRetire: false,
      told: false,
    },
    {
      name: 'of another group',
      other: writable('w2c', 2, { readOnly: true, systemIdentifier: systemOf(1) }),
      toRetire: false,
      told: false,
    },
  ]
  it.each(CASES)('$name', ({ other, recorded = 2, toRetire, told }) => {
    const known = [lineage(0), lineage(1, recorded, ...(recorded === 2 ? [left(1, '0/50')] : [])), lineage(2)]
    const survey = surveyOf([
      writable('cn1', 0, { installed: installed({ lineage: known }) }),
      writable('w1a', 1, PROMOTED),
      writable('w2a', 2),
      other,
    ])
    const diagnoses = diagnose(survey, NO_CLAIMS)
    const addresses = (found: ReturnType<typeof retiredIn>) =>
      found.map(({ node }) => formatAddress(node.address))
    const at = [formatAddress(other.address)]
    expect(addresses(leftRunning(survey, diagnoses))).toEqual(toRetire ? at : [])
    expect(addresses(retiredIn(survey, diagnoses))).toEqual(told ? at : [])
  })
})

describe('what a switchover has written down', () => {
  const intent = (group: number, from: string, to: string, phase: Intent['phase'] = 'quiescing'): Intent => {
    return {
      group,
      from: address(from),
      to: address(to),
      phase,
      byCommand: false,
      stopped: false,
      madeBy: 'a test',
      run: 'one',
    }
  }
  const ON_COORDINATOR = intent(1, 'w1a', 'w1b', 'promoting')
  const ON_PRIMARY = intent(1, 'w1a', 'w1b')
  const CASES: readonly {
    readonly name: string
    readonly coordinator?: readonly Intent[]
    readonly primary?: readonly Intent[]
    readonly standbys?: readonly Intent[]
    readonly readOnly?: boolean
    readonly counts: readonly Intent[]
  }[] = [
    { name: 'nowhere', counts: [] },
    {
      name: 'on the coordinator alone, of a primary that is held no more: nothing is to be promoted',
      coordinator: [ON_COORDINATOR],
      counts: [{ ...ON_COORDINATOR, phase: 'quiescing' }],
    },
    { name: 'on the primary alone', primary: [ON_PRIMARY], counts: [ON_PRIMARY] },
    {
      name: 'on both: the primary counts',
      coordinator: [ON_COORDINATOR],
      primary: [ON_PRIMARY],
      counts: [ON_PRIMARY],
    },
    {
      name: 'on both, of a primary that is held: it goes on',
      coordinator: [ON_PRIMARY],
      primary: [ON_COORDINATOR],
      readOnly: true,
      counts: [ON_COORDINATOR],
    },
    {
      name: 'on both, of a primary that takes writes again: it is undone',
      coordinator: [ON_COORDINATOR],
      primary: [ON_COORDINATOR],
      counts: [{ ...ON_COORDINATOR, phase: 'quiescing' }],
    },
    { name: 'on a standby alone', standbys: [ON_PRIMARY], counts: [] },
    { name: 'on a primary about another group', primary: [intent(2, 'w2a', 'w2b')], counts: [] },
  ]
  it.each(CASES)('$name', ({ coordinator = [], primary = [], standbys = [], readOnly = false, counts }) => {
    const of = (intents: readonly Intent[]) => ({ installed: installed({ intents }) })
    const nodes = [
      writable('cn1', 0, of(coordinator)),
      writable('w1a', 1, { ...of(primary), readOnly }),
      standby('w1b', 1, 'w1a', of(standbys)),
      writable('w2a', 2),
    ]
    expect(intentsIn(nodes)).toEqual(counts)
  })
})

describe('a primary that was retired, and in whose place there is nobody', () => {
  const CASES = [
    { group: 0, nodes: [writable('cn1', 0, { retired: true }), writable('w1a', 1)], at: 'cn1:5432' },
    { group: 1, nodes: [writable('cn1', 0), writable('w1a', 1, { retired: true })], at: 'w1a:5432' },
  ]
  it.each(CASES)('of group $group is put back by a command that is told', ({ group, nodes, at }) => {
    const survey = surveyOf(nodes)
    const said = (): string => {
      requireCoordinator(survey)
      return diagnose(survey, NO_CLAIMS).find((each) => each.group === group)?.summary ?? ''
    }
    const wanted = `replaced ${at} (SELECT * FROM citus_ha.retired there names the new primary), undo this there, as a superuser in each database: UPDATE pg_dist_local_group SET groupid = groupid - 1000000000; DELETE FROM citus_ha.retired`
    if (group === 0) expect(said).toThrow(wanted)
    else expect(said()).toContain(wanted)
  })
})

describe('the command that makes a standby of it', () => {
  it.each([
    ['app', '--source-server="host=w1s port=5432 dbname=app"'],
    ['my app', `--source-server="host=w1s port=5432 dbname='my app'"`],
    ["it's", `--source-server='host=w1s port=5432 dbname='\\''it\\'\\''s'\\'''`],
    ['$(reboot)', `--source-server='host=w1s port=5432 dbname='\\''$(reboot)'\\'''`],
  ])('can be pasted where the database is called %s', (database, source) => {
    const retired = { group: 1, node: writable('w1', 1, { readOnly: true }), primary: writable('w1s', 1) }
    expect(rejoinCommand(retired, database)).toContain(source)
  })

  it.each([
    { serverVersion: 150_020, has: true },
    { serverVersion: 160_000, has: false },
  ])(
    'has a checkpoint first on $serverVersion: $has, and starts nothing by itself',
    ({ serverVersion, has }) => {
      const primary = writable('w1s', 1, { serverVersion })
      const command = rejoinCommand({ group: 1, node: writable('w1', 1, { readOnly: true }), primary }, 'app')
      expect(command.includes('CHECKPOINT && pg_rewind')).toBe(has)
      expect(command).toMatch(/^[^;\n]*pg_rewind [^;\n]* && pg_ctl start [^;\n]*$/)
    },
  )
})
