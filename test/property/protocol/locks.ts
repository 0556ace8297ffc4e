import type { Clock, Event } from './clock.ts'

export type Lock = 'change' | 'pg_dist_node' | 'writes' | 'shards'

interface Waiter {
  readonly holder: object
  readonly grant: () => void
  readonly refuse: (error: Error) => void
  readonly limit: Event
}

/** Exclusive locks, first come, first served. A holder is a session, or a prepared transaction. */
export class Locks {
  readonly #clock: Clock
  readonly #held = new Map<Lock, object>()
  readonly #queues = new Map<Lock, Waiter[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  take(lock: Lock, holder: object, timeoutMs: number, late: Error): Promise<void> {
    const owner = this.#held.get(lock)
    if (owner === holder) return Promise.resolve()
    if (owner === undefined) {
      this.#held.set(lock, holder)
      return Promise.resolve()
    }
    return new Promise((grant, refuse) => {
      const queue = this.#queues.get(lock) ?? []
      this.#queues.set(lock, queue)
      const limit = this.#clock.after(timeoutMs, null, () => {
        queue.splice(queue.indexOf(waiter), 1)
        refuse(late)
      })
      const waiter = { holder, grant, refuse, limit }
      queue.push(waiter)
    })
  }

  /** Without waiting: for what replays WAL, where nobody else can hold anything. */
  seize(lock: Lock, holder: object): void {
    this.#held.set(lock, holder)
  }

  holds(lock: Lock, holder: object): boolean {
    return this.#held.get(lock) === holder
  }

  isFree(lock: Lock): boolean {
    return !this.#held.has(lock)
  }

  /** A transaction is prepared: what its session held is the transaction's own now. */
  pass(from: object, to: object): void {
    for (const [lock, holder] of this.#held) if (holder === from) this.#held.set(lock, to)
  }

  /** Lets go of everything, and waits for nothing any more. */
  release(holder: object): void {
    for (const queue of this.#queues.values()) {
      const at = queue.findIndex((waiter) => waiter.holder === holder)
      const [gone] = at < 0 ? [] : queue.splice(at, 1)
      if (gone) gone.limit.work = null
    }
    for (const [lock, held] of [...this.#held]) {
      if (held !== holder) continue
      const next = this.#queues.get(lock)?.shift()
      if (!next) {
        this.#held.delete(lock)
        continue
      }
      next.limit.work = null
      this.#held.set(lock, next.holder)
      next.grant()
    }
  }

  clear(): void {
    for (const queue of this.#queues.values()) for (const { limit } of queue) limit.work = null
    this.#queues.clear()
    this.#held.clear()
  }
}
