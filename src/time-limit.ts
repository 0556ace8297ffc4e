/** A limit that has begun. */
export interface TimeLimit {
  /** Aborted with a TimeoutError when the time is over. */
  readonly signal: AbortSignal
  /** It is not needed any more. To be called at the end: until then it keeps the process. */
  readonly clear: () => void
}

/**
 * Instead of `AbortSignal.timeout`: in an `AbortSignal.any` nobody but a timer holds that one, weakly, and after a garbage
 * collection it never comes (Node 20.20).
 */
export function timeLimit(ms: number): TimeLimit {
  const over = new AbortController()
  const timer = setTimeout(
    () => over.abort(new DOMException(`the time limit of ${ms} ms is over`, 'TimeoutError')),
    ms,
  )
  return { signal: over.signal, clear: () => clearTimeout(timer) }
}
