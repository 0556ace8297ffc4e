import type { HostPort } from './node.ts'
import type { Answered } from './observation.ts'
import type { Remark, WarningCode } from './remark.ts'
import type { AnsweredCode } from './server-state.ts'

/** What the evidence allows for a group. */
export type Standing =
  /** The metadata can stay, or be repaired, on this evidence. */
  | 'sound'
  /** A primary other than the registered one is proved. */
  | 'proved'
  /** Nothing may be written for this group, and a person should know why. */
  | 'refused'

export type DiagnosisCode =
  | 'healthy'
  /** The primary is well, and a secondary is down. */
  | 'secondary-down'
  /** The primary is well; an old one, which is retired, still takes writes of its own clients. */
  | 'old-primary-writes'
  /** The primary answers, but takes no writes. */
  | 'read-only'
  /** Out of service on purpose: `citus_disable_node`. */
  | 'disabled'
  | 'promoted'
  | 'no-primary-row'
  | 'lineage-mismatch'
  | 'lineage-unknown'
  /** Who takes writes has less of the group's WAL than is known to exist: a backup, or a standby that was behind. */
  | 'less-than-known'
  | 'split-brain'
  | 'primary-down'
  | 'primary-unknown'
  | 'primary-alive-elsewhere'
  /** Another primary is proved, and the name in the row, which follows it by itself, does not lead there yet. */
  | 'name-to-follow'
  | 'primary-in-recovery'
  | 'promotion-running'
  | 'unproved'

/** What a survey means for one group. */
export interface Diagnosis {
  readonly group: number
  readonly code: DiagnosisCode
  /** Stable id of the rule that decided, as in `citus-ha rules`. */
  readonly rule: string
  readonly standing: Standing
  /** One sentence for people. */
  readonly summary: string
  /** What was seen, a sentence each. */
  readonly evidence: readonly string[]
  /** The texts of `remarks`. */
  readonly warnings: readonly string[]
  readonly remarks: readonly Remark<WarningCode>[]
  /** A person vouched for that primary: what speaks against it was overridden. */
  readonly byPerson: boolean
  /** The proved or registered primary that answers; null if the standing is `refused`, or the code `disabled`. */
  readonly primary: Answered | null
  /** State of each other registered row of the group. */
  readonly secondaries: readonly SecondaryState[]
}

export interface SecondaryState {
  readonly nodeid: number
  readonly address: HostPort
  /**
   * As `serverState` says, and: `alias`: another name of the group's primary (a remedy); `down`: silent, and a witness says
   * so too; `silent`: towards us only; `unknown`: it answers and could not be read, or was not asked.
   */
  readonly state:
    | Exclude<AnsweredCode, 'streams-elsewhere'>
    | 'alias'
    | 'foreign'
    | 'down'
    | 'silent'
    | 'unknown'
    | 'clone'
  /** The same for people. */
  readonly detail: string
}
