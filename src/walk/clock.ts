/** How long each step took, in milliseconds. A step that runs twice counts twice. */
export class Clock {
  readonly began = performance.now()
  readonly #steps = new Map<string, number>()

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
