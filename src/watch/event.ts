import type { DiagnosisCode, Standing } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'

/** One thing that happened, for the log, the metrics and whoever else listens. One fact each. */
export type WatchEvent =
  | Noticed
  | Diagnosed
  | Acted
  | Held
  | Failed
  | {
      readonly kind: 'leadership'
      readonly database: string
      readonly now: Leadership
      /** Why it is `none`; who leads, as far as that is known; else null. */
      readonly why: string | null
    }
  | {
      readonly kind: 'coordinator'
      readonly database: string
      readonly node: HostPort | null
      readonly why: string
    }
  | { readonly kind: 'database'; readonly database: string; readonly now: 'watched' | 'gone' }
  | {
      /** Writes to a group were made to stand still because somebody asked for it, or go on again. */
      readonly kind: 'fence'
      readonly database: string
      readonly group: number
      readonly now: 'held' | 'ended'
      /** The nodes it is held on; or why it ended. */
      readonly detail: string
    }
  | { readonly kind: 'progress'; readonly database: string; readonly line: string }

/** `leading`: may change; `following`: another instance leads; `none`: nobody could be asked. */
export type Leadership = 'leading' | 'following' | 'none'

/** A node showed something that is worth a survey at once. */
export interface Noticed {
  readonly kind: 'noticed'
  readonly database: string
  readonly node: HostPort
  readonly what: 'promoted' | 'demoted' | 'lost' | 'back' | 'receiver-changed' | 'changed'
  readonly detail: string
  /** For `promoted`: how long ago at most, by the node's own clock, in milliseconds; else null. */
  readonly ageMs: number | null
}

/** What is believed of a group is another thing than before; the first belief of each group, too. */
export interface Diagnosed {
  readonly kind: 'diagnosed'
  readonly database: string
  readonly group: number
  readonly rule: string
  readonly code: DiagnosisCode
  readonly standing: Standing
  readonly summary: string
  readonly evidence: readonly string[]
  /** What was believed before; null at first. */
  readonly was: DiagnosisCode | null
}

/** A walk that changed something, or should have and did not. */
export interface Acted {
  readonly kind: 'acted'
  readonly report: Report
  /** The groups it was about, whether or not a row of theirs changed. */
  readonly groups: readonly number[]
  /** Milliseconds from what was noticed, to the decision and until every copy was right; null where there is none. */
  readonly stages: {
    readonly noticedMs: number | null
    readonly decidedMs: number | null
    readonly rightMs: number | null
  }
  /** How many times in a row this did not succeed; 0: it did. */
  readonly failures: number
}

/** Something should be done and is not, on purpose. Told once each time the reason changes. */
export interface Held {
  readonly kind: 'held'
  readonly database: string
  readonly group: number
  readonly why: 'paused' | 'cooldown' | 'following' | 'unconfirmed' | 'fenced'
  /** What would be done, a line each. */
  readonly would: readonly string[]
}

/** A turn came to nothing: no coordinator, no right to look, a bug. Told when it begins and when its text changes. */
export interface Failed {
  readonly kind: 'failed'
  readonly database: string
  readonly message: string
}
