import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Server } from '../../src/demo/server.ts'

/**
 * Inserts rows of its own through one node, whatever happens. The limits are the client's: the server's own would end
 * the wait for a synchronous standby and call the row committed, which a failover may then lose.
 */
export class SoakWriter {
  readonly acknowledged: number[] = []
  failed = 0
  readonly #abort = new AbortController()
  readonly #done: Promise<void>

  /** @param entry where to write now @param first its first id; each further one is `step` higher */
  constructor(entry: () => Server, database: string, first: number, step: number) {
    this.#done = this.#run(entry, database, first, step)
  }

  async #run(entry: () => Server, database: string, first: number, step: number): Promise<void> {
    let session: pg.Client | null = null
    for (let id = first; !this.#abort.signal.aborted; id += step) {
      try {
        session ??= await connect(entry(), database)
        await session.query(`INSERT INTO items VALUES ($1, 'soak')`, [id])
        this.acknowledged.push(id)
      } catch {
        this.failed++
        if (session) cut(session)
        session = null
      }
      await delay(20, undefined, { signal: this.#abort.signal }).catch(() => undefined)
    }
    if (session) cut(session)
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#done
  }
}

async function connect(server: Server, database: string): Promise<pg.Client> {
  const connectionString = server.url(database)
  const session = new pg.Client({ connectionString, query_timeout: 5000, connectionTimeoutMillis: 3000 })
  session.on('error', () => undefined)
  try {
    await session.connect()
    return session
  } catch (error) {
    cut(session)
    throw error
  }
}

/** `end()` would wait for a server that may stand still. */
function cut(session: pg.Client): void {
  const { stream } = (session as pg.Client & { connection: { stream: { destroy(): void } } }).connection
  stream.destroy()
}
