import { setTimeout as pause } from 'node:timers/promises'
import type { Notified } from '../config/notify.ts'
import type { Notification } from './notification.ts'

/** What became of one try. */
export type Delivery =
  | { readonly kind: 'sent' }
  /** It may go better later; not before `afterMs`, if the receiver said so. */
  | { readonly kind: 'again'; readonly why: string; readonly afterMs: number }
  | { readonly kind: 'refused'; readonly why: string }

export interface TargetOptions {
  /** For logs and metrics; without secrets. */
  readonly name: string
  readonly events: readonly Notified[]
  /** Never throws. */
  readonly deliver: (notification: Notification, signal: AbortSignal) => Promise<Delivery>
  /** What may wait. */
  readonly limit: number
  /** Before the second try, in milliseconds; doubled before each further one. */
  readonly firstRetryMs: number
  /** Told, in one line, of what did not arrive. */
  readonly problem: (line: string) => void
}

export interface TargetState {
  readonly name: string
  readonly sent: number
  /** Given up after the last try, or refused. */
  readonly failed: number
  /** Pushed out by newer ones, or left at the end. */
  readonly dropped: number
  readonly queued: number
}

const TRIES = 6
const LONGEST_PAUSE_MS = 60_000

/** One receiver: a bounded queue, delivered one after the other in the order in which it was filled. */
export class Target {
  readonly #options: TargetOptions
  readonly #queue: Notification[] = []
  readonly #stop = new AbortController()
  #running: Promise<void> | null = null
  #sent = 0
  #failed = 0
  #dropped = 0
  /** Told once for each time the queue fills. */
  #overflows = false

  constructor(options: TargetOptions) {
    this.#options = options
  }

  get state(): TargetState {
    const { name } = this.#options
    return {
      name,
      sent: this.#sent,
      failed: this.#failed,
      dropped: this.#dropped,
      queued: this.#queue.length,
    }
  }

  /** Returns at once, whatever the receiver does. */
  offer(notification: Notification): void {
    if (this.#stop.signal.aborted || !this.#options.events.includes(notification.event)) return
    this.#queue.push(notification)
    this.#dropOldest()
    this.#begin()
  }

  /** Gives what waits so many milliseconds, then drops it. */
  async stop(flushMs: number): Promise<void> {
    const { signal } = this.#stop
    const timer = setTimeout(() => this.#stop.abort(), flushMs)
    while (this.#running !== null) await this.#running
    clearTimeout(timer)
    if (this.#queue.length > 0)
      this.#options.problem(
        `${this.#queue.length} notifications to ${this.#options.name} are dropped at shutdown`,
      )
    this.#dropped += this.#queue.splice(0).length
    if (!signal.aborted) this.#stop.abort()
  }

  /** The one under way does not count, and is kept. */
  #dropOldest(): void {
    const { name, limit, problem } = this.#options
    const underWay = this.#running === null ? 0 : 1
    if (this.#queue.length - underWay <= limit) return
    this.#queue.splice(underWay, 1)
    this.#dropped++
    if (!this.#overflows) problem(`more than ${limit} notifications wait for ${name}: the oldest are dropped`)
    this.#overflows = true
  }

  #begin(): void {
    this.#running ??= this.#work().finally(() => {
      this.#running = null
      // One may have come since the last look.
      if (this.#queue.length > 0 && !this.#stop.signal.aborted) this.#begin()
    })
  }

  async #work(): Promise<void> {
    // Whoever tells of an event is in the middle of a change, perhaps.
    await new Promise((resolve) => setImmediate(resolve))
    for (;;) {
      const [first] = this.#queue
      if (!first) break
      const done = await this.#deliver(first)
      if (!done) return
      this.#queue.shift()
    }
    this.#overflows = false
  }

  /** @returns false where the end came before it was decided */
  async #deliver(notification: Notification): Promise<boolean> {
    const { name, deliver, firstRetryMs, problem } = this.#options
    const { signal } = this.#stop
    for (let tries = 1; !signal.aborted; tries++) {
      const delivery = await deliver(notification, signal)
      if (delivery.kind === 'sent') {
        this.#sent++
        return true
      }
      if (signal.aborted) break
      if (delivery.kind === 'refused' || tries === TRIES) {
        this.#failed++
        problem(`${name} did not receive ${notification.event} ${notification.id}: ${delivery.why}`)
        return true
      }
      const grown = firstRetryMs * 2 ** (tries - 1) * (0.75 + Math.random() / 2)
      const ms = Math.min(LONGEST_PAUSE_MS, Math.max(grown, delivery.afterMs))
      await pause(ms, undefined, { signal }).catch(() => undefined)
    }
    return false
  }
}
