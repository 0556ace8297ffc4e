import { setTimeout as delay } from 'node:timers/promises'

/** How long to wait for a condition, and how often to look; milliseconds. */
export interface Patience {
  readonly limitMs?: number
  readonly everyMs?: number
}

/**
 * Looks until `check` gives something other than null, undefined or false.
 * A check that throws counts as "not yet"; its last error becomes the cause.
 * @throws Error when the limit (default 30 s) has passed.
 */
export async function waitUntil<T>(
  what: string,
  check: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  { limitMs = 30_000, everyMs = 20 }: Patience = {},
): Promise<T> {
  const started = performance.now()
  for (;;) {
    let cause: unknown
    try {
      const found = await check()
      if (found !== null && found !== undefined && found !== false) return found
    } catch (error) {
      cause = error
    }
    if (performance.now() - started > limitMs) {
      throw new Error(`${what}: not within ${limitMs} ms`, cause === undefined ? {} : { cause })
    }
    await delay(everyMs)
  }
}

/**
 * `Promise.all` that leaves nothing running behind: waits for every promise, then throws the first error.
 */
export async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}
