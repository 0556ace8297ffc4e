/** Even past the deadline an answer that is there at once is heard, in milliseconds. */
const FLOOR_MS = 300

/** How long each step took, and what is left of the walk's time, in milliseconds. A step that runs twice counts twice. */
export class Clock {
  readonly began = performance.now()
  readonly #deadlineMs: number
  readonly #steps = new Map<string, number>()

  constructor(deadlineMs = Number.POSITIVE_INFINITY) {
    this.#deadlineMs = deadlineMs
  }

  /** Until the deadline; below zero when it has passed. */
  get leftMs(): number {
    return this.began + this.#deadlineMs - performance.now()
  }

  /** How long one wait may be, of those that need `longestMs` at most. */
  limit(longestMs: number): number {
    return Math.max(Math.min(FLOOR_MS, longestMs), Math.min(longestMs, this.leftMs))
  }

  async time<T>(step: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now()
    try {
      return await work()
    } finally {
      this.add(step, performance.now() - began)
    }
  }

  add(step: string, ms: number): void {
    this.#steps.set(step, (this.#steps.get(step) ?? 0) + ms)
  }

  get steps(): Record<string, number> {
    return Object.fromEntries([...this.#steps].map(([step, ms]) => [step, tenths(ms)]))
  }

  get totalMs(): number {
    return tenths(performance.now() - this.began)
  }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
