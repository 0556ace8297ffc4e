import { setTimeout as pause } from 'node:timers/promises'
import { closeSql } from '../apply/old-primary.ts'
import { runWhole, type SessionLike } from '../db/pg.ts'
import { intArrayLiteral, literal } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Intent } from '../model/intent.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { seenServer } from '../model/servers.ts'
import {
  daemonsEnded,
  forgetHold,
  type Hold,
  holdServer,
  holdsOf,
  releaseServer,
} from '../walk/hold-server.ts'
import type { Move } from './check.ts'
import { intendSql, WARM_UP } from './intents.ts'
import { type Mark, writtenSince } from './late.ts'
import { giveWayTo, Overtaken, type Patience, TooLate } from './patience.ts'
import { MARK, readMark } from './replay.ts'
import { OldSessions } from './sessions.ts'
import { type Holder, holdRecordsOnce, holdShards } from './shards.ts'
import { Target } from './target.ts'

export interface SideOptions {
  readonly move: Move
  /** The database that is asked about the server as a whole first. */
  readonly databases: readonly string[]
  readonly open: (address: HostPort, database: string) => Promise<SessionLike>
  readonly texts: ClientTexts
  /** For locks, in milliseconds. */
  readonly lockTimeoutMs: number
  /** The server ends what sits in its transaction for longer than that, in milliseconds. */
  readonly idleMs: number
}

/** What became of an old primary that was closed. */
export interface Closed {
  /** Who was ended. */
  readonly cutOff: readonly Blocker[]
  /** What kept a session from ending; null: none is left. */
  readonly unended: string | null
  /** In which of the databases it was not retired, by their place. */
  readonly unretired: readonly number[]
}

const ANSWER_MS = 5000
/** Between two tries to count what was committed. */
const COUNT_MS = 100
const SHORTEST_MS = 1
const POLL_MS = 10
/** A transaction ends sooner than that, or may be worth a question. */
const ASK_MS = 20

/** The two servers of one group while they change places. Its sessions are opened before anything is locked. */
export class Side {
  readonly move: Move
  readonly warnings: string[] = []
  /** What was ended because of `force`. */
  readonly ended: Blocker[] = []
  /** Clients of the old primary itself that were ended with what they wanted to write there. */
  readonly cutOff: Blocker[] = []
  readonly sessions: OldSessions
  readonly target: Target
  readonly #options: SideOptions
  readonly #lockTimeoutMs: number
  /** One a database, outside of a transaction: what is seen of the activity stays the same inside. */
  #watches: readonly SessionLike[]
  /** One a database, to hold its shards. */
  #guards: readonly SessionLike[]
  /** For what can be done at the same time as the rest, on the old primary as a whole. */
  readonly #aside: SessionLike
  /** What it is held at. */
  #holds: readonly Hold[] = []
  #held = false
  /** Whether anybody was in another database than those that are switched, when it was quiet. */
  #othersSeen = true
  /** The run whose intent it has. */
  #noted: string | null = null
  /** What had been committed when it was to be replayed for the last time. */
  #mark: Mark | null = null
  /** Transactions that were committed there after that; null: that could not be counted. */
  late: number | null = 0

