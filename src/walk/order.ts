import type { Claims } from '../diagnose/facts.ts'
import type { HostPort } from '../model/node.ts'
import { exitCodeOf, type Report } from '../model/outcome.ts'
import type { EachDatabase } from './each-database.ts'
import type { WalkRequest } from './walk-request.ts'

/** What somebody who asks for a walk may say, on the command line or over HTTP. Times in milliseconds. */
export interface Order {
  /** null: all. */
  readonly group: number | null
  /** The node that he vouches for; null: none. */
  readonly promoted: HostPort | null
  /** A tool's word, unlike a person's (the default), does not override what the timelines say. */
  readonly by?: Claims['vouchedBy'] | undefined
  /** How long the promotion of that node may still be running. */
  readonly waitMs: number
  /** How long to go on while locks or nodes are in the way; null: as configured. */
  readonly timeoutMs: number | null
  readonly mode: WalkRequest['mode']
}

/** How long a promotion that is vouched for may still be running where nobody says, in milliseconds. */
export const DEFAULT_WAIT_MS = 10_000

/** The walk that is asked for. */
export function orderedWalk(request: WalkRequest, order: Order): WalkRequest {
  const { group, promoted, by, waitMs, timeoutMs, mode } = order
  return {
    ...request,
    claims: {
      ...request.claims,
      vouched: promoted,
      vouchedBy: by ?? 'person',
      vouchedGroup: promoted ? group : null,
    },
    groups: group === null ? null : [group],
    waitMs: promoted ? waitMs : 0,
    deadlineMs: timeoutMs ?? request.deadlineMs,
    mode,
  }
}

/** The worst of all databases. */
export function exitCodeOfAll({ done, exitCode }: EachDatabase<Report>): number {
  return Math.max(exitCode, ...done.map((report) => exitCodeOf(report.outcome)))
}

/** The worst database's report at the top, as scripts for one database expect it; all of them in `databases`. */
export function documentOf(ran: EachDatabase<Report>): object {
  const { done, failed } = ran
  const worst = [...done].sort((a, b) => exitCodeOf(b.outcome) - exitCodeOf(a.outcome))[0]
  const documents = done.map((report) => ({ exitCode: exitCodeOf(report.outcome), ...report }))
  return { ...worst, exitCode: exitCodeOfAll(ran), databases: [...documents, ...failed] }
}
