import { hostname } from 'node:os'
import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { messageOf } from '../db/sqlstate.ts'
import { watcherComment } from '../model/activity.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Leadership } from './event.ts'

export interface LeadOptions {
  /** Opens a session of its own to a node, within a limit. */
  readonly open: (address: HostPort) => Promise<SessionLike>
  /** Whoever is silent for two of these has lost the lead; milliseconds. */
  readonly intervalMs: number
}

/** Where the lead is asked for. */
interface Seat {
  readonly at: HostPort
  readonly session: SessionLike
  /** Whether the schema is there. Without it, a superuser's instance leads until it has installed it: `install` serialises. */
  readonly hasSchema: boolean
}

/** For the first statement of a session: nothing is held yet. */
const FIRST_ANSWER_MS = 2_000

const heldRow = z.object({ held: z.boolean() })
const serverRow = z.object({ in_recovery: z.boolean(), superuser: z.boolean(), has_schema: z.boolean() })
const holderRow = z.object({ holder: z.string() })

const SERVER = `SELECT pg_is_in_recovery() AS in_recovery,
  (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) AS superuser,
  EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'citus_ha') AS has_schema`

/** A table lock of ours: an advisory lock could be held by anybody who may log in. */
const TAKE = 'SELECT citus_ha.take_lead() AS held'
const KEEP = 'SELECT true AS held'
const HOLDER = `SELECT format('%s, process %s of %s', coalesce(host(a.client_addr), 'a local client'), a.pid, a.usename) AS holder
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.relation = to_regclass('citus_ha.lead_lock') AND l.mode = 'ExclusiveLock' AND l.granted`

/**
 * Who of several instances leads, in one database: decided by its coordinator. Others take over within three
 * intervals of the leader's death, stop or loss of the network: two until the server ends its session, and half a one
 * until they ask again. A leader that is merely cut off knows it earlier, since an answer that takes
 * longer than an interval counts as none.
 *
 * The lead is a lock on an empty table, in a transaction that stays open. It cannot be lost while that lives, so any answer
 * on the session proves it, and no look into `pg_locks` is needed, which would stop all lock traffic of the server for a
 * moment. The transaction has no snapshot and no transaction id between its statements, so it holds up no vacuum; and
 * `idle_in_transaction_session_timeout` ends it for a client that was stopped. A connection pooler in between (pgbouncer) breaks this, whatever its mode: it answers for
 * sessions that are gone. Not supported.
 *
 * Calls are carried out one after the other.
 */
export class Lead {
  readonly #options: LeadOptions
  #seat: Seat | null = null
  #leads = false
  #leadsSince: Date | null = null
  #why: string | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: LeadOptions) {
    this.#options = options
  }

  /** Why the last call gave `none`, or lost the lead; or who leads, as far as that is known. Else null. */
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
        if (!seat.hasSchema) return await this.#pioneer(seat)
        const led = this.#leads
        this.#leads = await this.#ask(seat, this.#signed(led ? KEEP : TAKE))
        if (!led) this.#leadsSince = this.#leads ? new Date() : null
        if (this.#leads) this.#why = null
        else this.#why ??= await this.#leader(seat)
        return this.#leads ? 'leading' : 'following'
      } catch (error) {
        await this.#leave(messageOf(error))
        return 'none'
      }
    })
  }

  /**
   * Whether the lead is still ours, by the server's word of this moment: one statement, for the moment before something
   * is done. A process that was stopped finds its session ended. Never throws.
   */
  async stillLeads(): Promise<boolean> {
    return await this.#inTurn(async () => {
      const seat = this.#seat
      if (!this.#leads || seat === null) return false
      try {
        this.#leads = await this.#ask(seat, this.#signed(KEEP))
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
      if (seat !== null && this.#leads)
        await this.#ask(seat, 'ROLLBACK; SELECT false AS held').catch(() => false)
      await this.#leave(null)
    })
  }

  /** `status` reads there who watches, and who leads since when: of an open transaction nothing else is seen. */
  #signed(sql: string): string {
    return `${sql} ${watcherComment(hostname(), this.#leads ? this.#leadsSince : null)}`
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
      this.#seat = { at: coordinator, session, hasSchema: await this.#prepare(session, coordinator) }
      return this.#seat
    } catch (error) {
      await session.close()
      throw error
    }
  }

  /** A superuser's instance on a coordinator without the schema: it is about to install it. */
  async #pioneer(seat: Seat): Promise<Leadership> {
    const [rows] = await seat.session.run(SERVER, this.#options.intervalMs)
    if (serverRow.parse(rows?.[0]).has_schema) {
      await this.#leave(null)
      return 'none'
    }
    this.#leads = true
    return 'leading'
  }

  /** Asked once each time somebody else is found to lead. */
  async #leader({ session }: Seat): Promise<string | null> {
    const [rows] = await session.run(HOLDER, this.#options.intervalMs)
    const found = holderRow.safeParse(rows?.[0])
    return found.success ? found.data.holder : null
  }

  /** @returns whether the schema is there */
  async #prepare(session: SessionLike, at: HostPort): Promise<boolean> {
    const { intervalMs } = this.#options
    const results = await session.run(
      [
        `SET statement_timeout = ${Math.trunc(intervalMs)}`,
        `SET idle_in_transaction_session_timeout = ${Math.trunc(2 * intervalMs)}`,
        // PostgreSQL 17: the transaction is meant to stay open.
        `SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) IS NOT NULL`,
        SERVER,
      ].join('; '),
      FIRST_ANSWER_MS,
    )
    const { in_recovery, superuser, has_schema } = serverRow.parse(results.at(-1)?.[0])
    if (in_recovery) throw new Error(`${formatAddress(at)} is in recovery: no instance can lead there`)
    // Whose the schema is has been looked at then: inside of the transaction that stays open, the locks of that look would keep
    // DROP and ALTER EXTENSION citus out for as long as it leads.
    if (has_schema) await session.run('SELECT FROM citus_ha.lead_lock', FIRST_ANSWER_MS)
    // A message of its own: READ WRITE has to be said before any query of its transaction.
    await session.run('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE', FIRST_ANSWER_MS)
    return has_schema || !superuser
  }

  /** @throws also for an answer that came too late: this process was stopped, and the answer is of another time */
  async #ask({ session }: Seat, sql: string): Promise<boolean> {
    const { intervalMs } = this.#options
    const began = performance.now()
    const results = await session.run(sql, intervalMs)
    if (performance.now() - began > intervalMs) throw new Error(`no answer within ${intervalMs} ms`)
    return heldRow.parse(results.at(-1)?.[0]).held
  }

  async #leave(why: string | null): Promise<void> {
    const seat = this.#seat
    this.#seat = null
    this.#leads = false
    this.#leadsSince = null
    this.#why = why
    await seat?.session.close()
  }
}