  private constructor(
    options: SideOptions,
    target: Target,
    [aside, ...old]: readonly [SessionLike, ...SessionLike[]],
  ) {
    this.move = options.move
    this.#aside = aside
    this.#options = options
    this.#lockTimeoutMs = options.lockTimeoutMs
    this.target = target
    this.#watches = old.slice(0, options.databases.length)
    this.#guards = old.slice(options.databases.length)
    this.sessions = new OldSessions(options, () => this.#watches)
  }

  /** @throws what the driver or a server says, everything closed */
  static async open(options: SideOptions): Promise<Side> {
    const { move, databases, open } = options
    const [first = ''] = databases
    const nodes = [first, ...databases, ...databases].map((database) => open(move.from.address, database))
    const results = await Promise.allSettled([open(move.to.address, first), ...nodes])
    const sessions = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    try {
      const failed = results.find((result) => result.status === 'rejected')
      if (failed) throw failed.reason
      await Promise.all(sessions.map((session) => session.run(settingsFor(options), ANSWER_MS)))
      const [there, aside, ...old] = sessions
      if (!there || !aside) throw new Error('a side needs its two servers')
      const target = new Target(move, () => opened(options, move.to.address, first), there)
      const side = new Side(options, target, [aside, ...old])
      await side.#warmUp()
      return side
    } catch (error) {
      await Promise.all(sessions.map((session) => session.close()))
      throw error
    }
  }

  /** Once before it counts: the first time in a session takes longer. */
  async #warmUp(): Promise<void> {
    const shards = 'SELECT count(shard::text) FROM citus_ha.own_shards() AS shard'
    await Promise.all(this.#guards.map((guard) => guard.run(shards, ANSWER_MS)))
    const [holds] = await Promise.all(
      [this.#control, this.#aside].map((session) => holdsOf(session, this.move.group)),
    )
    this.#holds = holds ?? []
    await Promise.all(this.#watches.map((watch) => runWhole(watch, WARM_UP, ANSWER_MS)))
    await this.now()
    await this.sessions.warmUp()
  }

  get #control(): SessionLike {
    const [control] = this.#watches
    if (!control) throw new Error('a side needs a database')
    return control
  }

  /** A session to the old primary's n-th database, outside of a transaction. */
  watch(n: number): SessionLike {
    return this.#watches[n] ?? this.#control
  }

  /**
   * No write to any shard of the old primary from now on, by whomever.
   * @param until `performance.now()`: as long as that it is tried again
   * @param forceAt as that: when whoever is in the way is ended; null: never
   * @throws TooLate with who is in the way; the server's error
   */
  async hold(until: number, forceAt: number | null): Promise<void> {
    const node = this.move.from.address
    // None goes on trying when another has failed: what is undone then is not to be locked anew.
    const tried = await Promise.allSettled(
      this.#guards.map((guard, n) => holdShards(this.#holder(guard, n), until, forceAt)),
    )
    const results = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const failed = tried.find((each) => each.status === 'rejected')
    this.ended.push(...results.flatMap(({ ended }) => ended))
    if (failed) throw failed.reason
    const late = results.find((result) => result.kind === 'late')
    if (!late) return
    this.warnings.push(...late.unasked)
    throw new TooLate(`${formatAddress(node)}: its shards could not be locked: ${late.why}`, late.blockers)
  }

  #holder(guard: SessionLike, n: number): Holder {
    const { texts, move } = this.#options
    return { node: move.from.address, guard, watch: this.watch(n), texts, lockTimeoutMs: this.#lockTimeoutMs }
  }

  /**
   * Writes down on the old primary itself what is about to be done to it: nobody else may be left who knows. A coordinator
   * has it already. It comes to the target with the WAL, and goes there with the change.
   * @param n in which database; default: in each
   * @throws what the driver or the server says
   */
  async note(intent: Intent, n?: number): Promise<void> {
    const sql = this.#noteSql(intent)
    if (n === undefined) await this.#write(sql)
    else if (sql !== null) await runWhole(this.watch(n), sql, ANSWER_MS)
  }

  #noteSql(intent: Intent): string | null {
    if (this.move.group === COORDINATOR_GROUP) return null
    this.#noted = intent.run
    return writeSql(intendSql([intent]))
  }

  /** In each database. */
  async #write(sql: string | null): Promise<void> {
    if (sql !== null) await this.#revive()
    if (sql !== null) await Promise.all(this.#watches.map((watch) => runWhole(watch, sql, ANSWER_MS)))
  }

  /**
   * Citus does no more from there what the new primary is to do, its recovery of transactions first of all; what its daemons
   * had begun is over. Its clients notice nothing of it.
   * @param until `performance.now()`
   * @throws TooLate; Error where that can't be had
   */
  async holdCitus(until: number): Promise<void> {
    this.#held = true
    const { off } = await holdServer(this.#aside, this.#holds.filter(isCitus))
    const [name] = off
    if (name !== undefined)
      throw new Error(
        `${formatAddress(this.move.from.address)}: ${name} does not take effect; it may be set on the command line of the server`,
      )
    await this.rest(until)
  }

  /**
   * The old primary is read-only by default: no transaction that begins from now on writes.
   * @returns since when, by its own clock
   * @throws TooLate where that can't be had
   */
  async forbid(): Promise<string> {
    this.#held = true
    const holds = this.#holds.filter((hold) => !isCitus(hold))
    const { off, at: since } = await holdServer(this.#control, holds)
    const [name] = off
    if (name !== undefined)
      throw new TooLate(
        `${formatAddress(this.move.from.address)}: ${name} is not on: another setting overrides it`,
      )
    return since
  }

  /** What Citus's daemons there had begun before `holdCitus` is over. @throws TooLate */
  async rest(until: number): Promise<void> {
    if (await daemonsEnded(this.#aside, until)) return
    throw new TooLate(
      `${formatAddress(this.move.from.address)}: Citus’s maintenance daemon does not end, and its 2PC recovery might roll back what the new primary prepares. It may be waiting for a node that hangs (see citus-ha status): stop that server, or try again when it answers`,
    )
  }

  /** The old primary's clock. */
  async now(): Promise<string> {
    const [rows] = await this.#control.run('SELECT clock_timestamp()::text AS now', ANSWER_MS)
    return String(rows?.[0]?.now)
  }

  /**
   * Waits for what was open before it was read-only, writers and readers alike: they would go on writing here. Those who
   * wait for our locks would write as soon as we are gone: they are ended, when nobody else has to be waited for.
   * @throws TooLate with who they are; GaveWay where they wait for the fence themselves
   */
  async quiet(since: string, { until, forceAt, waiting }: Patience): Promise<void> {
    let askAt = performance.now() + ASK_MS
    for (let waitMs = SHORTEST_MS; ; waitMs = Math.min(2 * waitMs, POLL_MS)) {
      const { open, held, others } = await this.sessions.openOrHeld(since)
      this.#othersSeen = others.length > 0
      if (open.length + held.length === 0) return
      if (open.length === 0) this.cutOff.push(...(await this.sessions.endHeld()))
      const now = performance.now()
      if (now >= until)
        throw new TooLate(
          'transactions that have touched the group are still open',
          open.length > 0 ? open : held,
        )
      if (forceAt !== null && now >= forceAt)
        this.ended.push(...(await this.sessions.openSince(since, 'end')))
      else if (now >= askAt) {
        giveWayTo(open, await waiting())
        askAt = performance.now() + ASK_MS
      }
      await pause(waitMs)
    }
  }

  /** Whom nothing else keeps from writing loses his connection: of those who were there when it was quiet. @throws TooLate */
  async clear(until: number): Promise<void> {
    if (!this.#othersSeen) return
    this.cutOff.push(...(await this.sessions.endClients('other databases', until)))
  }

  /**
   * The last before another takes its place, noted there as `note` does: nobody writes there, whatever he calls himself, and
   * what has been written until now is replayed. @throws TooLate with who can't be kept from it
   */
  async settle(intent: Intent, until: number): Promise<void> {
    let { writing, open, rows } = await this.sessions.writing('look', this.#noteSql(intent), MARK)
    if (writing.length > 0) {
      // Hardly ever: what it takes is not to be paid for each time.
      ;({ writing, open, rows } = await this.sessions.writing('end', null, MARK))
      this.cutOff.push(...writing)
    }
    if (open.length > 0) throw new TooLate('clients would continue to write to the old primary', open)
    const mark = readMark(rows)
    this.#mark = mark
    await this.target.replayedTo(mark.lsn, until)
  }

  /**
   * No transaction over several nodes is committed from here any more, until the guards' transactions end: Citus writes each down
   * here, in `pg_dist_transaction`, before it prepares it elsewhere. Its COPY does not ask whether the server is read-only
   * (13.2.2; `CitusCopyFrom`), and what it prepares under this group's number the new primary would roll back.
   * @throws TooLate with who keeps it for that long
   */
  async holdRecords(until: number): Promise<void> {
    for (let missing = this.#guards.map((guard, n) => this.#holder(guard, n)); ; ) {
      const results = await Promise.allSettled(missing.map((holder) => holdRecordsOnce(holder, until)))
      // None goes on trying when another has failed: what is undone then is not to be locked anew.
      const failed = results.find((each) => each.status === 'rejected')
      if (failed) throw failed.reason
      const tried = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
      missing = missing.filter((_, n) => !tried[n]?.held)
      if (missing.length === 0) return
      if (performance.now() >= until) {
        const at = formatAddress(this.move.from.address)
        const blockers = tried.flatMap((each) => each.blockers)
        throw new TooLate(`${at}: Citus’s record of transactions (pg_dist_transaction) is held`, blockers)
      }
      // They have come since it was read-only and quiet.
      this.cutOff.push(...(await this.sessions.writing('end', null, null)).writing)
    }
  }

  /** Waits until the target has replayed all that the old primary has written. @throws TooLate */
  async follow(until: number): Promise<void> {
    const { lsn } = readMark((await runWhole(this.#control, MARK, ANSWER_MS)).flat())
    await this.target.replayedTo(lsn, until)
  }

  /** @throws Overtaken where somebody has promoted the target since it was checked */
  async requireStandby(): Promise<void> {
    if (!(await this.target.isPromoted())) return
    const { group, to } = this.move
    throw new Overtaken(
      `group ${group}: another run was faster: ${formatAddress(to.address)} is already promoted`,
    )
  }

  /** Whether all sessions are there that keep its clients from writing. */
  get isHeld(): boolean {
    return this.#guards.every(({ alive }) => alive)
  }

  /**
   * Lets what still reads from the old primary come to its end, ends the rest and what Citus keeps open there, retires it,
   * and lets its shards go. Its clients lose their connections with that: those that call themselves READ WRITE would write here.
   * One that fails keeps none of the others from being done. Never throws.
   */
  async close(patienceMs: number, madeBy: string): Promise<Closed> {
    const ended = await this.#endAll(patienceMs).then(
      (cutOff) => ({ cutOff, unended: null }),
      (error: unknown) => ({ cutOff: [], unended: messageOf(error) }),
    )
    const counted = await this.#written(this.#control).catch(() => null)
    const { group, from, to } = this.move
    const sql = closeSql({ group, successor: to.address, seen: seenServer(from) }, madeBy)
    const retired = await Promise.allSettled(this.#guards.map((guard) => guard.run(sql, ANSWER_MS)))
    const unretired = retired.flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))
    // What they hold keeps others from doing it.
    await Promise.all(unretired.map((n) => this.#guards[n]?.close()))
    // What has retired it was committed there as well.
    this.late = counted ?? (await this.#countAnew(retired.length - unretired.length))
    return { ...ended, unretired }
  }

  async #written(session: SessionLike): Promise<number> {
    return this.#mark === null ? 0 : await writtenSince(session, this.#mark)
  }

  /** On a new session: the server may have crashed, and be starting. @returns null: it could not be counted */
  async #countAnew(own: number): Promise<number | null> {
    const { databases, open, move } = this.#options
    const until = performance.now() + ANSWER_MS
    for (;;) {
      try {
        const session = await open(move.from.address, databases[0] ?? '')
        try {
          return Math.max(0, (await this.#written(session)) - own)
        } finally {
          await session.close()
        }
      } catch {
        if (performance.now() >= until) return null
      }
      await pause(COUNT_MS)
    }
  }

  async #endAll(patienceMs: number): Promise<Blocker[]> {
    const began = performance.now()
    const since = await this.now()
    for (;;) {
      const gone = performance.now() - began
      const open = (await this.sessions.openSince(await this.now())).filter(
        // Others' reads to the last; a client's own that it begins here now go on, read-only.
        ({ pid, client, ageMs }) => pid !== 0 && (client !== null || (ageMs ?? 0) >= gone),
      )
      if (open.length === 0 || gone >= patienceMs) {
        await this.sessions.openSince(since, 'end')
        const held = await this.sessions.endHeld()
        const rest = await this.sessions.endClients('all databases', performance.now() + ANSWER_MS)
        return [...open, ...held, ...rest.filter(isClient)]
      }
      await pause(POLL_MS)
    }
  }

  /** Has it stopped, to come back as a standby that is not held for ever. @throws what `demote` does */
  async demoted(demote: () => Promise<void>): Promise<void> {
    // Of the file only: it stays as it is until it is started again, or reads its configuration.
    await forgetHold(this.#control)
    try {
      await demote()
    } catch (error) {
      await holdServer(this.#control, this.#holds).catch(() => undefined)
      throw error
    }
  }

  /** The old primary as it was. @throws what the driver or the server says */
  async undo(): Promise<void> {
    await Promise.all(this.#guards.map((guard) => (guard.alive ? guard.run('ROLLBACK', ANSWER_MS) : null)))
    await this.#revive()
    if (this.#held) await releaseServer(this.#control)
    if (this.#noted === null) return
    const parameters = [intArrayLiteral([this.move.group]), literal(this.#noted)]
    await this.#write(writeSql(`SELECT citus_ha.forget_intents(${parameters.join(', ')})`))
  }

  async #openOld(database: string): Promise<SessionLike> {
    return await opened(this.#options, this.move.from.address, database)
  }

  /** New sessions in the place of those that were lost. @throws as `open` */
  async #revive(): Promise<void> {
    const revived = this.#watches.map(async (watch, n) =>
      watch.alive ? watch : await this.#openOld(this.#options.databases[n] ?? ''),
    )
    const results = await Promise.allSettled(revived)
    this.#watches = this.#watches.map((watch, n) => {
      const result = results[n]
      return result?.status === 'fulfilled' ? result.value : watch
    })
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** New sessions to an old primary that was stopped, and is started again by now. @throws as `open` */
  async reopen(): Promise<void> {
    await Promise.all([...this.#watches, ...this.#guards].map((session) => session.close()))
    this.#guards = []
    const results = await Promise.allSettled(this.#options.databases.map((each) => this.#openOld(each)))
    // Whatever became of the others: they are closed at the end.
    this.#watches = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  async end(): Promise<void> {
    const all = [this.target, this.#aside, ...this.#watches, ...this.#guards]
    await Promise.all(all.map((session) => session.close()))
  }
}

/** @throws as `open` of the options; what the driver or the server says, the session closed */
async function opened(options: SideOptions, address: HostPort, database: string): Promise<SessionLike> {
  const session = await options.open(address, database)
  try {
    await session.run(settingsFor(options), ANSWER_MS)
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}

/** Of each session to the two servers: what it waits for, and that no standby is waited for, has an end. */
function settingsFor({ lockTimeoutMs, idleMs }: SideOptions): string {
  return [
    `SET application_name = 'citus-ha'`,
    `SET lock_timeout = ${Math.ceil(lockTimeoutMs)}`,
    `SET idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`,
    'SET synchronous_commit = local',
  ].join('; ')
}

const isCitus = ({ name }: Hold): boolean => name.startsWith('citus.')

/** The server may be read-only by default. */
const writeSql = (sql: string): string => `BEGIN READ WRITE; ${sql}; COMMIT`

/** Not a session of Citus that keeps for itself what a client of another node may need again. */
function isClient({ client, application }: Blocker): boolean {
  return client === null && !/^citus_/.test(application ?? '')
}
