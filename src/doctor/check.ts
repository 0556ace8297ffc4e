import type { Claims } from '../diagnose/facts.ts'
import type { Activity } from '../model/activity.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { Inspection } from '../model/inspection.ts'
import type { Step } from '../model/next-step.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { AliasOf } from '../plan/alias.ts'

/** Everything the checks look at for one database. Plain data: no clock and no network. */
export interface Facts {
  readonly survey: Survey
  readonly coordinator: Answered
  /** Why it is not clear which node is the coordinator; null where it is. */
  readonly unclear: string | null
  readonly diagnoses: readonly Diagnosis[]
  /** Copies beside the coordinator's that could be read. */
  readonly copies: readonly { readonly node: HostPort; readonly role: string; readonly differs: boolean }[]
  /** One a running server, whatever the number of its addresses. */
  readonly inspections: readonly Inspection[]
  /** Who is at work on the coordinator; null where that was not looked at, or could not be read. */
  readonly activity: Activity | null
  readonly claims: Claims
  /** Coordinator candidates of the configuration. */
  readonly seeds: readonly HostPort[]
  readonly aliases: readonly AliasOf[]
  /** The cluster's name in gids. */
  readonly cluster: string
  /** The migration that this citus-ha needs. */
  readonly migration: number
  /** Bytes of WAL that a secondary may be behind. */
  readonly maxLagBytes: number
}

/**
 * `error`: the next failover, or the change after it, would fail or do harm. `warning`: it may. `info`: worth knowing.
 */
export type Severity = 'error' | 'warning' | 'info'

export interface Found {
  readonly group: number | null
  readonly node: HostPort | null
  /** One sentence for people. */
  readonly summary: string
  /** What was seen, a line each. */
  readonly evidence: readonly string[]
  /** A command that mends it, or one that looks, where a person has to decide. */
  readonly next: Step
}

export interface Check {
  /** Stable, like those of the rules. */
  readonly id: string
  readonly code: string
  readonly severity: Severity
  /** What it means, for `citus-ha doctor --list`. */
  readonly says: string
  readonly when: (facts: Facts) => readonly Found[]
}

/** What a check found, for people and for `--json`. */
export interface Finding {
  readonly id: string
  readonly code: string
  readonly severity: Severity
  readonly group: number | null
  readonly node: string | null
  readonly summary: string
  readonly evidence: readonly string[]
  /** The command after which it is no longer found; null: `look` is set. */
  readonly mend: string | null
  /** A command that changes nothing, and shows what a person has to decide by; null: `mend` is set. */
  readonly look: string | null
}

export function findingOf({ id, code, severity }: Check, { node, next, ...found }: Found): Finding {
  return { id, code, severity, ...found, ...next, node: node && formatAddress(node) }
}

/** What is about the cluster first, then by group. */
export function byGroup<About extends { readonly group: number | null }>(found: readonly About[]): About[] {
  return [...found].sort((a, b) => (a.group ?? -1) - (b.group ?? -1))
}

/** An SQL name, for a command that somebody else will run. */
export function named(text: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`
}

/** A time for people. */
export function ageOf(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}
