import pg from 'pg'
import type { Onlooker } from './onlooker.ts'
import {
  CHECK_SETTINGS,
  describeRefusal,
  droppedSettings,
  EndedEarly,
  READ_SETTINGS,
  SettingsDropped,
} from './preparation.ts'
import { codeOf, SqlState } from './sqlstate.ts'
import { pgClientConfig, type Target } from './target.ts'

export type Row = Readonly<Record<string, unknown>>
export type Parameters = readonly (string | number)[]

/** A server that took the connection and then said nothing, or a network that swallowed the answer. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost'
  readonly code: string
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A connection that owns a transaction, as a change uses it: `Session`, or a test's simulated one. */
export interface SessionLike {
  /** Of the server's backend. */
  readonly pid: number
  /** False once the connection broke: what was under way on it is in doubt. */
  readonly alive: boolean
  /**
   * Runs one or several statements as one message and gives the rows of each.
   * @param limitMs how long to wait for the answer, in milliseconds
   * @param parameters for $1 and so on, where there is one statement
   * @throws the server's error (the session lives on), or SessionLost
   */
  run(sql: string, limitMs: number, parameters?: Parameters): Promise<Row[][]>
  /** Tells of the server's notices and warnings, for people; a session that can't is silent. */
  onNotice?(told: (text: string) => void): void
  /** Tells, once, when the connection breaks while nothing is under way on it. */
  onLost?(told: (error: Error) => void): void
  /** Ends the connection; the server rolls back what is open on it. Never throws, never waits for long. */
  close(): Promise<void>
}

/**
 * A message with transactions of its own in it: one that fails is rolled back, lest the session refuse all that comes next.
 * @throws as `run`
 */
export async function runWhole(session: SessionLike, sql: string, limitMs: number): Promise<Row[][]> {
  try {
    return await session.run(sql, limitMs)
  } catch (error) {
    await session.run('ROLLBACK', limitMs).catch(() => undefined)
    throw error
  }
}

/** Says what may be sent on a session. */
export interface SessionGuard {
  /** A statement that gives one row, asked with the session's first message; null: none. */
  readonly first: string | null
  readonly told: (row: Row | undefined) => void
  /**
   * Throws for a statement that is not to be sent. It may ask something on the session itself first.
   * @param ask runs a statement and gives its rows
   */
  readonly check: (sql: string, ask: (sql: string) => Promise<Row[]>) => Promise<void>
}

/**
 * One connection that owns a transaction. Every wait has a limit: past it the connection is cut, and what
 * was sent on it is unknown until somebody looks.
 */
export class Session implements SessionLike {
  readonly #client: pg.Client
  readonly pid: number
  #lost: SessionLost | null = null
  readonly #guard: SessionGuard | null
  readonly #onlooker: Onlooker | undefined
  #told: ((lost: SessionLost) => void) | null = null

