import type { Blocker } from './blocker.ts'
import type { Report } from './outcome.ts'
import { type Remark, remark } from './remark.ts'

/** How a switchover ended. */
export type SwitchoverOutcome =
  /** The standby is the primary, on every copy. */
  | 'switched'
  /** `--dry-run`: this is what would be done. */
  | 'planned'
  /** The check found something against it; nothing was touched. */
  | 'refused'
  /** It came to nothing before the promotion; everything is as it was, but for `left`. */
  | 'blocked'
  /** Some groups were switched; the promotion of others was refused, and they are as they were, but for `left`. */
  | 'partly'
  /** The standby is the primary, on every copy; but its old primary has committed something after it took over. */
  | 'late-writes'
  /** Promoted, but not proved on every copy; or it is not known whether it is promoted: `moves` has it then not. Any later run carries it on. */
  | 'unproved'

/** One group's primary and who takes its place. */
export interface SwitchoverMove {
  readonly group: number
  readonly from: string
  readonly to: string
}

/** What `citus-ha switchover` did, for people and for `--json`. Times in milliseconds. */
export interface SwitchoverReport {
  readonly outcome: SwitchoverOutcome
  readonly databases: readonly string[]
  /** Without those whose promotion did not come while that of others did, or is not known: `why` and `left` tell of them. */
  readonly moves: readonly SwitchoverMove[]
  /** What the check found against it. */
  readonly refusals: readonly string[]
  /** What would be done, a line each. */
  readonly plan: readonly string[]
  /** Why it came to nothing, or is not proved; null where it is done. */
  readonly why: string | null
  /** From the first lock until every copy was committed, or writes went on as before; null where nothing was held. */
  readonly pauseMs: number | null
  /** The longest promotion, and the command that stops the old primary first. */
  readonly othersMs: number | null
  /** How long each step took. */
  readonly timings: Readonly<Record<string, number>>
  readonly waitedFor: readonly Blocker[]
  readonly ended: readonly Blocker[]
  /** Transactions on the old primary that had begun meanwhile and were ended with it. */
  readonly cutOff: readonly Blocker[]
  /** Transactions that entry nodes rolled back meanwhile, where the old primary was stopped first: reads that failed. */
  readonly rolledBack: number | null
  /** What could not be undone, and is to be done by hand or by a later run. */
  readonly left: readonly string[]
  readonly warnings: readonly string[]
  /** Each refusal, why it came to nothing, what is left, and each warning, once; those of the change's reports as well. */
  readonly remarks: readonly Remark[]
  /** Of the change, a database each. */
  readonly reports: readonly Report[]
  readonly durationMs: number
}

/** As a run makes it. */
export type BareReport = Omit<SwitchoverReport, 'remarks'>

/** Exit codes, as documented. */
export function exitCodeOfSwitchover({ outcome }: Pick<SwitchoverReport, 'outcome'>): 0 | 3 | 4 | 5 {
  if (outcome === 'refused') return 3
  if (outcome === 'blocked') return 4
  return outcome === 'switched' || outcome === 'planned' ? 0 : 5
}

/** Where one group alone is switched, the sentences are about that one. */
export function withRemarks(report: BareReport): SwitchoverReport {
  const { outcome, refusals, why, left, warnings, moves, reports } = report
  const [only, ...more] = moves
  const group = only && more.length === 0 ? only.group : null
  const of = (code: string, texts: readonly string[]) => texts.map((text) => remark(code, text, { group }))
  const own = [
    ...of('refused', refusals),
    ...of(outcome, outcome === 'refused' || why === null ? [] : [why]),
    ...of('left', left),
    ...of('switchover-warning', warnings),
  ]
  const told = new Set(own.map(({ text }) => text))
  const others = reports.flatMap(({ remarks }) => remarks).filter(({ text }) => !told.has(text))
  return { ...report, remarks: [...own, ...others] }
}
