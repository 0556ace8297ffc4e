import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Facts } from '../../src/doctor/check.ts'
import type { Inspection, Look, Setting } from '../../src/model/inspection.ts'
import { coordinatorOf } from '../../src/model/kinds.ts'
import type { Answered, Observation } from '../../src/model/observation.ts'
import { address, installed, lineage, MIGRATION, standby, surveyOf, writable } from './builders.ts'

export function look<T>(value: T): Look<T> {
  return { kind: 'seen', value }
}

export const unlooked = (why: string): Look<never> => ({ kind: 'unseen', why })

/** Settings of a session by name, all of them the role's own. */
export function session(settings: Readonly<Record<string, string>>): Inspection['session'] {
  const own = Object.entries({ max_prepared_transactions: '50', ...settings }).map(
    ([name, value]): [string, Setting] => [name, { value, source: 'user' }],
  )
  return look({ role: 'citus_ha', extension: '13.2-1', hasPools: true, settings: Object.fromEntries(own) })
}

/** What a closer look at a server without a fault sees. */
export function inspected(node: Answered, parts: Partial<Inspection> = {}): Inspection {
  return {
    node,
    session: session({}),
    clock: look({ offsetMs: 0, withinMs: 1 }),
    prepared: look({ inUse: 0, transactions: [] }),
    attached: look([]),
    managers: look([]),
    daemons: look([{ name: 'Citus Maintenance Daemon', pid: 7, busyMs: null }]),
    slots: look([]),
    missingRights: look([]),
    switchoverRights: look({ granted: [], missing: [] }),
    pools: look([]),
    reaches: [],
    ...parts,
  }
}

export const KNOWN_LINES = [lineage(0), lineage(1), lineage(2)]

const HEALTHY: readonly Observation[] = [
  writable('cn1', 0, { installed: installed({ lineage: KNOWN_LINES }) }),
  writable('w1a', 1),
  standby('w1b', 1, 'w1a'),
  writable('w2a', 2),
  standby('w2b', 2, 'w2a'),
]

/** What differs from a healthy cluster of a coordinator and two workers with a standby each. */
export interface Case {
  readonly nodes?: readonly Observation[]
  /** What a closer look saw, by the server's address. */
  readonly seen?: Readonly<Record<string, Partial<Inspection>>>
  readonly facts?: Partial<Facts>
}

export function factsOf({ nodes = [], seen = {}, facts = {} }: Case): Facts {
  const survey = surveyOf([...HEALTHY, ...nodes])
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const servers = answered.filter(
    (node, n) => answered.findIndex((each) => each.instance === node.instance) === n,
  )
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator) throw new Error('a case without a coordinator')
  return {
    survey,
    coordinator,
    unclear: null,
    diagnoses: diagnose(survey, NO_CLAIMS),
    copies: servers.map((node) => ({ node: node.address, role: 'metadata worker', differs: false })),
    inspections: servers.map((node) => inspected(node, seen[node.address.host])),
    activity: null,
    claims: NO_CLAIMS,
    seeds: [address('cn1')],
    aliases: [],
    cluster: 'c1',
    migration: MIGRATION,
    maxLagBytes: 1000,
    ...facts,
  }
}
