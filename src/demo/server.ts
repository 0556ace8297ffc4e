import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { HostPort } from '../model/node.ts'
import type { Account } from './account.ts'
import type { Binaries } from './binaries.ts'
import { changeSettings, type Settings } from './conf.ts'
import { freezeFamily, isAlive, killFamily, signal, thawFamily } from './processes.ts'
import { waitUntil } from './wait.ts'

/** How to connect; the defaults are the cluster's database and the superuser. */
export interface ConnectOptions {
  readonly database?: string
  readonly user?: string
}

/** Where a server lives and what runs it. */
export interface ServerOptions {
  readonly name: string
  readonly port: number
  /** The data directory; the log is `<directory>.log`. */
  readonly directory: string
  readonly binaries: Binaries
  readonly account: Account | null
  /** The database that `query` and `url` mean by default. */
  readonly database: string
}

const START_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 20_000
const SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** How a server is told to stop: PostgreSQL's three shutdown modes. */
export type StopMode = keyof typeof SIGNALS

/** One PostgreSQL server as a child of this process. */
export class Server implements HostPort {
  readonly name: string
  readonly host = '127.0.0.1'
  readonly port: number
  /** The data directory. */
  readonly directory: string
  readonly #options: ServerOptions
  #child: ChildProcess | null = null
  #starting: Promise<void> | null = null
  #retired = false

  constructor(options: ServerOptions) {
    this.name = options.name
    this.port = options.port
    this.directory = options.directory
    this.#options = options
  }

