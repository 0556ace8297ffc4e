import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { literal } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Leadership } from './event.ts'

/**
 * `lock`: a session-level advisory lock, with `idle_session_timeout` (PostgreSQL 14) to end it for a client that was
 * stopped. `lease`: the row of `citus_ha.lease`, for servers that have no such limit.
 */
type LeadKind = 'lock' | 'lease'

export interface LeadOptions {
  /** Opens a session of its own to a node, within a limit. */
  readonly open: (address: HostPort) => Promise<SessionLike>
  /** Whoever is silent for two of these has lost the lead; milliseconds. */
  readonly intervalMs: number
  /** Who leads, for people. Need not be unique. */
  readonly holder: string
  /** By the server's version where it is not given. */
  readonly kind?: LeadKind
}

/** Where the lead is asked for. */
interface Seat {
  readonly at: HostPort
  readonly session: SessionLike
  readonly kind: LeadKind
}

/** The two keys of the advisory lock: "citu", "lead". On the coordinator, per database. */
const LEAD_LOCK = [0x63697475, 0x6c656164] as const

/** For the first statement of a session: nothing is held yet. */
const FIRST_ANSWER_MS = 2_000

const heldRow = z.object({ held: z.boolean() })
const serverRow = z.object({ version: z.number().int(), in_recovery: z.boolean() })

/**
 * Who of several instances leads, in one database: decided by its coordinator. Others take over within three
 * intervals of the leader's death, stop or loss of the network: two until the server ends its session or its lease,
 * and half a one until they ask again. A leader that is merely cut off knows it earlier, since an answer that takes
 * longer than an interval counts as none.
 *
 * A session-level lock cannot be lost while its session lives: only that session itself can unlock it. So any answer
 * on the session proves the lock, and no look into `pg_locks` is needed, which would stop all lock traffic of the
 * server for a moment. A connection pooler in between (pgbouncer) breaks this, whatever its mode: it answers for
 * sessions that are gone. Not supported.
 *
 * Calls are carried out one after the other.
 */
export class Lead {
  readonly #options: LeadOptions
  /** In the lease: nobody else's, whatever name was given. */
  readonly #holder: string
  #seat: Seat | null = null
  #leads = false
  #why: string | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: LeadOptions) {
    this.#options = options
    this.#holder = `${options.holder} ${randomUUID()}`
  }

  /** Why the last call gave `none`, or lost the lead, in one line; else null. */
  get why(): string | null {
    return this.#why
  }

  /**
   * Takes the lead where it is free and keeps it where it is ours; to be called every half interval at the latest.
   * A failure gives `none` and ends the session, so that the next call begins anew. Never throws.
   * @param coordinator where to ask; another one than before: what was held there is let go
   */
  async hold(coordinator: HostPort): Promise<Leadership> {
    return await this.#inTurn(async () => {
      try {
        const seat = await this.#seatAt(coordinator)
        this.#leads = await this.#ask(seat, this.#leads ? this.#keeping(seat) : this.#taking(seat))
        this.#why = null
        return this.#leads ? 'leading' : 'following'
      } catch (error) {
        await this.#leave(messageOf(error))
        return 'none'
      }
    })
  }

  /**
   * Whether the lead is still ours, by the server's word of this moment: one statement, for the moment before something
   * is done. A process that was stopped finds its session ended, or its lease run out. Never throws.
   */
  async stillLeads(): Promise<boolean> {
    return await this.#inTurn(async () => {
      const seat = this.#seat
      if (!this.#leads || seat === null) return false
      try {
        this.#leads = await this.#ask(seat, this.#looking(seat))
        if (!this.#leads) this.#why = 'the lease ran out'
      } catch (error) {
        await this.#leave(messageOf(error))
      }
      return this.#leads
    })
  }

  /** Gives up the lead, so that another takes it at once, and closes the session. May be held again. Never throws. */
  async release(): Promise<void> {
    await this.#inTurn(async () => {
      const seat = this.#seat
      if (seat !== null && this.#leads) await this.#ask(seat, this.#dropping(seat)).catch(() => false)
      await this.#leave(null)
    })
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return await turn
  }

  async #seatAt(coordinator: HostPort): Promise<Seat> {
    const now = this.#seat
    if (now?.session.alive && sameAddress(now.at, coordinator)) return now
    await this.#leave(null)
    const session = await this.#options.open(coordinator)
    try {
      const kind = await this.#prepare(session, coordinator)
      this.#seat = { at: coordinator, session, kind }
      return this.#seat
    } catch (error) {
      await session.close()
      throw error
    }
  }

  async #prepare(session: SessionLike, at: HostPort): Promise<LeadKind> {
    const { intervalMs, kind } = this.#options
    const results = await session.run(
      [
        `SET statement_timeout = ${Math.trunc(intervalMs)}`,
        // For the lease: whoever waited for its row has to see what the other one wrote.
        `SET default_transaction_isolation = 'read committed'`,
        `SELECT set_config('idle_session_timeout', '${Math.trunc(2 * intervalMs)}', false)
          WHERE current_setting('server_version_num')::int >= 140000`,
        `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS in_recovery`,
      ].join('; '),
      FIRST_ANSWER_MS,
    )
    const { version, in_recovery } = serverRow.parse(results.at(-1)?.[0])
    if (in_recovery) throw new Error(`${formatAddress(at)} is in recovery: nobody leads there`)
    return kind ?? (version >= 140_000 ? 'lock' : 'lease')
  }

  /** @throws also for an answer that came too late: this process was stopped, and the answer is of another time */
  async #ask({ session }: Seat, sql: string): Promise<boolean> {
    const { intervalMs } = this.#options
    const began = performance.now()
    const results = await session.run(sql, intervalMs)
    if (performance.now() - began > intervalMs) throw new Error(`no answer within ${intervalMs} ms`)
    return heldRow.parse(results.at(-1)?.[0]).held
  }

  #taking({ kind }: Seat): string {
    if (kind === 'lock') return `SELECT pg_try_advisory_lock(${LEAD_LOCK.join(', ')}) AS held`
    return `SELECT citus_ha.hold_lease(${literal(this.#holder)}, ${Math.trunc(2 * this.#options.intervalMs)}) AS held`
  }

  /** A lock is counted: taken twice, it would have to be given back twice. */
  #keeping(seat: Seat): string {
    return seat.kind === 'lock' ? 'SELECT true AS held' : this.#taking(seat)
  }

  #looking({ kind }: Seat): string {
    if (kind === 'lock') return 'SELECT true AS held'
    return `SELECT EXISTS (SELECT FROM citus_ha.lease l
      WHERE l.holder = ${literal(this.#holder)} AND l.expires_at > clock_timestamp()) AS held`
  }

  #dropping({ kind }: Seat): string {
    if (kind === 'lock') return `SELECT NOT pg_advisory_unlock(${LEAD_LOCK.join(', ')}) AS held`
    return `SELECT citus_ha.drop_lease(${literal(this.#holder)}); SELECT false AS held`
  }

  async #leave(why: string | null): Promise<void> {
    const seat = this.#seat
    this.#seat = null
    this.#leads = false
    this.#why = why
    await seat?.session.close()
  }
}
