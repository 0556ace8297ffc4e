import type { WalkRequest } from './walk-request.ts'

/** The longest round of a change, in milliseconds. Writes to a group whose primary was promoted elsewhere fail or wait anyway. */
export const LONGEST_ROUND_MS = 2000
/**
 * The longest round of a fence, in milliseconds: no statement is to fail for it. PostgreSQL looks for a deadlock once a client
 * has waited for `deadlock_timeout`, 1 s by default, and would end that client.
 */
export const LONGEST_FENCE_ROUND_MS = 900
const GROWTH = 1.5

/**
 * How long the n-th round in a row may wait for its locks, in milliseconds: longer than the one before. Where the statements of
 * clients take longer than a round, one as long as the first would never have all locks at once.
 * @param leftMs until the deadline, which only the first limit may overrun
 */
export function roundLimit(
  { lockTimeoutMs, longestRoundMs }: Pick<WalkRequest, 'lockTimeoutMs' | 'longestRoundMs'>,
  n: number,
  leftMs: number,
): number {
  return Math.max(lockTimeoutMs, Math.min(lockTimeoutMs * GROWTH ** (n - 1), longestRoundMs, leftMs))
}
