import type { DiagnosisCode } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import { type Pause, pausedBy } from '../model/pause.ts'
import type { View } from '../walk/look.ts'
import type { Belief } from './belief.ts'
import type { Leadership } from './event.ts'

/** What the watcher of one database knows at this moment. Made anew at each request; nothing in it changes later. */
export interface WatchState {
  readonly database: string
  readonly leadership: Leadership
  /** Milliseconds since the loop last came round. A loop that hangs shows here. */
  readonly turnedMsAgo: number
  /** How many times it came round, and how many surveys it made, since it began. */
  readonly turns: number
  readonly surveys: number
  /** The longest a healthy loop may take to come round, in milliseconds. */
  readonly turnLimitMs: number
  /** Whether the last survey found a coordinator that may be followed. */
  readonly coordinator: HostPort | null
  /** Why the last turn came to nothing, in one line; null if it did not. */
  readonly failure: string | null
  /** What has to be done and is not, by whoever leads; null where there is nothing of the kind, and for a leader. */
  readonly undone: string | null
  /** The last full survey with its diagnoses and plan; null before the first. */
  readonly view: View | null
  readonly pulses: readonly PulseState[]
  readonly groups: readonly GroupState[]
}

/** A node as its pulse shows it: newer than the survey, and less. */
export interface PulseState {
  readonly address: HostPort
  /** `starting`: not heard of yet. */
  readonly state: 'starting' | 'up' | 'down'
  readonly inRecovery: boolean | null
  /** Replayed where it is in recovery, else written; bytes since 0/0. */
  readonly lsn: bigint | null
  /** Milliseconds since the node last answered; null: never. */
  readonly heardMsAgo: number | null
  /** Tries in a row in which it gave no answer at all in time, and what the last one ended with; null: none. */
  readonly silence: { readonly tries: number; readonly detail: string } | null
}

/** What is believed of one group, after `confirm` surveys where one is not enough. */
export interface GroupState {
  readonly group: number
  readonly code: DiagnosisCode
  readonly rule: string
  /** Tries in a row that failed. */
  readonly failures: number
  readonly paused: boolean
  /** Milliseconds until it is acted upon again; 0: now. */
  readonly cooldownMs: number
  /** Milliseconds until the fence that this watcher holds for somebody ends; 0: it holds none. */
  readonly fencedMs: number
}

/**
 * Of the groups of which something is believed already.
 * @param fencedMs until a group's fence ends, in milliseconds
 * @param now `performance.now()`
 */
export function groupStates(
  beliefs: readonly Belief[],
  pauses: readonly Pause[],
  fencedMs: (group: number) => number,
  now: number,
): GroupState[] {
  return beliefs.flatMap(({ group, diagnosis, failures, restUntil }) => {
    if (diagnosis === null) return []
    const { code, rule } = diagnosis
    const paused = pausedBy(pauses, group) !== null
    const cooldownMs = Math.max(0, restUntil - now)
    return [{ group, code, rule, failures, paused, cooldownMs, fencedMs: fencedMs(group) }]
  })
}
