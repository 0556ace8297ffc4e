import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { coordinatorOf } from '../../src/model/kinds.ts'
import type { Survey } from '../../src/model/observation.ts'
import type { Report } from '../../src/model/outcome.ts'
import { remark } from '../../src/model/remark.ts'
import { plan } from '../../src/plan/plan.ts'
import type { View } from '../../src/walk/look.ts'
import type { Acted, Diagnosed } from '../../src/watch/event.ts'
import type { GroupState, PulseState, WatchState } from '../../src/watch/state.ts'
import { address, givenIn, installed, lineage, OPTIONS, standby, surveyOf, writable } from './builders.ts'

const LINEAGE = installed({ lineage: [0, 1, 2].map((group) => lineage(group)) })

/** A coordinator, and two workers with a standby each, all as it should be. */
export const SOUND = [
  writable('cn1', 0, { installed: LINEAGE, lsn: 1000n }),
  writable('w1a', 1, { lsn: 5000n }),
  standby('w1b', 1, 'w1a', { lsn: 4900n }),
  writable('w2a', 2, { lsn: 5000n }),
  standby('w2b', 2, 'w2a', { lsn: 5000n }),
]

/** What a walk would make of a survey. */
export function viewOf(survey: Survey = surveyOf(SOUND)): View {
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator) throw new Error('the survey has no coordinator')
  const diagnoses = diagnose(survey, NO_CLAIMS)
  const made = plan(survey, diagnoses, OPTIONS)
  return {
    survey,
    coordinator,
    diagnoses,
    plan: made,
    groups: null,
    aliases: [],
    given: givenIn({ seeds: [coordinator.address] }),
  }
}

/** A watcher that leads, and whose loop came round just now. */
export function stateOf(parts: Partial<WatchState> = {}): WatchState {
  return {
    database: 'app',
    leadership: 'leading',
    turnedMsAgo: 20,
    turnLimitMs: 5000,
    turns: 12,
    surveys: 3,
    coordinator: address('cn1'),
    failure: null,
    undone: null,
    view: viewOf(),
    pulses: [],
    groups: [0, 1, 2].map((group) => groupState(group)),
    ...parts,
  }
}

export function groupState(group: number, parts: Partial<GroupState> = {}): GroupState {
  const well = { code: 'healthy', rule: 'D050', failures: 0, paused: false } as const
  return { group, ...well, cooldownMs: 0, fencedMs: 0, ...parts }
}

export function pulse(at: string, parts: Partial<PulseState> = {}): PulseState {
  return {
    address: address(at),
    state: 'up',
    inRecovery: false,
    lsn: 5000n,
    heardMsAgo: 10,
    silence: null,
    ...parts,
  }
}

export function report(parts: Partial<Report> = {}): Report {
  return {
    outcome: 'changed',
    reason: remark('changed', 'committed'),
    next: null,
    remarks: [],
    database: 'app',
    epoch: 7,
    changes: [],
    copies: [],
    refusals: [],
    blockers: [],
    ended: [],
    unfenced: [],
    warnings: [],
    groups: [],
    sql: [],
    timings: {},
    durationMs: 12,
    ...parts,
  }
}

export function acted(parts: Partial<Acted> = {}): Acted {
  const stages = { noticedMs: null, decidedMs: null, rightMs: null }
  return { kind: 'acted', report: report(), groups: [1], stages, failures: 0, ...parts }
}

export function diagnosed(parts: Partial<Diagnosed> = {}): Diagnosed {
  return {
    kind: 'diagnosed',
    database: 'app',
    group: 1,
    rule: 'D050',
    code: 'healthy',
    standing: 'sound',
    summary: 'w1a:5432 is the primary',
    evidence: [],
    was: null,
    ...parts,
  }
}
