import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { naming, saidOf } from '../db/named.ts'
import { type Row, type SessionLike, SessionLost } from '../db/pg.ts'
import { statement } from '../db/sql.ts'
import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import { askToPromote, untilPromoted } from '../walk/intents.ts'
import type { Move } from './check.ts'
import { TooLate } from './patience.ts'
import { followToTheEnd, replayedTo } from './replay.ts'

const ANSWER_MS = 5000
/** How long a server that is coming up is waited for where nothing else says so. */
const GLANCE_MS = 1000
/** Between two tries to open a session. */
const AGAIN_MS = 50

const whichRow = z.object({
  instance: z.string(),
  system_identifier: z.string(),
  in_recovery: z.boolean(),
  timeline: z.number().nullable(),
})

export type Which = z.infer<typeof whichRow>

/**
 * Why a new session does not lead to the server that is to be promoted, as it was checked; null: it does. A name may lead elsewhere
 * by now, to the old primary as well. One that was started again is known by its timeline alone, once it is promoted.
 */
export function whyAnother({ from, to }: Pick<Move, 'from' | 'to'>, now: Which): string | null {
  if (now.instance === to.instance) return null
  if (now.system_identifier !== to.systemIdentifier) return 'another server answers there now'
  const { timeline } = from
  const isPromoted = timeline !== null && now.timeline !== null && now.timeline > timeline
  return isPromoted ? null : 'it was restarted, or another server answers there now'
}

/** The server that is to be promoted. Where the session to it is lost another one is opened. */
export class Target {
  readonly #move: Move
  readonly #open: () => Promise<SessionLike>
  #session: SessionLike
  /** What it has replayed, at least. */
  #lsn: string | null = null
  #asked = false

  /**
   * @param open another session, as all of this switchover are
   * @param session the first one
   */
  constructor(move: Move, open: () => Promise<SessionLike>, session: SessionLike) {
    this.#move = move
    this.#open = open
    this.#session = session
  }

  /** Its promotion was asked for, or may have been: by `askForPromotion`, or by a command. */
  get asked(): boolean {
    return this.#asked
  }

  get #replaying() {
    return { node: this.#move.to.address, run: (sql: string, until: number) => this.#ask(sql, until) }
  }

  /** @param until `performance.now()` @throws TooLate; what the driver or the server says */
  async replayedTo(lsn: string, until: number): Promise<void> {
    await replayedTo(this.#replaying, lsn, until)
    this.#lsn = lsn
  }

  /** The same, of an old primary that was stopped: all that it has sent is replayed. @throws as that */
  async followToTheEnd(until: number): Promise<void> {
    this.#lsn = await followToTheEnd(this.#replaying, until)
  }

  async isPromoted(): Promise<boolean> {
    const sql = 'SELECT pg_is_in_recovery() AS standby'
    const [rows] = await this.#ask(sql, performance.now() + GLANCE_MS)
    return rows?.[0]?.standby === false
  }

  /**
   * The last before its promotion is asked for: there is a session to ask on, and where it is a new one all is replayed, though
   * the server has crashed.
   * @throws TooLate; what the driver or the server says
   */
  async ready(until: number): Promise<void> {
    if (this.#session.alive) return
    await this.#reopen(until)
    if (this.#lsn !== null) await this.replayedTo(this.#lsn, until)
  }

  /** A command that promotes it is about to be run. */
  commanded(): void {
    this.#asked = true
  }

  /** @throws the server's error: then it was not asked for */
  async askForPromotion(): Promise<void> {
    this.#asked = true
    await askToPromote(this.#session).catch((error: unknown) => {
      // It may have come there, or not: `promoted` asks once more.
      if (!(error instanceof SessionLost)) throw error
    })
  }

  /**
   * @param by what promotes it
   * @param until `performance.now()`
   * @throws Error where it is not known to be promoted
   */
  async promoted(by: 'pg_promote' | 'command', until: number): Promise<void> {
    await naming(this.#move.to.address, async () => {
      for (;;) {
        try {
          if (!this.#session.alive) await this.#resume(by, until)
          return await untilPromoted(this.#session, until)
        } catch (error) {
          if (this.#session.alive || performance.now() >= until) throw error
        }
        await pause(AGAIN_MS)
      }
    })
  }

  /** On a new session: a server that has crashed has forgotten what it was asked for. */
  async #resume(by: 'pg_promote' | 'command', until: number): Promise<void> {
    const { in_recovery } = await this.#reopen(until)
    if (by === 'command' || !in_recovery || this.#lsn === null) return
    await this.replayedTo(this.#lsn, until)
    await askToPromote(this.#session)
  }

  /** What may be asked twice. */
  async #ask(sql: string, until: number): Promise<Row[][]> {
    if (this.#session.alive) {
      try {
        return await this.#session.run(sql, ANSWER_MS)
      } catch (error) {
        if (this.#session.alive || performance.now() >= until) throw error
      }
    }
    await this.#reopen(until)
    return await this.#session.run(sql, ANSWER_MS)
  }

  /** @throws TooLate where none can be had that leads to the same server */
  async #reopen(until: number): Promise<Which> {
    for (;;) {
      try {
        const session = await this.#open()
        try {
          const now = await which(session)
          const why = whyAnother(this.#move, now)
          if (why !== null) throw new Error(`${formatAddress(this.#move.to.address)}: ${why}`)
          this.#session = session
          return now
        } catch (error) {
          await session.close()
          throw error
        }
      } catch (error) {
        if (!isComingUp(codeOf(error)) || performance.now() >= until)
          throw new TooLate(
            `the session on ${formatAddress(this.#move.to.address)} broke, and no other one could be opened: ${saidOf(this.#move.to.address, messageOf(error))}`,
          )
      }
      await pause(AGAIN_MS)
    }
  }

  /** Never throws. */
  async close(): Promise<void> {
    await this.#session.close()
  }
}

/** It has crashed: its postmaster is there, and resets connections that it had just taken. */
const isComingUp = (code: string | undefined): boolean =>
  code === SqlState.cannotConnectNow || code === 'ECONNRESET'

async function which(session: SessionLike): Promise<Which> {
  const [rows] = await session.run(statement('switchover/which'), ANSWER_MS)
  return whichRow.parse(rows?.[0])
}
