import type pg from 'pg'
import type { Cluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { commit, insert, keysOf, oldKeyOf, shareOf, type Write, Writer } from './clients.ts'
import { client } from './scenario.ts'

const prepared: Write = async (session, id) => {
  await session.query({ name: 'put', text: `INSERT INTO items VALUES ($1, 'prepared')`, values: [id] })
}

const copied: Write = async (session, id) => {
  await session.query(`COPY items FROM PROGRAM 'echo ${id},copied' WITH (FORMAT csv)`)
}

/** One row in the group of the key, and one in the other, whose key is that of the first with another sign. */
function across(partners: ReadonlyMap<number, number>, order: 'first' | 'last'): Write {
  return async (session, id) => {
    const [one, two] = order === 'first' ? [id, partners.get(id)] : [partners.get(id), id]
    await session.query('BEGIN')
    await session.query(`INSERT INTO items VALUES ($1, 'first')`, [one])
    await session.query(`INSERT INTO items VALUES ($1, 'second')`, [two])
    await commit(session)
  }
}

/** Reads one row without pause through one node, on one session. */
export class Reader {
  readonly failures: string[] = []
  longestMs = 0
  reads = 0
  readonly #abort = new AbortController()
  readonly #done: Promise<void>

  constructor(entry: Server, database: string, id: number) {
    this.#done = this.#run(entry, database, id)
  }

  async #run(entry: Server, database: string, id: number): Promise<void> {
    let session: pg.Client | null = null
    while (!this.#abort.signal.aborted) {
      const began = performance.now()
      try {
        session ??= await client(entry, database)
        const { rowCount } = await session.query('SELECT note FROM items WHERE id = $1', [id])
        if (rowCount !== 1) throw new Error(`${rowCount} rows`)
        this.reads++
      } catch (error) {
        this.failures.push(`${entry.name}: ${error instanceof Error ? error.message : String(error)}`)
        await session?.end().catch(() => undefined)
        session = null
      }
      this.longestMs = Math.max(this.longestMs, performance.now() - began)
    }
    await session?.end().catch(() => undefined)
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#done
  }
}

/** Clients of every kind, through several nodes, that touch the group of a key all the time. */
export class Traffic {
  readonly writers: readonly Writer[]
  readonly readers: readonly Reader[]
  readonly #cluster: Cluster
  readonly #partners: ReadonlyMap<number, number>

  private constructor(
    cluster: Cluster,
    writers: readonly Writer[],
    readers: readonly Reader[],
    partners: ReadonlyMap<number, number>,
  ) {
    this.#cluster = cluster
    this.writers = writers
    this.readers = readers
    this.#partners = partners
  }

  /** @param groups the one that is changed, and another one */
  static async start(
    cluster: Cluster,
    entries: readonly Server[],
    readEntries: readonly Server[],
    groups: readonly [number, number],
  ): Promise<Traffic> {
    const [keys, others] = await Promise.all(groups.map((group) => keysOf(cluster, group, 1000, 300_000)))
    const own = keys ?? []
    const partners = new Map(own.map((key, n) => [key, (others ?? [])[n] ?? 0]))
    const kinds: Write[] = [insert, prepared, copied, across(partners, 'first'), across(partners, 'last')]
    const all = entries.flatMap((entry) => kinds.map((write) => ({ entry, write })))
    const usable = own.filter((key) => (partners.get(key) ?? 0) > 0)
    const writers = all.map(
      ({ entry, write }, n) =>
        new Writer(entry, cluster.database, shareOf(usable, n, all.length), write, 'one'),
    )
    const id = await oldKeyOf(cluster, groups[0])
    const readers = [...entries, ...readEntries].map((entry) => new Reader(entry, cluster.database, id))
    const traffic = new Traffic(cluster, writers, readers, partners)
    await traffic.goesOn()
    return traffic
  }

  /** Every client has done something since. */
  async goesOn(): Promise<void> {
    const written = this.writers.map(({ acknowledged }) => acknowledged.length)
    const read = this.readers.map(({ reads }) => reads)
    await waitUntil('every client goes on', () => {
      const writes = this.writers.every(({ acknowledged }, n) => acknowledged.length > (written[n] ?? 0) + 5)
      return writes && this.readers.every(({ reads }, n) => reads > (read[n] ?? 0) + 5)
    })
  }

  get failures(): string[] {
    return [...this.writers, ...this.readers].flatMap(({ failures }) => failures)
  }

  get longestMs(): { readonly write: number; readonly read: number } {
    return {
      write: Math.round(Math.max(...this.writers.map(({ longestMs }) => longestMs))),
      read: Math.round(Math.max(...this.readers.map(({ longestMs }) => longestMs))),
    }
  }

  get statements(): number {
    const writes = this.writers.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0)
    return writes + this.readers.reduce((sum, { reads }) => sum + reads, 0)
  }

  async stop(): Promise<void> {
    await Promise.all([...this.writers, ...this.readers].map((each) => each.stop()))
  }

  /** Acknowledged rows that are not there. */
  async missing(coordinator: Server): Promise<number[]> {
    const ids = this.writers.flatMap(({ acknowledged }) => acknowledged.map(({ id }) => id))
    const sql = `SELECT a.id FROM unnest($1::int[]) AS a(id) LEFT JOIN items i ON i.id = a.id WHERE i.id IS NULL`
    const rows = await coordinator.query<{ id: number }>(sql, [ids], { database: this.#cluster.database })
    return rows.map(({ id }) => id)
  }

  /** Transactions over two groups of which only one half is there. */
  async halves(coordinator: Server): Promise<number[]> {
    const pairs = [...this.#partners].map(([one, two]) => ({ one, two }))
    const sql = `SELECT p.one FROM jsonb_to_recordset($1::jsonb) AS p(one int, two int)
      JOIN items i ON i.id IN (p.one, p.two) WHERE i.note IN ('first', 'second')
      GROUP BY p.one HAVING count(*) = 1`
    const rows = await coordinator.query<{ one: number }>(sql, [JSON.stringify(pairs)], {
      database: this.#cluster.database,
    })
    return rows.map(({ one }) => one)
  }
}