  private constructor(
    client: pg.Client,
    pid: number,
    guard: SessionGuard | null,
    onlooker: Onlooker | undefined,
  ) {
    this.#client = client
    this.pid = pid
    this.#guard = guard
    this.#onlooker = onlooker
    client.on('error', (error) => {
      if (this.#lost) return
      this.#lost = new SessionLost(error.message, codeOf(error) ?? 'ECONNRESET', { cause: error })
      this.#told?.(this.#lost)
    })
  }

  /**
   * @param guard asked before each statement; null: anything may be sent
   * @throws what `pg` or the server says, within the target's time limit; SettingsDropped; EndedEarly
   */
  static async open(target: Target, guard: SessionGuard | null = null): Promise<Session> {
    const client = new pg.Client(pgClientConfig(target))
    // Without a listener an error between two statements would end the process.
    let last: unknown = null
    client.on('error', (error) => {
      last ??= error
    })
    try {
      const version = await connect(client)
      await checkSettings(client, guard, target.connectTimeoutMs).catch((error: unknown) => {
        if (isServerError(error) || error instanceof SettingsDropped || error instanceof SessionLost)
          throw error
        // What the server said last says more than that it is gone.
        throw EndedEarly.of(last ?? error, codeOf(last) ?? codeOf(error), version)
      })
    } catch (error) {
      destroy(client)
      throw describeRefusal(error)
    }
    // `pg` keeps the backend's pid for cancel requests; its types do not say so.
    const pid = (client as pg.Client & { processID?: number | null }).processID ?? 0
    return new Session(client, pid, guard, target.onlooker)
  }

  get alive(): boolean {
    return this.#lost === null
  }

  /** Tells, once, when the connection breaks while nothing is under way on it. */
  onLost(told: (lost: SessionLost) => void): void {
    this.#told = told
    if (this.#lost) told(this.#lost)
  }

  onNotice(told: (text: string) => void): void {
    this.#client.on('notice', ({ message }) => told(message ?? ''))
  }

  async run(sql: string, limitMs: number, parameters?: Parameters): Promise<Row[][]> {
    await this.#guard?.check(sql, async (question) => (await this.#send(question, limitMs))[0] ?? [])
    return await this.#send(sql, limitMs, parameters)
  }

  async #send(sql: string, limitMs: number, parameters?: Parameters): Promise<Row[][]> {
    if (this.#lost) throw this.#lost
    const answered = this.#onlooker?.waits(limitMs)
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(this.#cut(`no answer within ${limitMs} ms`, 'SESSION_TIMEOUT')),
        limitMs,
      )
    })
    try {
      const result: unknown = await Promise.race([this.#query(sql, parameters), limit])
      return (Array.isArray(result) ? result : [result]).map((each: pg.QueryResult<Row>) => each.rows)
    } catch (error) {
      if (isServerError(error)) throw error
      throw error instanceof SessionLost
        ? error
        : this.#cut(messageOf(error), codeOf(error) ?? 'ECONNRESET', error)
    } finally {
      clearTimeout(timer)
      answered?.()
    }
  }

  #query(sql: string, parameters: Parameters | undefined): Promise<pg.QueryResult> {
    return parameters ? this.#client.query(sql, [...parameters]) : this.#client.query(sql)
  }

  async close(): Promise<void> {
    if (this.#lost) return
    const done = this.#client.end().catch(() => undefined)
    const limit = setTimeout(() => this.#cut('did not close', 'SESSION_TIMEOUT'), 1000)
    await done
    clearTimeout(limit)
  }

  #cut(message: string, code: string, cause?: unknown): SessionLost {
    this.#lost ??= new SessionLost(message, code, { cause })
    destroy(this.#client)
    return this.#lost
  }
}

/** @returns the server's version, which it says before anything else; the driver's types do not have that */
async function connect(client: pg.Client): Promise<string | null> {
  let version: string | null = null
  const { connection } = client as pg.Client & { connection: NodeJS.EventEmitter }
  connection.on('parameterStatus', (told: { parameterName: string; parameterValue: string }) => {
    if (told.parameterName === 'server_version') version = told.parameterValue
  })
  await client.connect()
  return version
}

/** @throws SettingsDropped; what the driver says; Error where there is no answer */
async function checkSettings(client: pg.Client, guard: SessionGuard | null, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new SessionLost(`no answer within ${limitMs} ms`, 'SESSION_TIMEOUT')
    timer = setTimeout(() => reject(error), limitMs)
  })
  const ask = async () => {
    try {
      if (!guard?.first) await client.query(CHECK_SETTINGS)
      else guard.told(lastRow(await client.query(`${CHECK_SETTINGS}; ${guard.first}`)))
    } catch (error) {
      if (codeOf(error) !== SqlState.undefinedObject) throw error
      throw droppedSettings((await client.query(READ_SETTINGS)).rows[0]) ?? error
    }
  }
  try {
    await Promise.race([ask(), late])
  } finally {
    clearTimeout(timer)
  }
}

/** Of the last statement of a message of several, which the driver's types do not know. */
function lastRow(results: unknown): Row | undefined {
  return (results as readonly pg.QueryResult<Row>[]).at(-1)?.rows[0]
}

/** Cuts the connection: else the process would wait for a server that may never answer. */
function destroy(client: pg.Client): void {
  // Neither `stream` nor a way to cut it is in the driver's types; `end()` waits for the server.
  const { stream } = (client as pg.Client & { connection: { stream: { destroy(): void } } }).connection
  stream.destroy()
}

/** The server answered, with an error that is not the end of the session. */
function isServerError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity !== 'FATAL' && error.severity !== 'PANIC'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
