import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Server } from '../../../src/demo/server.ts'
import { client } from '../scenario.ts'

const BETWEEN_MS = 10

/** A client that inserts one row of `items` after the other through one node, whatever happens. */
export class SteadyWriter {
  /** Ids in the order in which they were acknowledged, with when (`performance.now()`). */
  readonly acknowledged: { readonly id: number; readonly at: number }[] = []
  failures = 0
  lastFailure = ''
  readonly #abort = new AbortController()
  readonly #done: Promise<void>

  constructor(entry: Server, database: string, keys: readonly number[]) {
    this.#done = this.#run(entry, database, keys)
  }

  async #run(entry: Server, database: string, keys: readonly number[]): Promise<void> {
    let session: pg.Client | null = null
    for (const id of keys) {
      if (this.#abort.signal.aborted) break
      try {
        session ??= await client(entry, database)
        await session.query(`INSERT INTO items VALUES ($1, 'written')`, [id])
        this.acknowledged.push({ id, at: performance.now() })
      } catch (error) {
        this.failures++
        this.lastFailure = error instanceof Error ? error.message : String(error)
        await session?.end().catch(() => undefined)
        session = null
      }
      await delay(BETWEEN_MS)
    }
    await session?.end().catch(() => undefined)
  }

  since(at: number): number {
    return this.acknowledged.filter((ack) => ack.at >= at).length
  }

  /** The longest time from one acknowledgement to the next, of those that ended after `from`; milliseconds. */
  longestGapMs(from: number): number {
    const gaps = this.acknowledged.map(({ at }, n) =>
      at < from ? 0 : at - (this.acknowledged[n - 1]?.at ?? at),
    )
    return Math.round(Math.max(0, ...gaps))
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#done
  }
}
