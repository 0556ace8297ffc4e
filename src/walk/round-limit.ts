/** The longest that one round may hold writers while it waits for its locks, in milliseconds; unless `apply.lockTimeout` is longer. */
export const LONGEST_ROUND_MS = 2000
const GROWTH = 1.5

/**
 * How long the n-th round in a row may wait for its locks, in milliseconds: longer than the one before. Where the statements of
 * clients take longer than a round, one as long as the first would never have all locks at once.
 * @param leftMs until the deadline, which only the first limit may overrun
 */
export function roundLimit(firstMs: number, n: number, leftMs: number, longestMs = LONGEST_ROUND_MS): number {
  return Math.max(firstMs, Math.min(firstMs * GROWTH ** (n - 1), longestMs, leftMs))
}
