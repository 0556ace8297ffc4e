/** Whose an event is: what stops, wakes up and ends with it. No owner: the world's own. */
export interface Owner {
  state: 'running' | 'stopped' | 'dead'
}

/** What `setTimeout` gives while a simulation runs. */
export class Event {
  readonly time: number
  readonly order: number
  readonly owner: Owner | null
  work: (() => void) | null

  constructor(time: number, order: number, owner: Owner | null, work: () => void) {
    this.time = time
    this.order = order
    this.owner = owner
    this.work = work
  }

  /** As a timer of Node: nobody waits for one that is left. */
  unref(): this {
    return this
  }
}

/**
 * Virtual time. One event after the other, each with all the promises that it settles; what comes of them has the
 * same owner. Same events in, same order out.
 */
export class Clock {
  now = 0
  owner: Owner | null = null
  #order = 0
  #unique = 1
  #seed = 1
  readonly #heap: Event[] = []
  #held: Event[] = []

  /** @param delay in virtual milliseconds */
  after(delay: number, owner: Owner | null, work: () => void): Event {
    const event = new Event(this.now + Math.max(0, delay), this.#order++, owner, work)
    this.#push(event)
    return event
  }

  /** For `Math.random`. */
  random(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0
    return this.#seed / 0x1_0000_0000
  }

  unique(): number {
    return this.#unique++
  }

  /** A stopped owner goes on: what came for it meanwhile comes now, in order. */
  wake(owner: Owner): void {
    owner.state = 'running'
    const mine = this.#held.filter((event) => event.owner === owner)
    this.#held = this.#held.filter((event) => event.owner !== owner)
    for (const { work } of mine) if (work) this.after(0, owner, work)
  }

  /** Runs events until `done`; past `limit` that is an error, and so is a world in which nothing happens any more. */
  run(done: () => boolean, limit: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = () => {
        try {
          if (done()) return resolve()
          if (!this.#next(limit)) throw new Error(`at ${this.now} ms nothing is under way that could end it`)
        } catch (error) {
          return reject(error)
        }
        // After every microtask: Node takes ticks only once they are through.
        queueMicrotask(() => process.nextTick(step))
      }
      process.nextTick(step)
    })
  }

  #next(limit: number): boolean {
    for (let event = this.#pop(); event; event = this.#pop()) {
      const { work, owner } = event
      if (!work || owner?.state === 'dead') continue
      this.now = Math.max(this.now, event.time)
      if (this.now > limit) throw new Error(`still not done at ${this.now} ms`)
      if (owner?.state === 'stopped') {
        this.#held.push(event)
        continue
      }
      this.owner = owner
      work()
      return true
    }
    return false
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      if (before(heap[up], event)) break
      heap[at] = heap[up] as Event
      at = up
    }
    heap[at] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (!last || heap.length === 0) return top
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++
      if (!before(heap[child], last)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
    return top
  }
}

function before(a: Event | undefined, b: Event | undefined): boolean {
  if (!a || !b) return a !== undefined
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}

let current: Clock | null = null

/** What src takes for time: the clock's, while one is in use. `null`: real time again. */
export function use(clock: Clock | null): void {
  current = clock
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  now: performance.now.bind(performance),
  random: Math.random,
}

/** Replaces the timers and the clock of this process by ones that obey `use`. */
export function takeOverTime(): void {
  const timer = (work: () => void, ms = 0) =>
    current ? current.after(ms, current.owner, work) : real.setTimeout(work, ms)
  const clear = (given: unknown) => {
    if (given instanceof Event) given.work = null
    else real.clearTimeout(given as NodeJS.Timeout)
  }
  Object.assign(globalThis, { setTimeout: timer, clearTimeout: clear })
  Math.random = () => current?.random() ?? real.random()
  Object.defineProperty(performance, 'now', { value: () => current?.now ?? real.now(), configurable: true })
}

export function giveTimeBack(): void {
  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout })
  Math.random = real.random
  Reflect.deleteProperty(performance, 'now')
}

/** For `node:crypto`: different each time, and the same in each run. */
export function uniqueBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32BE(current?.unique() ?? 0, length - 4)
  return bytes
}

/** For `node:timers/promises`. */
export function pause(ms = 0): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
