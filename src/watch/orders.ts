import { CitusHaError } from '../model/failure.ts'
import type { Report } from '../model/outcome.ts'
import type { Access } from '../walk/access.ts'
import { type EachDatabase, eachDatabase } from '../walk/each-database.ts'
import { type ChangeIn, historyEverywhere } from '../walk/history.ts'
import { type Order, orderedWalk } from '../walk/order.ts'
import { type PausedIn, type PauseOrder, pauseEverywhere } from '../walk/pause.ts'
import { walk } from '../walk/walk.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import type { WatchEvent } from './event.ts'

export interface OrdersOptions {
  readonly access: Access
  /** As the watcher of each database would be asked now, the first database first. */
  readonly requests: () => readonly WalkRequest[]
  readonly tell: (event: WatchEvent) => void
}

/** Who asks, and for which database. */
export interface Asked {
  /** null: every database that is watched. */
  readonly database: string | null
  /** For the record: such as `citus-ha (asked over HTTP by 10.0.0.9)`. */
  readonly madeBy: string
}

/** Walks hold sessions to every node: more at once would only be in each other's way. */
const WALKS_AT_ONCE = 8
const NO_STAGES = { noticedMs: null, decidedMs: null, rightMs: null }

/**
 * What somebody may ask of a running watcher. Carried out whether or not this instance leads, since a change is
 * compare-and-set.
 */
export class Orders {
  readonly #options: OrdersOptions
  readonly #stop = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  constructor(options: OrdersOptions) {
    this.#options = options
  }

  /**
   * One walk after the other, a database each, as `citus-ha reconcile`.
   * @throws CitusHaError as `walk`, or for a database that is not watched; the signal's reason at the end of the watch
   */
  async reconcile(order: Order, asked: Asked): Promise<EachDatabase<Report>> {
    if (this.#running.size >= WALKS_AT_ONCE) {
      throw new CitusHaError('blocked', `${WALKS_AT_ONCE} requested runs are already in progress`)
    }
    return await this.#kept(this.#walks(order, asked))
  }

  /** As `citus-ha pause` and `citus-ha resume`. @throws CitusHaError as those */
  async pause(order: PauseOrder, asked: Asked): Promise<PausedIn[]> {
    return await this.#kept(pauseEverywhere(this.#options.access, this.#requests(asked), order))
  }

  /** As `citus-ha history`. @throws CitusHaError as that */
  async history(limit: number, asked: Asked): Promise<ChangeIn[]> {
    return await this.#kept(historyEverywhere(this.#options.access, this.#requests(asked), limit))
  }

  /** What is under way is finished or rolled back before this returns; nothing new is begun. */
  async end(): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled(this.#running)
  }

  async #walks(order: Order, asked: Asked): Promise<EachDatabase<Report>> {
    const { access, tell } = this.#options
    const { signal } = this.#stop
    const failed = (database: string, line: string) => tell({ kind: 'progress', database, line })
    return await eachDatabase({ all: this.#requests(asked), signal, failed }, async (request) => {
      const report = await walk(access, orderedWalk(request, order))
      this.#tell(report)
      return report
    })
  }

  #requests({ database, madeBy }: Asked): WalkRequest[] {
    const { signal } = this.#stop
    signal.throwIfAborted()
    const all = this.#options.requests()
    if (all.length === 0) throw new CitusHaError('no-coordinator', 'no database is watched yet')
    const wanted = all.filter((request) => database === null || request.database === database)
    if (wanted.length === 0) {
      const known = all.map((request) => request.database).join(', ')
      throw new CitusHaError('usage', `the database ${database} is not watched; these are: ${known}`)
    }
    return wanted.map((request) => ({ ...request, madeBy, signal, began: performance.now() }))
  }

  /** What failed is told to whoever asked, and to nobody else. */
  #tell(report: Report): void {
    if (report.epoch === null) return
    const groups = [...new Set(report.changes.map((change) => change.group))]
    this.#options.tell({ kind: 'acted', report, groups, stages: NO_STAGES, failures: 0 })
  }

  async #kept<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    try {
      return await work
    } finally {
      this.#running.delete(work)
    }
  }
}
