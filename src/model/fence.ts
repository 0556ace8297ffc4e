import type { Blocker } from './blocker.ts'

/** What became of a call to fence groups. */
export interface FenceReport {
  /** `blocked`: locks or nodes did not let it through before the deadline; nothing is held. */
  readonly outcome: 'fenced' | 'renewed' | 'blocked'
  readonly database: string
  readonly groups: readonly number[]
  /** When it ends by itself, ISO 8601 by this machine's clock; null: nothing is held. */
  readonly until: string | null
  /** Nodes at which no write to the groups enters any more. */
  readonly fenced: readonly string[]
  /** Copies at which writes may still enter, and why. */
  readonly unfenced: readonly { readonly node: string; readonly why: string }[]
  /** Who kept it from its locks. */
  readonly blockers: readonly Blocker[]
  /** Who was ended for it. */
  readonly ended: readonly Blocker[]
  readonly warnings: readonly string[]
  readonly durationMs: number
}

/** What became of a call to release a group. */
export interface ReleaseReport {
  readonly database: string
  readonly group: number
  /** False where no fence was held. */
  readonly released: boolean
  /** How long it was held, in milliseconds; null where none was. */
  readonly heldMs: number | null
}

/** What `fence --json` prints: the first database's report at the top, the blocked one's where there is one. */
export function fenceDocument(reports: readonly FenceReport[]): object {
  const worst = reports.find(({ outcome }) => outcome === 'blocked') ?? reports[0]
  return { ...worst, exitCode: worst?.outcome === 'blocked' ? 4 : 0, databases: reports }
}

/** What `release --json` prints. */
export function releaseDocument(reports: readonly ReleaseReport[]): object {
  return { ...reports[0], exitCode: 0, databases: reports }
}