  /** The postmaster's process id; null where it does not run. */
  get pid(): number | null {
    return this.isRunning ? (this.#child?.pid ?? null) : null
  }

  /** The postmaster runs, perhaps frozen. */
  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  get logFile(): string {
    return `${this.directory}.log`
  }

  /** The last lines of the log; empty before the first start. */
  logTail(lines = 20): string {
    try {
      return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
    } catch {
      return ''
    }
  }

  url(database = this.#options.database, user = 'postgres'): string {
    return `postgres://${encodeURIComponent(user)}@${this.host}:${this.port}/${encodeURIComponent(database)}`
  }

  /**
   * Starts the server and waits until it accepts connections; at once where it runs already.
   * @throws Error with the end of the log when it exits or is not ready within 30 s.
   */
  async start(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = null
    })
    await this.#starting
  }

  async #start(): Promise<void> {
    if (this.isRunning) return
    if (this.#retired) throw new Error(`${this.name}: its cluster was stopped`)
    const { binaries, account } = this.#options
    const log = openSync(this.logFile, 'a', 0o600)
    // Its own session: Ctrl-C in a terminal reaches only us, and we decide the order of things.
    const child = spawn(join(binaries.bindir, 'postgres'), ['-D', this.directory], {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: '/',
      env: serverEnvironment(),
      ...account,
    })
    closeSync(log)
    let failure: Error | null = null
    child.on('error', (error) => {
      failure = error
    })
    child.unref()
    this.#child = child
    try {
      await waitUntil(
        `start of ${this.name}`,
        async () => failure !== null || !this.isRunning || (await this.#postmasterStatus()) === 'ready',
        { limitMs: START_LIMIT_MS, everyMs: 5 },
      )
    } catch (cause) {
      await this.kill()
      throw new Error(`${this.name} is not ready\n${this.logTail()}`, { cause })
    }
    if (failure !== null || !this.isRunning) {
      throw new Error(`${this.name} did not start\n${this.logTail()}`, { cause: failure })
    }
  }

  /** The last line of postmaster.pid: starting, stopping, ready, or standby (recovering, no connections yet). */
  async #postmasterStatus(): Promise<string | null> {
    const text = await readFile(join(this.directory, 'postmaster.pid'), 'utf8').catch(() => '')
    const lines = text.split('\n')
    return Number(lines[0]) === this.#child?.pid ? (lines[7]?.trim() ?? null) : null
  }

  /**
   * Stops the server; one that is frozen goes on first. No error where it does not run.
   * @throws Error when it still runs after `limitMs` (a standby that hangs can hold up `fast`).
   */
  async stop(mode: StopMode = 'fast', limitMs = STOP_LIMIT_MS): Promise<void> {
    const pid = this.pid
    if (pid === null) return
    thawFamily(pid)
    signal(pid, SIGNALS[mode])
    await waitUntil(`${mode} stop of ${this.name}`, () => !this.isRunning, { limitMs, everyMs: 5 })
  }

  /** SIGKILLs the postmaster and every child of it at once, as a power failure would. */
  async kill(): Promise<void> {
    const pid = this.pid
    if (pid === null) return
    const members = killFamily(pid)
    await waitUntil(`kill of ${this.name}`, () => !this.isRunning && !members.some(isAlive), { everyMs: 2 })
  }

  /** SIGSTOPs the postmaster and every child: connections stay open and nobody answers. */
  freeze(): void {
    if (this.pid !== null) freezeFamily(this.pid)
  }

  /** Undoes `freeze`. */
  thaw(): void {
    if (this.pid !== null) thawFamily(this.pid)
  }

  /** From now on it can't be started; one that runs goes on. */
  retire(): void {
    this.#retired = true
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** Promotes a standby and waits until it is out of recovery, looking every 2 ms. */
  async promote(): Promise<void> {
    await this.withClient(
      async (client) => {
        await client.query('select pg_promote(wait => false)')
        await waitUntil(
          `promotion of ${this.name}`,
          async () => (await client.query('select 1 where not pg_is_in_recovery()')).rowCount === 1,
          { everyMs: 2 },
        )
      },
      { database: 'postgres' },
    )
  }

  /** Whether the server is a standby now. */
  async isInRecovery(): Promise<boolean> {
    const sql = 'select pg_is_in_recovery() as standby'
    const [row] = await this.query<{ standby: boolean }>(sql, [], { database: 'postgres' })
    return row?.standby === true
  }

  /**
   * Runs one statement (several, where there are no parameters) in a session of its own.
   * @returns the rows of the last statement.
   */
  async query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    sql: string,
    params: readonly unknown[] = [],
    options: ConnectOptions = {},
  ): Promise<Row[]> {
    return this.withClient(async (client) => {
      const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] =
        params.length > 0 ? await client.query<Row>(sql, [...params]) : await client.query<Row>(sql)
      const last = Array.isArray(result) ? result.at(-1) : result
      return last?.rows ?? []
    }, options)
  }

  /** Opens a session, hands it over, and closes it whatever happens. */
  async withClient<T>(use: (client: pg.Client) => Promise<T>, options: ConnectOptions = {}): Promise<T> {
    const client = await this.connect(options)
    try {
      return await use(client)
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** Opens a session that the caller must `end()`. A server that goes away under it fails only its next query. */
  async connect({ database, user }: ConnectOptions = {}): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.url(database, user),
      ssl: false,
      connectionTimeoutMillis: 10_000,
    })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  /**
   * Changes settings in `postgresql.conf` and, where the server runs, reloads and waits until new sessions see
   * them. What PostgreSQL reads only at its start needs a `restart` after it.
   */
  async configure(settings: Settings): Promise<void> {
    await changeSettings(this.directory, settings)
    if (this.pid !== null) await this.reload()
  }

  /** Has the postmaster read its configuration, pg_hba.conf too, and waits until it has. */
  async reload(): Promise<void> {
    const loaded = 'select pg_conf_load_time()::text as at'
    const before = await this.query<{ at: string }>(loaded, [], { database: 'postgres' })
    if (this.pid !== null) signal(this.pid, 'SIGHUP')
    await waitUntil(
      `reload of ${this.name}`,
      async () => {
        const now = await this.query<{ at: string }>(loaded, [], { database: 'postgres' })
        return now[0]?.at !== before[0]?.at
      },
      { everyMs: 5 },
    )
  }
}

/** Ours without PG* (libpq in the server would take them) and with C messages. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}
