import type { Event } from './clock.ts'
import { type Data, ServerError, type Write, written } from './copy.ts'
import type { Lock, Mode } from './locks.ts'
import type { Server, Surroundings } from './server.ts'
import { numbers, split, strings } from './sql.ts'
import { answerTo, type Rows } from './statements.ts'

interface Transaction {
  writes: readonly Write[]
  failed: boolean
  readonly begun: number
  /** Begun by BEGIN, not by the message alone. */
  explicit: boolean
  readonly readOnly: boolean
  /** It would be, had its client not said READ WRITE. */
  readonly overrides: boolean
  readonly savepoints: Map<string, Savepoint>
}

interface Savepoint {
  readonly writes: readonly Write[]
  readonly locks: ReadonlySet<Lock>
  readonly local: ReadonlyMap<string, number>
}

const NEVER = new Promise<never>(() => undefined)

/** One connection, from the server's side. */
export class Backend {
  readonly server: Server
  readonly pid: number
  readonly world: Surroundings
  /** `application_name`. */
  readonly application: string
  /** The name of the citus-ha whose connection it is. */
  readonly instance: string | null
  /** Whose client's transaction it works for, on the node where that came in. */
  readonly client: { readonly node: string; readonly pid: number } | null
  /** Ends a wait for synchronous replication: `pg_cancel_backend`. */
  cancel: (() => void) | null = null
  #transaction: Transaction | null = null
  #busy = false
  #hungUp = false
  #dead = false
  #idle: Event | null = null
  readonly #settings = new Map<string, number>()
  /** Until the transaction ends. */
  readonly #local = new Map<string, number>()
  readonly #gone: () => void

  /** @param gone told when the server ends the connection */
  constructor(
    world: Surroundings,
    server: Server,
    gone: () => void,
    application = 'citus-ha',
    client: Backend['client'] = null,
    instance: string | null = null,
  ) {
    this.world = world
    this.server = server
    this.application = application
    this.client = client
    this.instance = instance
    this.#gone = gone
    this.pid = server.connected(this)
  }

  get dead(): boolean {
    return this.#dead
  }

