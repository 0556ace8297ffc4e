import type { HostPort } from '../model/node.ts'
import type { WalkRequest } from '../walk/walk-request.ts'

/** What a tool said, and how much time it gives. Times by `performance.now()`. */
export interface Vouching {
  readonly node: HostPort
  /** null: found out, by pg_dist_node, the file, or what the node says of itself. */
  readonly group: number | null
  /** Until when a promotion may still be running. */
  readonly waitUntil: number
  /** When there has to be an answer. */
  readonly answerBy: number
}

/** What a walk needs after its own deadline, to look at the copies and to close, in milliseconds. */
const CONCLUDING_MS = 1500

/** A walk through the one group that a tool named a node of, with its word as evidence and no more time than it gives. */
export function within(request: WalkRequest, { node, group, waitUntil, answerBy }: Vouching): WalkRequest {
  const now = performance.now()
  const leftMs = Math.max(0, answerBy - now - CONCLUDING_MS)
  return {
    ...request,
    claims: { ...request.claims, vouched: node, vouchedBy: 'tool', vouchedGroup: group },
    groups: group === null ? null : [group],
    waitMs: Math.max(0, Math.min(waitUntil - now, leftMs)),
    deadlineMs: Math.min(request.deadlineMs, leftMs),
    began: now,
  }
}
