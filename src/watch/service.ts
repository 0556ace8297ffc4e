import { hostname } from 'node:os'
import type { ChangeHooks } from '../apply/hooks.ts'
import type { Config } from '../config/schema.ts'
import type { Environment } from '../config/url.ts'
import type { Onlookers } from '../db/target.ts'
import { CitusHaError } from '../model/failure.ts'
import type { FenceReport, ReleaseReport } from '../model/fence.ts'
import { Connections } from '../walk/connections.ts'
import { databasesIn } from '../walk/databases.ts'
import { requestFor } from '../walk/request.ts'
import { Alarm } from './alarm.ts'
import type { WatchEvent } from './event.ts'
import { Lead } from './leadership.ts'
import { Orders } from './orders.ts'
import type { WatchState } from './state.ts'
import { Watcher } from './watcher.ts'

export interface WatchOptions {
  readonly config: Config
  /** The database that is looked at even where none is named and no coordinator answers. */
  readonly database: string
  readonly env: Environment
  readonly tell: (event: WatchEvent) => void
  readonly hooks?: ChangeHooks
  /** Of each connection, where somebody wants to see them. */
  readonly onlookers?: Onlookers
}

/** Which group's writes are to stand still, and for how long at most. */
export interface FenceOrder {
  /** null: every database that is watched. */
  readonly database: string | null
  readonly group: number
  readonly ttlMs: number
}

interface Running {
  readonly watcher: Watcher
  readonly stop: AbortController
  readonly ended: Promise<void>
}

/** How often is looked for databases that appeared or lost Citus. */
const INTERVALS_BETWEEN_DISCOVERIES = 10

/** Watches every database of a cluster that has Citus. One `run`; every connection is closed at its end. */
export class WatchService {
  readonly #options: WatchOptions
  readonly #access: Connections
  readonly #running = new Map<string, Running>()
  /** What may be asked of it while it runs. */
  readonly orders: Orders
  /** Aborted with what ended a watcher that should have gone on. */
  readonly #broken = new AbortController()

  constructor(options: WatchOptions) {
    this.#options = options
    this.#access = new Connections(options.config, options.env, undefined, options.onlookers)
    this.orders = new Orders({
      access: this.#access,
      requests: () => [...this.#running.values()].map(({ watcher }) => watcher.request),
      tell: options.tell,
    })
  }

  /** What is known of each database, the first one first. */
  get states(): WatchState[] {
    return [...this.#running.values()].map(({ watcher }) => watcher.state)
  }

  /**
   * Makes a group's writes stand still for a while, in every database that is meant, or in none. Again: its time counts
   * anew. ttlMs: milliseconds.
   * @throws CitusHaError for a database that is not watched, a group that does not exist, a bad time limit
   */
  async fence({ database, group, ttlMs }: FenceOrder): Promise<FenceReport[]> {
    const reports: FenceReport[] = []
    const watchers = this.#watchersOf(database)
    try {
      for (const watcher of watchers) {
        const report = await watcher.fence(group, ttlMs)
        reports.push(report)
        if (report.outcome === 'blocked') break
      }
      return reports
    } finally {
      const isWhole =
        reports.length === watchers.length && reports.every(({ outcome }) => outcome !== 'blocked')
      if (!isWhole) await Promise.all(watchers.map((each) => each.release(group)))
    }
  }

  /** Lets a group's writes go on. @throws CitusHaError for a database that is not watched */
  async release({ database, group }: Omit<FenceOrder, 'ttlMs'>): Promise<ReleaseReport[]> {
    return await Promise.all(this.#watchersOf(database).map((watcher) => watcher.release(group)))
  }

  #watchersOf(database: string | null): Watcher[] {
    const all = [...this.#running.values()].map(({ watcher }) => watcher)
    const found = all.filter((watcher) => database === null || watcher.database === database)
    if (found.length > 0) return found
    throw new CitusHaError('usage', `database ${database ?? this.#options.database} is not watched`)
  }

  /**
   * Until the signal. A change under way is finished or rolled back before this returns.
   * @throws what ended one of the watchers, a bug: then none of them goes on
   */
  async run(stop: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([stop, this.#broken.signal])
    const restMs = INTERVALS_BETWEEN_DISCOVERIES * this.#options.config.detect.interval
    try {
      this.#begin(this.#options.database)
      while (!signal.aborted) {
        await this.#follow(await this.#discover())
        await this.#access.keepOnly([...this.#running.keys()])
        await new Alarm().wait(restMs, signal)
      }
      this.#broken.signal.throwIfAborted()
    } finally {
      await this.orders.end()
      await Promise.all([...this.#running.keys()].map((name) => this.#end(name)))
      await this.#access.close()
    }
  }

  /** Without a coordinator that answers, nothing is known to have gone: those that are watched stay. */
  async #discover(): Promise<string[]> {
    const { config, database } = this.#options
    const [state] = this.states
    const seeds = state?.coordinator ? [state.coordinator] : config.coordinators.map(({ address }) => address)
    const watched = [...this.#running.keys()]
    return (await databasesIn(this.#access, config, database, seeds, watched)) ?? watched
  }

  async #follow(names: readonly string[]): Promise<void> {
    for (const name of names) if (!this.#running.has(name)) this.#begin(name)
    const gone = [...this.#running.keys()].filter((name) => !names.includes(name))
    await Promise.all(gone.map((name) => this.#end(name)))
  }

  #begin(database: string): void {
    const { tell } = this.#options
    const stop = new AbortController()
    const watcher = this.#watcher(database, stop.signal)
    tell({ kind: 'database', database, now: 'watched' })
    const ended = watcher.run(stop.signal).catch((error: unknown) => this.#broken.abort(error))
    this.#running.set(database, { watcher, stop, ended })
  }

  async #end(database: string): Promise<void> {
    const running = this.#running.get(database)
    if (!running) return
    running.stop.abort()
    await running.ended
    this.#running.delete(database)
    this.#options.tell({ kind: 'database', database, now: 'gone' })
  }

  #watcher(database: string, signal: AbortSignal): Watcher {
    const { config, tell, hooks } = this.#options
    const { interval, timeout, confirm, cooldown } = config.detect
    const access = this.#access
    const madeBy = `citus-ha watch (${hostname()}, pid ${process.pid})`
    const progress = (line: string) => tell({ kind: 'progress', database, line })
    const request = requestFor(config, database, { signal, progress, ...(hooks && { hooks }) })
    const open = (address: Parameters<Connections['open']>[0]) => access.open(address, database)
    return new Watcher({
      access,
      request: { ...request, madeBy },
      intervalMs: interval,
      timeoutMs: timeout,
      confirm,
      cooldownMs: cooldown,
      lead: new Lead({ open, intervalMs: interval }),
      openPulse: open,
      tell,
    })
  }
}
