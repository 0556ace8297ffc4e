import type pg from 'pg'
import type { Cluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import {
  commit,
  enter,
  insert,
  keysOf,
  nameOf,
  oldKeyOf,
  shareOf,
  type Way,
  type Write,
  Writer,
} from './clients.ts'
import { copiedIn } from './copy-in.ts'

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

  constructor(entry: Way, database: string, id: number) {
    this.#done = this.#run(entry, database, id)
  }

  async #run(entry: Way, database: string, id: number): Promise<void> {
    let session: pg.Client | null = null
    while (!this.#abort.signal.aborted) {
      const began = performance.now()
      try {
        session ??= await enter(entry, database)
        const { rowCount } = await session.query('SELECT note FROM items WHERE id = $1', [id])
        if (rowCount !== 1) throw new Error(`${rowCount} rows`)
        this.reads++
      } catch (error) {
        this.failures.push(`${nameOf(entry)}: ${error instanceof Error ? error.message : String(error)}`)
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

/** What a writer writes; `across` are the transactions over two groups, each begun in the one and in the other. */
export type Kind = 'insert' | 'prepared' | 'copied' | 'copied in' | 'across'

export interface TrafficOptions {
  /** Default: all. */
  readonly kinds?: readonly Kind[]
  /** The group that is changed, and another one; default 1 and 2. */
  readonly groups?: readonly [number, number]
  /** Default: the cluster's. */
  readonly database?: string
}

const KINDS: readonly Kind[] = ['insert', 'prepared', 'copied', 'copied in', 'across']

function writesOf(kind: Kind, partners: ReadonlyMap<number, number>): Write[] {
  const simple = { insert, prepared, copied, 'copied in': copiedIn }
  return kind === 'across' ? [across(partners, 'first'), across(partners, 'last')] : [simple[kind]]
}

/** Clients of every kind, through several nodes, that touch the group of a key all the time. */
export class Traffic {
  readonly writers: readonly Writer[]
  readonly readers: readonly Reader[]
  readonly #database: string
  /** Of each writer: where it enters, and what it writes. */
  readonly #labels: readonly string[]
  readonly #partners: ReadonlyMap<number, number>

  private constructor(
    database: string,
    labels: readonly string[],
    writers: readonly Writer[],
    readers: readonly Reader[],
    partners: ReadonlyMap<number, number>,
  ) {
    this.#database = database
    this.#labels = labels
    this.writers = writers
    this.readers = readers
    this.#partners = partners
  }

  static async start(
    cluster: Cluster,
    entries: readonly Way[],
    readEntries: readonly Server[],
    { kinds = KINDS, groups = [1, 2], database = cluster.database }: TrafficOptions = {},
  ): Promise<Traffic> {
    const [keys, others] = await Promise.all(
      groups.map((group) => keysOf(cluster, group, 1000, 300_000, database)),
    )
    const own = keys ?? []
    const partners = new Map(own.map((key, n) => [key, (others ?? [])[n] ?? 0]))
    const writes = kinds.flatMap((kind) => writesOf(kind, partners).map((write) => ({ kind, write })))
    const all = entries.flatMap((entry) => writes.map((each) => ({ entry, ...each })))
    const usable = own.filter((key) => (partners.get(key) ?? 0) > 0)
    const writers = all.map(
      ({ entry, write }, n) => new Writer(entry, database, shareOf(usable, n, all.length), write, 'one'),
    )
    const labels = all.map(({ entry, kind }) => `${nameOf(entry)}, ${kind}`)
    const id = await oldKeyOf(cluster, groups[0], database)
    const readers = [...entries, ...readEntries].map((entry) => new Reader(entry, database, id))
    const traffic = new Traffic(database, labels, writers, readers, partners)
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

  /** Of those that enter there. */
  failuresAt(way: string): string[] {
    return this.failures.filter((failure) => failure.startsWith(way))
  }

  get failures(): string[] {
    const written = this.writers.flatMap(({ failures }, n) =>
      failures.map((failure) => `${this.#labels[n]}: ${failure}`),
    )
    return [...written, ...this.readers.flatMap(({ failures }) => failures)]
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
    const rows = await coordinator.query<{ id: number }>(sql, [ids], { database: this.#database })
    return rows.map(({ id }) => id)
  }

  /** Rows that are there though nobody was told so: of writes that failed. */
  async surplus(coordinator: Server): Promise<number[]> {
    const ids = this.writers.flatMap(({ acknowledged }) => acknowledged.map(({ id }) => id))
    const sql = `SELECT i.id FROM items i WHERE i.id = ANY ($1::int[]) AND i.id <> ALL ($2::int[])`
    const rows = await coordinator.query<{ id: number }>(sql, [[...this.#partners.keys()], ids], {
      database: this.#database,
    })
    return rows.map(({ id }) => id)
  }

  /** Transactions over two groups of which only one half is there. */
  async halves(coordinator: Server): Promise<number[]> {
    const pairs = [...this.#partners].map(([one, two]) => ({ one, two }))
    const sql = `SELECT p.one FROM jsonb_to_recordset($1::jsonb) AS p(one int, two int)
      JOIN items i ON i.id IN (p.one, p.two) WHERE i.note IN ('first', 'second')
      GROUP BY p.one HAVING count(*) = 1`
    const rows = await coordinator.query<{ one: number }>(sql, [JSON.stringify(pairs)], {
      database: this.#database,
    })
    return rows.map(({ one }) => one)
  }
}