  /** What this transaction sees. */
  get data(): Data {
    return written(this.server.visible, this.#transaction?.writes ?? [])
  }

  /** One message. Never answers once the connection is over. */
  async execute(message: string): Promise<Rows[]> {
    if (this.#idle) this.#idle.work = null
    this.#busy = true
    try {
      const results: Rows[] = []
      for (const statement of split(message)) results.push(await this.#one(statement))
      if (this.#transaction && !this.#transaction.explicit) await this.#commit()
      return results
    } catch (error) {
      if (this.#dead) return await NEVER
      if (!(error instanceof ServerError)) throw error
      if (this.#transaction?.explicit) this.#transaction.failed = true
      else this.#rollback()
      throw error
    } finally {
      this.#busy = false
      if (this.#hungUp) this.die()
      else if (!this.#dead && this.#transaction) this.#waitForNext()
    }
  }

  async #one(statement: string): Promise<Rows> {
    const rows = await this.#control(statement)
    if (rows) return rows
    if (this.#transaction?.failed) throw new ServerError('25P02', 'current transaction is aborted')
    this.#transaction ??= this.#begin(false, statement)
    const answer = await this.alive(answerTo(this, statement))
    return answer
  }

  #begin(explicit: boolean, statement: string): Transaction {
    const insists = /^BEGIN.* READ WRITE/.test(statement)
    const { readOnly } = this.server
    return {
      writes: [],
      failed: false,
      begun: this.world.clock.now,
      explicit,
      readOnly: readOnly && !insists,
      overrides: readOnly && insists,
      savepoints: new Map(),
    }
  }

  /** Since when a transaction is open; null where none is. */
  get openSince(): number | null {
    return this.#transaction?.begun ?? null
  }

  /** Whether its client has said READ WRITE where the default is read-only. */
  get overrides(): boolean {
    return this.#transaction?.overrides === true
  }

  /** How long the transaction has been open, in milliseconds. */
  get ageMs(): number {
    return this.world.clock.now - (this.#transaction?.begun ?? this.world.clock.now)
  }

  /** Statements that begin and end transactions, and settings. */
  async #control(statement: string): Promise<Rows | null> {
    const [word, second, third] = statement.split(' ')
    const open = this.#transaction?.explicit === true
    switch (word) {
      case 'SET':
        if (second === 'LOCAL') this.#local.set(third ?? '', numbers(statement)[0] ?? 0)
        else this.#settings.set(second ?? '', numbers(statement)[0] ?? 0)
        return []
      case 'RESET':
        this.#settings.delete(second ?? '')
        return []
      case 'BEGIN':
        // What was begun by the message itself has done nothing yet that this could not alter.
        this.#transaction = { ...this.#begin(true, statement), writes: this.#transaction?.writes ?? [] }
        return []
      case 'SAVEPOINT':
        this.#mark(second ?? '')
        return []
      case 'ROLLBACK':
      case 'COMMIT':
        if (second === 'TO') {
          this.#backToMark(statement.split(' ').at(-1) ?? '')
          return []
        }
        if (second !== 'PREPARED') {
          await (word === 'COMMIT' && !this.#transaction?.failed ? this.#commit() : this.#rollback())
          return []
        }
        if (open) throw new ServerError('25001', `${statement} cannot run inside a transaction block`)
        await this.alive(
          this.server.resolvePrepared(
            strings(statement)[0] ?? '',
            word === 'COMMIT' ? 'commit' : 'roll back',
            this.pid,
          ),
        )
        return []
      case 'PREPARE':
        await this.#prepare(strings(statement)[0] ?? '')
        return []
      default:
        return null
    }
  }

  #mark(name: string): void {
    const { server } = this
    if (!this.#transaction) throw new ServerError('25P01', 'SAVEPOINT can only be used in transaction blocks')
    const { writes } = this.#transaction
    const savepoint = { writes, locks: server.locks.mark(this), local: new Map(this.#local) }
    this.#transaction.savepoints.set(name, savepoint)
  }

  #backToMark(name: string): void {
    const savepoint = this.#transaction?.savepoints.get(name)
    if (!this.#transaction || !savepoint) throw new ServerError('3B001', 'savepoint does not exist')
    this.#transaction.failed = false
    this.#transaction.writes = savepoint.writes
    this.server.locks.backTo(savepoint.locks, this)
    this.#local.clear()
    for (const [name, value] of savepoint.local) this.#local.set(name, value)
  }

  async #commit(): Promise<void> {
    const writes = this.#transaction?.writes ?? []
    if (writes.length > 0) {
      if (this.server.inRecovery) throw new ServerError('25006', 'read-only transaction')
      const waits = !this.#settings.has('synchronous_commit')
      await this.alive(this.server.write(writes, 'commit', waits, this.pid))
    }
    this.#rollback()
  }

  async #prepare(gid: string): Promise<void> {
    const writes = this.#transaction?.writes ?? []
    const add: Write = (data) => ({ ...data, prepared: new Map(data.prepared).set(gid, writes) })
    this.server.locks.pass(this, this.server.holderOf(gid))
    await this.server.write([add], `prepare ${gid}`, false)
    this.#transaction = null
    this.#local.clear()
  }

  #rollback(): void {
    this.#transaction = null
    this.#local.clear()
    this.cancel = null
    this.server.locks.release(this)
  }

  requireWritable(): void {
    if (this.server.inRecovery || this.#transaction?.readOnly)
      throw new ServerError('25006', 'cannot write in a read-only transaction')
  }

  write(write: Write): void {
    this.requireWritable()
    if (this.#transaction) this.#transaction.writes = [...this.#transaction.writes, write]
  }

  async lock(lock: Lock, mode: Mode = 'exclusive'): Promise<void> {
    const lockMs = this.#setting('lock_timeout')
    const statementMs = this.#setting('statement_timeout')
    const late =
      lockMs <= statementMs
        ? new ServerError('55P03', 'canceling statement due to lock timeout')
        : new ServerError('57014', 'canceling statement due to statement timeout')
    await this.alive(this.server.locks.take(lock, this, mode, Math.min(lockMs, statementMs), late))
  }

  #setting(name: string): number {
    return this.#local.get(name) || this.#settings.get(name) || 60_000
  }

  /** What comes after the connection's end comes to nobody. */
  async alive<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work
      return this.#dead ? await NEVER : result
    } catch (error) {
      if (this.#dead) return await NEVER
      throw error
    }
  }

  #waitForNext(): void {
    const limit = this.#settings.get('idle_in_transaction_session_timeout') ?? 0
    if (limit === 0) return
    this.#idle = this.world.clock.after(limit, null, () => this.terminate())
  }

  /** The server ends the connection, and says so if it can. */
  terminate(): void {
    // A commit that waits for a standby is one.
    this.cancel?.()
    this.die()
    this.#gone()
  }

  /** The client is gone. A statement under way is finished first: PostgreSQL does not look. */
  hangUp(): void {
    this.#hungUp = true
    if (!this.#busy) this.die()
  }

  die(): void {
    if (this.#dead) return
    this.#dead = true
    if (this.#idle) this.#idle.work = null
    this.server.backends.delete(this.pid)
    this.#rollback()
  }
}
