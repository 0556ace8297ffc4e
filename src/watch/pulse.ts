import { z } from 'zod'
import type { Row, SessionLike } from '../db/pg.ts'
import { statement } from '../db/sql.ts'
import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { Alarm } from './alarm.ts'
import type { Noticed } from './event.ts'
import type { PulseState } from './state.ts'

/** A session that tells when its connection broke, also while nothing is under way on it. */
export interface PulseSession extends SessionLike {
  onLost(told: (error: Error) => void): void
}

export interface PulseOptions {
  readonly database: string
  /** Between two beats of a node that is not waited on; the longest wait on a standby. Milliseconds. */
  readonly intervalMs: number
  /** How much longer an answer may take. */
  readonly timeoutMs: number
  readonly open: (address: HostPort) => Promise<PulseSession>
  readonly notice: (noticed: Noticed) => void
}

const beat = z.object({
  in_recovery: z.boolean(),
  lsn: z.string().nullable(),
  recovery_seen_ms_ago: z.number().int().nullable(),
  receiver: z.number().int().nullable(),
  digest: z.string(),
})
type Beat = z.infer<typeof beat>

/**
 * One session to one node. On a standby a statement is nearly always under way, and is answered in the moment in which it
 * is promoted; a server that dies, or is shut down, ends the connection. So what happens is known at once, for two
 * messages an interval to a standby, the wait and then the digest, and one to a primary. Whatever is new is worth a
 * survey, which judges; nothing is judged here.
 */
export class Pulse {
  readonly address: HostPort
  readonly #options: PulseOptions
  readonly #stop = new AbortController()
  /** Rung by nobody but `wake`: a connection that breaks is no reason to try again sooner. */
  readonly #awake = new Alarm()
  readonly #done: Promise<void>
  #state: PulseState['state'] = 'starting'
  #last: Beat | null = null
  #heardAt: number | null = null
  #silence: PulseState['silence'] = null

  constructor(address: HostPort, options: PulseOptions) {
    this.address = address
    this.#options = options
    this.#done = this.#run()
  }

  get state(): PulseState {
    return {
      address: this.address,
      state: this.#state,
      inRecovery: this.#last?.in_recovery ?? null,
      lsn: this.#last?.lsn == null ? null : BigInt(this.#last.lsn),
      heardMsAgo: this.#heardAt === null ? null : performance.now() - this.#heardAt,
      silence: this.#silence,
    }
  }

