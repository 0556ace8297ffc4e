import type { Clock, Event } from './clock.ts'

/** `writes:N`: to shards of group N, where they enter; `shards`: a server's own, where they are. */
export type Lock = 'change' | 'pg_dist_node' | 'pg_dist_transaction' | 'shards' | `writes:${number}`
export type Mode = 'exclusive' | 'shared'

interface Waiter {
  readonly holder: object
  readonly mode: Mode
  readonly grant: () => void
  readonly refuse: (error: Error) => void
  readonly limit: Event
}

const conflict = (a: Mode, b: Mode): boolean => a === 'exclusive' || b === 'exclusive'

/** Locks, first come, first served. A holder is a session, or a prepared transaction. */
export class Locks {
  readonly #clock: Clock
  readonly #held = new Map<Lock, Map<object, Mode>>()
  readonly #queues = new Map<Lock, Waiter[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  take(lock: Lock, holder: object, mode: Mode, timeoutMs: number, late: Error): Promise<void> {
    const own = this.#held.get(lock)?.get(holder)
    if (own === 'exclusive' || own === mode) return Promise.resolve()
    const queue = this.#queues.get(lock) ?? []
    this.#queues.set(lock, queue)
    if (queue.length === 0 && this.#fits(lock, holder, mode)) {
      this.seize(lock, holder, mode)
      return Promise.resolve()
    }
    return new Promise((grant, refuse) => {
      const limit = this.#clock.after(timeoutMs, null, () => {
        queue.splice(queue.indexOf(waiter), 1)
        refuse(late)
        this.#serve(lock)
      })
      const waiter = { holder, mode, grant, refuse, limit }
      queue.push(waiter)
    })
  }

  #fits(lock: Lock, holder: object, mode: Mode): boolean {
    return [...(this.#held.get(lock) ?? [])].every(
      ([other, held]) => other === holder || !conflict(mode, held),
    )
  }

  /** Without waiting: for what replays WAL, where nobody else can hold anything. */
  seize(lock: Lock, holder: object, mode: Mode = 'exclusive'): void {
    const held = this.#held.get(lock) ?? new Map<object, Mode>()
    this.#held.set(lock, held.set(holder, mode))
  }

  holds(lock: Lock, holder: object): boolean {
    return this.#held.get(lock)?.has(holder) === true
  }

  isFree(lock: Lock): boolean {
    return !this.#held.get(lock)?.size
  }

  /** Whom somebody waits for, those ahead of him in the line among them: `pg_blocking_pids`. */
  blockersOf(holder: object): object[] {
    for (const [lock, queue] of this.#queues) {
      const at = queue.findIndex((waiter) => waiter.holder === holder)
      const waiter = queue[at]
      if (!waiter) continue
      const held = [...(this.#held.get(lock) ?? [])].map(([other, mode]) => ({ holder: other, mode }))
      return [...held, ...queue.slice(0, at)]
        .filter((each) => each.holder !== holder && conflict(each.mode, waiter.mode))
        .map((each) => each.holder)
    }
    return []
  }

  /** What is held now, to go back to. */
  mark(holder: object): ReadonlySet<Lock> {
    return new Set([...this.#held].filter(([, held]) => held.has(holder)).map(([lock]) => lock))
  }

  /** Lets go of what was taken since. */
  backTo(mark: ReadonlySet<Lock>, holder: object): void {
    for (const [lock, held] of [...this.#held])
      if (held.has(holder) && !mark.has(lock)) this.#letGo(lock, holder)
  }

  /** A transaction is prepared: what its session held is the transaction's own now. */
  pass(from: object, to: object): void {
    for (const held of this.#held.values()) {
      const mode = held.get(from)
      if (mode === undefined) continue
      held.delete(from)
      held.set(to, mode)
    }
  }

  /** Lets go of everything, and waits for nothing any more. */
  release(holder: object): void {
    for (const [lock, queue] of [...this.#queues]) {
      const at = queue.findIndex((waiter) => waiter.holder === holder)
      const [gone] = at < 0 ? [] : queue.splice(at, 1)
      if (!gone) continue
      gone.limit.work = null
      this.#serve(lock)
    }
    for (const [lock, held] of [...this.#held]) if (held.has(holder)) this.#letGo(lock, holder)
  }

  #letGo(lock: Lock, holder: object): void {
    this.#held.get(lock)?.delete(holder)
    this.#serve(lock)
  }

  #serve(lock: Lock): void {
    const queue = this.#queues.get(lock) ?? []
    for (let next = queue[0]; next && this.#fits(lock, next.holder, next.mode); next = queue[0]) {
      queue.shift()
      next.limit.work = null
      this.seize(lock, next.holder, next.mode)
      next.grant()
    }
  }

  clear(): void {
    for (const queue of this.#queues.values()) for (const { limit } of queue) limit.work = null
    this.#queues.clear()
    this.#held.clear()
  }
}
