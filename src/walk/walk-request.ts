import type { Fence } from '../apply/fence.ts'
import type { ChangeHooks } from '../apply/hooks.ts'
import type { Claims } from '../diagnose/facts.ts'
import type { Ailing } from '../model/ailing.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import type { Survey } from '../model/observation.ts'
import type { ListedStandby } from '../model/plan.ts'
import type { Silence } from '../observe/silence.ts'
import type { AliasOf } from '../plan/alias.ts'
import type { Routing } from '../plan/target-input.ts'
import type { KnownCoordinator } from './checks.ts'

/** What one walk is asked to do. Times in milliseconds. */
export interface WalkRequest {
  readonly database: string
  /** Coordinator candidates. */
  readonly seeds: readonly HostPort[]
  /** Nodes that are known already, to be asked without first hearing of them; for speed alone. */
  readonly acquainted: readonly HostPort[]
  /** The coordinator as it was followed before; null where this is the first look. */
  readonly known: KnownCoordinator | null
  readonly claims: Claims
  /** Groups to change; null for all. */
  readonly groups: readonly number[] | null
  readonly aliases: readonly AliasOf[]
  readonly routing: Routing
  /** Standbys that are to have a row of their own; empty where nobody asked for that. */
  readonly register: readonly ListedStandby[]
  /** As in gids; null: derived from the coordinator's system identifier. */
  readonly cluster: string | null
  /** How long a promotion that is vouched for may still be running. */
  readonly waitMs: number
  /** How long to go on trying while locks or nodes are in the way, and then to wait for copies to follow. */
  readonly deadlineMs: number
  /** Of the first round of locks: see `roundLimit`. */
  readonly lockTimeoutMs: number
  /** Of a later one. */
  readonly longestRoundMs: number
  /** As in `ChangeLimits`. */
  readonly statementMs: number
  /** After how long sessions that are in the way are ended; null: never. */
  readonly forceAfterMs: number | null
  /** `performance.now()` when the call was made. */
  readonly began: number
  readonly decisionWaitMs: number
  readonly witnessFreshnessMs: number
  readonly mode: 'apply' | 'dry-run'
  /** Who asks, for the record. */
  readonly madeBy: string
  readonly signal: AbortSignal
  readonly hooks: ChangeHooks
  /** gids that may be prepared somewhere and are not resolved: kept up to date. */
  readonly inFlight: Set<string>
  /** The fence that is held for one of these groups, for their change to happen inside; null: none is. */
  readonly fenceOf: (groups: readonly number[]) => Fence | null
  /** Instances of old primaries, with another promoted, that the caller itself keeps from writing, and closes afterwards. */
  readonly quiesced: readonly string[]
  /** Copies that are known to fail their part of a change: it is made without them. */
  readonly ailing: readonly Ailing[]
  /** The nodeids of the secondaries that the caller believes to be down, when surveys show that they are; null: any. */
  readonly believedDown: readonly number[] | null
  /** What was seen just now, with the same claims, with which to begin; null: the walk makes its own survey. */
  readonly seen: Seen | null
  /** Nodes that were silent a moment ago, and need not be waited for as long again; null: none is known. */
  readonly silence: Silence | null
  /** Told what is going on, a line each. */
  readonly progress: (line: string) => void
}

/** A survey, and what it means by the claims of whoever is given it; null: that was not looked at. */
export interface Seen {
  readonly survey: Survey
  readonly diagnoses: readonly Diagnosis[] | null
}
