import type { Blocker } from './blocker.ts'
import type { DiagnosisCode } from './diagnosis.ts'
import type { RowChange } from './plan.ts'
import { type ReasonCode, type Remark, remark } from './remark.ts'

/** How a walk ended. */
export type Outcome =
  /** Every copy was proved right, and nothing had to change. */
  | 'converged'
  /** A change was committed and proved on every copy. */
  | 'changed'
  /** `--dry-run`: this is what would be done. */
  | 'planned'
  /** The evidence does not allow what would have to be done. */
  | 'refused'
  /** Locks or nodes did not let it through before the deadline; nothing changed. */
  | 'blocked'
  /** Committed, or decided, but not proved on every copy, or not fenced on an old primary that lives. */
  | 'unproved'

export interface CopyReport {
  readonly node: string
  readonly role: string
  /** `does not follow`: a standby of which that is known from the start, or meant to be so; its copy is not right. */
  readonly state: 'right' | 'stale' | 'unreachable' | 'unreadable' | 'does not follow'
  /** Milliseconds from the decision until this copy was seen right; null where it was not. */
  readonly convergedMs: number | null
  readonly detail: string | null
}

/** Whether nothing is left to be proved: a standby that is known not to follow is told of in a warning instead. */
export function areProved(copies: readonly CopyReport[]): boolean {
  return copies.every(({ state }) => state === 'right' || state === 'does not follow')
}

/** The copies that keep an outcome `unproved`, a line each. */
export function unproved(copies: readonly CopyReport[]): Remark<ReasonCode>[] {
  return copies.flatMap(({ node, role, state, detail }) => {
    if (state === 'right' || state === 'does not follow') return []
    const text = `${node}, ${role}, is ${state}${detail ? `: ${detail}` : ''}`
    return [remark(`copy-${state}`, text, { node })]
  })
}

/** "every copy" where that is so, for headlines. */
export function everyCopy(copies: readonly CopyReport[]): string {
  const isSo = copies.every(({ state }) => state !== 'does not follow')
  return isSo ? 'every copy' : 'every copy that follows its primary'
}

/** What a dry run has found, for headlines. */
export function plannedText({ changes, sql }: Pick<Report, 'changes' | 'sql'>): string {
  if (sql.length === 0) return 'nothing to do'
  const rows = changes.length === 1 ? '1 row would change' : `${changes.length} rows would change`
  return `${changes.length === 0 ? 'copies would be updated' : rows}; nothing was changed`
}

export interface Refusal {
  readonly group: number
  readonly reason: DiagnosisCode
  readonly rule: string
  readonly summary: string
  readonly evidence: readonly string[]
  /** What a person does next: a command, with `#` and a condition behind it where there is one. */
  readonly next: string
}

/** What one walk over one database did, for people and for `--json`. */
export interface Report {
  readonly outcome: Outcome
  readonly database: string
  /** The change's epoch; null where nothing was committed. */
  readonly epoch: number | null
  readonly changes: readonly RowChange[]
  readonly copies: readonly CopyReport[]
  readonly refusals: readonly Refusal[]
  /** Who kept a blocked change from its locks. */
  readonly blockers: readonly Blocker[]
  /** Who was ended because of `--force-after`, in all rounds. */
  readonly ended: readonly Blocker[]
  /** Old primaries that live and may still acknowledge writes, and why. */
  readonly unfenced: readonly string[]
  readonly warnings: readonly string[]
  /** Why it ended so, in one sentence: of a report that is not right there is no other kind. */
  readonly reason: Remark
  /** What a person does next, as a command; null where it ended right. */
  readonly next: string | null
  /** Everything above that is a sentence, once each; what keeps the report from being right comes first. */
  readonly remarks: readonly Remark[]
  /** What every group was found to be. */
  readonly groups: readonly {
    readonly group: number
    readonly code: DiagnosisCode
    readonly rule: string
    readonly summary: string
  }[]
  /** Exact SQL for each participant, in order; of a dry run only. */
  readonly sql: readonly { readonly node: string; readonly statements: readonly string[] }[]
  /** Milliseconds a step took. */
  readonly timings: Readonly<Record<string, number>>
  readonly durationMs: number
}

/** Exit codes, as documented. 1 and 2 are for errors, which are no outcome. */
export function exitCodeOf(outcome: Outcome): 0 | 3 | 4 | 5 {
  switch (outcome) {
    case 'converged':
    case 'changed':
    case 'planned':
      return 0
    case 'refused':
      return 3
    case 'blocked':
      return 4
    case 'unproved':
      return 5
  }
}