  /** Somebody else has heard from the node: no need to wait before the next try. */
  wake(): void {
    if (this.#state === 'down') this.#awake.ring()
  }

  /** Never throws. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #run(): Promise<void> {
    const { intervalMs } = this.#options
    while (!this.#stop.signal.aborted) {
      const began = performance.now()
      const why = await this.#listen().catch((error: unknown) => {
        this.#silence = this.#wasSilent(began) ? this.#oneMore(messageOf(error)) : null
        return messageOf(error)
      })
      if (this.#stop.signal.aborted) return
      if (this.#state !== 'down') this.#tell('lost', why, null)
      this.#state = 'down'
      await this.#awake.wait(intervalMs, this.#stop.signal)
    }
  }

  /** Nothing came for so long that others would have waited: who refuses, or says why he lets nobody in, does so at once. */
  #wasSilent(began: number): boolean {
    const waitedMs = performance.now() - Math.max(began, this.#heardAt ?? 0)
    return waitedMs >= this.#options.timeoutMs / 2
  }

  #oneMore(detail: string): PulseState['silence'] {
    return { tries: (this.#silence?.tries ?? 0) + 1, detail }
  }

  /** Until the connection breaks. @returns or throws why */
  async #listen(): Promise<string> {
    const { open, intervalMs, timeoutMs } = this.#options
    const session = await open(this.address)
    const stop = () => void session.close()
    this.#stop.signal.addEventListener('abort', stop, { once: true })
    let lost: string | null = null
    const broken = new Alarm()
    session.onLost((error) => {
      lost = error.message
      broken.ring()
    })
    try {
      if (this.#stop.signal.aborted) return 'stopped'
      const limitMs = intervalMs + timeoutMs
      await session.run(settings(intervalMs, limitMs), timeoutMs)
      for (let role: Role = 'standby'; lost === null && !this.#stop.signal.aborted; ) {
        role = await this.#beat(session, role, limitMs, broken)
        if (role === 'primary') await broken.wait(intervalMs, this.#stop.signal)
      }
      return lost ?? 'stopped'
    } finally {
      this.#stop.signal.removeEventListener('abort', stop)
      await session.close()
    }
  }

  async #beat(session: SessionLike, role: Role, limitMs: number, broken: Alarm): Promise<Role> {
    try {
      const results = await ask(session, role, limitMs)
      const now = beat.parse(results.at(-1)?.[0])
      this.#judge(now)
      return now.in_recovery ? 'standby' : 'primary'
    } catch (error) {
      if (codeOf(error) !== SqlState.serializationFailure) throw error
      // A standby cancels what stands in the way of its replay: that says nothing of the node.
      await broken.wait(this.#options.intervalMs / 10, this.#stop.signal)
      return 'standby'
    }
  }

  #judge(now: Beat): void {
    const news = newsOf(this.#last, now, this.#state)
    this.#last = now
    this.#heardAt = performance.now()
    this.#state = 'up'
    this.#silence = null
    if (news) this.#tell(news.what, news.detail, news.what === 'promoted' ? now.recovery_seen_ms_ago : null)
  }

  #tell(what: Noticed['what'], detail: string, ageMs: number | null): void {
    const { database, notice } = this.#options
    notice({ kind: 'noticed', database, node: this.address, what, detail, ageMs })
  }
}

/** What a node was at the last beat of this session; before the first one, what is asked of either. */
type Role = 'primary' | 'standby'

/** A standby's wait ends transactions of its own, which no message of several statements may; a primary does not wait. */
async function ask(session: SessionLike, role: Role, limitMs: number): Promise<Row[][]> {
  const [wait, look] = [statement('probe/await'), statement('probe/pulse')]
  if (role === 'primary') return await session.run(`${wait}; ${look}`, limitMs)
  await session.run(wait, limitMs)
  return await session.run(look, limitMs)
}

/** What is new since the last beat, the weightiest first. */
function newsOf(
  before: Beat | null,
  now: Beat,
  state: PulseState['state'],
): Pick<Noticed, 'what' | 'detail'> | null {
  if (before?.in_recovery && !now.in_recovery)
    return { what: 'promoted', detail: 'it is no longer in recovery' }
  if (before && !before.in_recovery && now.in_recovery)
    return { what: 'demoted', detail: 'it is in recovery' }
  if (state !== 'up') return { what: 'back', detail: 'it answers' }
  if (before?.receiver !== now.receiver) {
    const detail = now.receiver === null ? 'its WAL receiver is gone' : 'its WAL receiver has changed'
    return { what: 'receiver-changed', detail }
  }
  if (before?.digest === now.digest) return null
  return { what: 'changed', detail: 'its state, or its copy of the metadata, has changed' }
}

/** The server's own limit as well: it must not go on with what nobody waits for. */
function settings(intervalMs: number, limitMs: number): string {
  return [
    `SET application_name = 'citus-ha watch'`,
    'SET search_path = pg_catalog, pg_temp',
    `SET statement_timeout = ${Math.trunc(limitMs)}`,
    `SET citus_ha.wait_ms = ${Math.trunc(intervalMs)}`,
  ].join('; ')
}

/** The pulses of all nodes that are known, one for each address. */
export class Pulses {
  readonly #options: PulseOptions
  readonly #pulses = new Map<string, Pulse>()
  /** Those of nodes that are no longer known, until they have ended. */
  readonly #leaving = new Set<Promise<void>>()

  constructor(options: PulseOptions) {
    this.#options = options
  }

  /** Begins where a node is new, ends where it is not known any more. */
  follow(addresses: readonly HostPort[]): void {
    const wanted = new Map(addresses.map((address) => [formatAddress(address), address]))
    for (const [key, address] of wanted) {
      if (!this.#pulses.has(key)) this.#pulses.set(key, new Pulse(address, this.#options))
    }
    for (const [key, pulse] of this.#pulses) {
      if (wanted.has(key)) continue
      this.#pulses.delete(key)
      const ended = pulse.stop().finally(() => this.#leaving.delete(ended))
      this.#leaving.add(ended)
    }
  }

  get states(): PulseState[] {
    return [...this.#pulses.values()].map((pulse) => pulse.state)
  }

  /** These have answered somebody else. */
  wake(addresses: readonly HostPort[]): void {
    for (const address of addresses) this.#pulses.get(formatAddress(address))?.wake()
  }

  async stop(): Promise<void> {
    this.follow([])
    await Promise.all(this.#leaving)
  }
}
