import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Cluster } from './cluster.ts'
import type { Server } from './server.ts'
import { waitUntil } from './wait.ts'

/** What was going on while a write ran: one that succeeds counts where it began, one that fails where it ended. */
export const PHASES = ['before', 'primary dead', 'promoted', 'reconcile', 'after'] as const
export type Phase = (typeof PHASES)[number]

/** Writes of one client in one phase. */
export interface Tally {
  readonly ok: number
  readonly failed: number
}

const NONE: Tally = { ok: 0, failed: 0 }
const STATEMENT_TIMEOUT_MS = 2000
const BETWEEN_WRITES_MS = 10

/** Makes the table `events` in four shards, two on each worker. @returns keys whose shards are in the group. */
export async function makeTable(coordinator: Server, group: number): Promise<number[]> {
  return await coordinator.withClient(async (client) => {
    await client.query('create table events(key int, written_through text, at timestamptz default now())')
    await client.query('set citus.shard_count = 4')
    await client.query(`select create_distributed_table('events', 'key')`)
    const { rows } = await client.query<{ key: number }>(
      `select key from generate_series(1, 200) key
        where get_shard_id_for_distribution_column('events', key)
              in (select shardid from pg_dist_placement where groupid = $1)`,
      [group],
    )
    return rows.map(({ key }) => key)
  })
}

/** A client that inserts one row after the other through one node, whatever happens. */
export class Writer {
  readonly through: Server
  #phase: Phase = 'before'
  #lastOk: number | null = null
  #longestGapMs = 0
  #lastError = ''
  #firstOkAfter: number | null = null
  #after = Number.POSITIVE_INFINITY
  readonly #tallies = new Map<Phase, Tally>()

  constructor(through: Server) {
    this.through = through
  }

  get longestGapMs(): number {
    return this.#longestGapMs
  }

  /** One line; empty where nothing has failed yet. */
  get lastError(): string {
    return this.#lastError
  }

  tally(phase: Phase): Tally {
    return this.#tallies.get(phase) ?? NONE
  }

  /** From now on it is this phase, for what happens in the same turn of the event loop too. */
  enter(phase: Phase): void {
    this.#phase = phase
    if (phase === 'reconcile') this.#after = performance.now()
  }

  /** From the beginning of reconcile to the first write that came through; null where none has yet. */
  get recoveredMs(): number | null {
    return this.#firstOkAfter === null ? null : this.#firstOkAfter - this.#after
  }

  /** Goes on until the signal aborts; a lost session is opened again. */
  async run(keys: readonly number[], signal: AbortSignal): Promise<void> {
    let client: pg.Client | null = null
    for (let n = 0; !signal.aborted; n++) {
      const phase = this.#phase
      try {
        client ??= await openSession(this.through)
        const values = [keys[n % keys.length], this.through.name]
        await client.query('insert into events(key, written_through) values ($1, $2)', values)
        this.#succeeded(phase)
      } catch (error) {
        if (signal.aborted) break
        this.#failed(this.#phase, error)
        if (client && !(await isUsable(client))) client = await closed(client)
      }
      await delay(BETWEEN_WRITES_MS, undefined, { signal }).catch(() => {})
    }
    if (client) await closed(client)
  }

  #succeeded(phase: Phase): void {
    const now = performance.now()
    const { ok, failed } = this.tally(phase)
    this.#tallies.set(phase, { ok: ok + 1, failed })
    if (this.#lastOk !== null) this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastOk)
    this.#lastOk = now
    if (now > this.#after) this.#firstOkAfter ??= now
  }

  #failed(phase: Phase, error: unknown): void {
    const { ok, failed } = this.tally(phase)
    this.#tallies.set(phase, { ok, failed: failed + 1 })
    const message = error instanceof Error ? error.message : String(error)
    this.#lastError = message.split('\n')[0] ?? ''
  }
}

async function openSession(server: Server): Promise<pg.Client> {
  const client = await server.connect()
  try {
    await client.query(`set statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
    return client
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
}

function isUsable(client: pg.Client): Promise<boolean> {
  return client.query('select 1').then(
    () => true,
    () => false,
  )
}

async function closed(client: pg.Client): Promise<null> {
  await client.end().catch(() => {})
  return null
}

/** How long a phase lasts at least, and when it has shown what it is there for. */
interface Lasting {
  readonly minimumMs: number
  readonly until: (tally: Tally) => boolean
}

const LIMIT_MS = 10_000

/** One client through the coordinator and one through another metadata node, writing all the time. */
export class Writers {
  readonly all: readonly Writer[]
  readonly #abort = new AbortController()
  readonly #signal: AbortSignal
  readonly #done: Promise<unknown>

  constructor(entries: readonly Server[], keys: readonly number[], signal: AbortSignal) {
    this.#signal = AbortSignal.any([signal, this.#abort.signal])
    this.all = entries.map((entry) => new Writer(entry))
    this.#done = Promise.all(this.all.map((writer) => writer.run(keys, this.#signal)))
  }

  enter(phase: Phase): void {
    for (const writer of this.all) writer.enter(phase)
  }

  /**
   * Begins a phase and stays in it until every client has shown what it is there for.
   * @throws Error where one has not within 10 s, with what it failed of; the signal's reason when aborted
   */
  async stayIn(phase: Phase, { minimumMs, until }: Lasting): Promise<void> {
    this.enter(phase)
    await delay(minimumMs, undefined, { signal: this.#signal })
    for (const writer of this.all) {
      const shown = () => this.#signal.aborted || until(writer.tally(phase))
      await waitUntil(`phase "${phase}" of the writes`, shown, { limitMs: LIMIT_MS }).catch((cause) => {
        const { ok, failed } = writer.tally(phase)
        const error = writer.lastError === '' ? '' : `; last error: ${writer.lastError}`
        const counts = `${ok} writes through ${writer.through.name} succeeded and ${failed} failed`
        throw new Error(`phase "${phase}": ${counts}${error}`, { cause })
      })
    }
    this.#signal.throwIfAborted()
  }

  /** Ends the clients and their sessions. */
  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#done
  }
}

/** The clients of a demo: only real Citus runs a distributed query. */
export async function startWriters(
  cluster: Cluster,
  group: number,
  entries: readonly Server[],
  signal: AbortSignal,
): Promise<Writers | null> {
  if (cluster.backend.kind !== 'citus') return null
  return new Writers(entries, await makeTable(cluster.coordinator, group), signal)
}
