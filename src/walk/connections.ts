import { readBlockers } from '../apply/blockers.ts'
import type { Config } from '../config/schema.ts'
import type { Environment } from '../config/url.ts'
import type { Onlooker } from '../db/onlooker.ts'
import { type Row, Session, type SessionGuard } from '../db/pg.ts'
import { openProbe, type ProbeConnection } from '../db/postgres.ts'
import { EndedEarly } from '../db/preparation.ts'
import { statement } from '../db/sql.ts'
import { messageOf, SqlState } from '../db/sqlstate.ts'
import type { Onlookers } from '../db/target.ts'
import { resolveTarget, type Target } from '../db/target.ts'
import { currentMigration } from '../install/migrations.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import type { Catalog } from '../model/catalog.ts'
import { CitusHaError, untrustedSchema } from '../model/failure.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Observation, Testimony } from '../model/observation.ts'
import { testify } from '../model/testify.ts'
import { observationOf, wasCut } from '../observe/failure.ts'
import { probe } from '../observe/probe.ts'
import type { Prober } from '../observe/prober.ts'
import { ReceiverHistory } from '../observe/receiver-history.ts'
import { citusRow, heldBack, replayRow } from '../observe/rows.ts'
import { isStill, STAMP, type Verdict, Verdicts } from '../observe/trust.ts'
import { askWitness } from '../observe/witness.ts'
import type { Access } from './access.ts'

/** The cluster as the configuration says it is reached. One small pool a node and database; close it at the end. */
export class Connections implements Access {
  readonly migration = currentMigration()
  readonly clientTexts: ClientTexts
  readonly #config: Config
  readonly #env: Environment
  readonly #probers = new Map<string, NodeProber>()
  readonly #verdicts = new Verdicts()
  /** Options for servers that have ended a session before its first statement. */
  readonly #insisted = new Map<string, string>()
  readonly #onlookers: Onlookers | undefined
  #hasSession = false
  #closed = false

  /**
   * @param clientTexts what the configuration says, unless the caller prints for a person at a terminal only
   * @param onlookers of each connection that is tried, where somebody wants to see them
   */
  constructor(config: Config, env: Environment, clientTexts?: ClientTexts, onlookers?: Onlookers) {
    this.#config = config
    this.#env = env
    this.#onlookers = onlookers
    this.clientTexts = clientTexts ?? (config.discloseStatements ? 'shown' : 'withheld')
  }

  async blockers(node: HostPort, database: string, pid: number, what: 'ask' | 'end'): Promise<Blocker[]> {
    const sql = statement(what === 'ask' ? 'probe/blockers' : 'probe/end-blockers')
    return readBlockers(node, await this.prober(database).blockers(node, sql, pid), this.clientTexts)
  }

  prober(database: string): NodeProber {
    const known = this.#probers.get(database)
    if (known) return known
    const prober = new NodeProber(
      {
        target: (address) => this.#target(address, database),
        insist: (address, error) => this.#insist(address, database, error),
        database,
        verdicts: this.#verdicts,
      },
      this.#config.detect.timeout,
    )
    this.#probers.set(database, prober)
    return prober
  }

  async open(address: HostPort, database: string): Promise<Session> {
    const guard = trustGuard(address, database, this.#verdicts)
    const target = await this.#target(address, database)
    const answered = target.onlooker?.waits(target.connectTimeoutMs)
    try {
      const session = await Session.open(target, guard)
      target.onlooker?.tried(null)
      if (this.#closed) {
        await session.close()
        throw new Error('the connections were closed')
      }
      this.#hasSession = true
      return session
    } catch (error) {
      target.onlooker?.tried(error)
      if (this.#closed || !this.#insist(address, database, error)) throw error
    } finally {
      answered?.()
    }
    return await this.open(address, database)
  }

  /** Servers were only looked at so far: who gives up now leaves nothing half done. */
  get onlyLooked(): boolean {
    return !this.#hasSession
  }

  /** @returns whether it is worth another try, with other options: not a second time for the same */
  #insist(address: HostPort, database: string, error: unknown): boolean {
    const key = place(address, database)
    if (!(error instanceof EndedEarly) || this.#insisted.get(key) === error.options) return false
    this.#insisted.set(key, error.options)
    return true
  }

  /** Closes the probes of all other databases, so that those may be dropped; whoever asks again opens new ones. */
  async keepOnly(databases: readonly string[]): Promise<void> {
    const others = [...this.#probers].filter(([database]) => !databases.includes(database))
    await Promise.all(others.map(([, prober]) => prober.close()))
  }

  async #target(address: HostPort, database: string): Promise<Target> {
    const { addresses, coordinators, connection, detect } = this.#config
    const at = addresses.get(formatAddress(address))?.connect ?? address
    const settings =
      coordinators.find((candidate) => sameAddress(candidate.address, address))?.settings ?? connection
    const target = await resolveTarget(at, database, settings, this.#env)
    // Before a probe's own limit: the connection knows more of why it was late.
    const limitMs = Math.max(100, detect.timeout - 100)
    const given = [target.options, this.#insisted.get(place(address, database))].filter(Boolean)
    const limited = {
      ...target,
      options: given.length === 0 ? undefined : given.join(' '),
      connectTimeoutMs: Math.min(target.connectTimeoutMs, limitMs),
    }
    return this.#onlookers ? { ...limited, onlooker: this.#onlookers(address, limited) } : limited
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#probers.values()].map((prober) => prober.end()))
  }
}

/** Text that reads or calls anything in the schema; names of settings of ours begin like that too. */
const CALLS_OURS = /citus_ha\.\w+\s*\(|\b(FROM|JOIN|INTO|UPDATE|TABLE) citus_ha\./i

const MAKES_OURS = /^CREATE SCHEMA citus_ha;/m

/**
 * What is called in a schema that somebody else made would run as us, a superuser or not. Asked on the session itself: an
 * earlier answer is of a database that may have been dropped and made anew, or had no such schema yet; it counts where the
 * stamp is the same, which is asked for with the session's first message. Once a session is enough where there is one: nobody
 * but a superuser changes a schema that was found in order, and nobody drops a database with a session.
 */
function trustGuard(address: HostPort, database: string, verdicts: Verdicts): SessionGuard {
  const where = place(address, database)
  const last = verdicts.last(where)
  const mayHold = last !== null && last.stamp !== null && last.trust.untrusted.length === 0
  let isTrusted = false
  return {
    first: mayHold ? STAMP : null,
    told: (row) => {
      isTrusted = mayHold && isStill(last, row)
    },
    check: async (sql, ask) => {
      if (isTrusted || !callsOurs(sql)) return
      const { stamp, trust } = await verdicts.on(where, async (asked) => (await ask(asked))[0])
      if (trust.untrusted.length > 0)
        throw new CitusHaError('configuration', untrustedSchema(address, trust.untrusted))
      isTrusted = stamp !== null
      // Not sent all the same, to fail there: somebody may make one before it is run. What makes it fails where one is.
      if (!isTrusted && !MAKES_OURS.test(sql)) throw new NoSchema()
    },
  }
}

const place = (address: HostPort, database: string): string => `${formatAddress(address)} ${database}`

/** What is in an SQL text and is not carried out: string constants and comments. A quoted identifier may have either in it. */
const NOT_CARRIED_OUT = /'(?:[^']|'')*'|--[^\n]*|("(?:[^"]|"")*")/g

/** `await` looks for itself. Who only names a function of ours, to ask for a right on it, calls nothing. */
function callsOurs(sql: string): boolean {
  if (sql.includes(statement('probe/await'))) return false
  return CALLS_OURS.test(sql.replace(NOT_CARRIED_OUT, (_, quoted: string | undefined) => quoted ?? ' '))
}

/** As the server would say it. */
class NoSchema extends Error {
  readonly code = SqlState.invalidSchemaName
  constructor() {
    super('schema "citus_ha" does not exist')
  }
}

class ProbeTimeout extends Error {
  readonly code = 'PROBE_TIMEOUT'
}

interface Probed {
  readonly target: (address: HostPort) => Promise<Target>
  /** Whether a connection that ended so is worth another try. */
  readonly insist: (address: HostPort, error: unknown) => boolean
  readonly database: string
  readonly verdicts: Verdicts
}

/** So old, in milliseconds, may be that a node was silent for a whole limit, and count once more: less than a survey takes. */
const SPARED_MS = 500

class NodeProber implements Prober {
  readonly receivers = new ReceiverHistory()
  readonly #of: Probed
  readonly #timeoutMs: number
  readonly #open = new Map<string, ProbeConnection>()
  /** On which something is under way, and how much. */
  readonly #busy = new Map<ProbeConnection, number>()
  readonly #onlookers = new WeakMap<ProbeConnection, Onlooker>()
  /** What was found of the schema at addresses where a probe could read all there is. */
  readonly #whole = new Map<string, Verdict>()
  readonly #asking = new Map<string, Promise<Testimony>>()
  readonly #spared = new Map<string, { readonly silent: Observation; readonly at: number }>()
  #ended = false

  constructor(of: Probed, timeoutMs: number) {
    this.#of = of
    this.#timeoutMs = timeoutMs
  }

  async probe(address: HostPort): Promise<Observation> {
    const spared = this.#spared.get(formatAddress(address))
    this.#spared.delete(formatAddress(address))
    if (spared && performance.now() - spared.at < SPARED_MS) return spared.silent
    try {
      const { verdicts, database } = this.#of
      const key = formatAddress(address)
      const judge = (ask: (sql: string) => Promise<unknown>) => verdicts.on(place(address, database), ask)
      const last = this.#whole.get(key) ?? null
      const { node, whole } = await this.#within(address, (on) => probe(on, address, { last, judge }))
      if (whole) this.#whole.set(key, whole)
      else this.#whole.delete(key)
      return node
    } catch (error) {
      return observationOf(error, address)
    }
  }

  async rows(address: HostPort): Promise<Catalog | Observation> {
    try {
      const [row] = await this.#within(address, (connection) => connection.each([statement('probe/citus')]))
      return citusRow.parse(row).rows
    } catch (error) {
      return observationOf(error, address)
    }
  }

  spare(silent: Observation): void {
    if (silent.kind !== 'unreachable' || silent.cause !== 'timeout') return
    this.#spared.set(formatAddress(silent.address), { silent, at: performance.now() })
  }

  /** Two who ask one witness about one node at the same time share the answer. */
  async ask(witness: HostPort, about: HostPort, control: HostPort): Promise<Testimony> {
    const key = `${formatAddress(witness)} about ${formatAddress(about)}`
    const known = this.#asking.get(key)
    if (known !== undefined) return await known
    const asked = this.#ask(key, witness, about, control).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return await asked
  }

  /**
   * On a connection that nobody else has meanwhile: the warnings on it are about this one question, and nobody waits for
   * another's.
   */
  async #ask(key: string, witness: HostPort, about: HostPort, control: HostPort): Promise<Testimony> {
    const given = { witness, about, how: 'citus_check_connection_to_node' } as const
    this.#rename(formatAddress(witness), key)
    try {
      const ask = (connection: ProbeConnection) =>
        askWitness(this.#guarded(witness, connection), given, control)
      return await this.#within(witness, ask, key)
    } catch (error) {
      return testify(given, 'no-report', messageOf(error))
    } finally {
      this.#rename(key, formatAddress(witness))
    }
  }

  /** An idle connection is kept for something else from now on, unless that has one: a new one costs the node more than a question. */
  #rename(from: string, to: string): void {
    const connection = this.#open.get(from)
    if (!connection || this.#open.has(to) || this.#busy.has(connection)) return
    this.#open.delete(from)
    this.#open.set(to, connection)
  }

  async held(address: HostPort): Promise<string | null> {
    try {
      const row = await this.#within(address, (connection) => connection.one(statement('probe/replay')))
      return heldBack(replayRow.parse(row))
    } catch {
      // It is in recovery no more, or away: what it shows next says so.
      return null
    }
  }

  /** As `trustGuard`, for a probe: asked on the connection itself, each time, since the driver opens it anew. */
  #guarded(address: HostPort, connection: ProbeConnection): ProbeConnection {
    const { database, verdicts } = this.#of
    const one: ProbeConnection['one'] = async (sql, parameters) => {
      const ask = async (question: string) => [(await connection.one(question)) as Row]
      await trustGuard(address, database, verdicts).check(sql, ask)
      return await connection.one(sql, parameters)
    }
    return { ...connection, one }
  }

  async blockers(address: HostPort, sql: string, pid: number): Promise<unknown> {
    const row = await this.#within(address, (connection) =>
      this.#guarded(address, connection).one(sql, [pid]),
    )
    return (row as { blockers: unknown }).blockers
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((connection) => connection.close()))
    this.#open.clear()
  }

  /** As `close`, and no new connection is opened: what is under way fails now. */
  async end(): Promise<void> {
    this.#ended = true
    await this.close()
  }

  /** A connection that failed or was late is not used again: what it still answers belongs to nobody. */
  async #within<T>(
    address: HostPort,
    work: (connection: ProbeConnection) => Promise<T>,
    key = formatAddress(address),
  ): Promise<T> {
    if (this.#ended) throw new Error('the connections were closed')
    const known = this.#open.get(key)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = new ProbeTimeout(`no answer within ${this.#timeoutMs} ms`)
      timer = setTimeout(() => reject(error), this.#timeoutMs)
    })
    late.catch(() => undefined)
    let connection = known
    let answered: (() => void) | undefined
    try {
      connection ??= await Promise.race([this.#connect(key, address), late])
      answered = this.#onlookers.get(connection)?.waits(this.#timeoutMs)
      const found = await Promise.race([this.#using(connection, work), late])
      this.#onlookers.get(connection)?.tried(null)
      return found
    } catch (error) {
      if (connection) this.#onlookers.get(connection)?.tried(error)
      if (this.#open.get(key) === connection) this.#open.delete(key)
      await connection?.close()
      // Anybody may have ended a connection of an earlier survey: only a new one shows what the node is.
      if ((!known || !wasCut(error)) && !this.#of.insist(address, error)) throw error
    } finally {
      clearTimeout(timer)
      answered?.()
    }
    return await this.#within(address, work, key)
  }

  async #using<T>(connection: ProbeConnection, work: (on: ProbeConnection) => Promise<T>): Promise<T> {
    this.#busy.set(connection, (this.#busy.get(connection) ?? 0) + 1)
    try {
      return await work(connection)
    } finally {
      const left = (this.#busy.get(connection) ?? 1) - 1
      if (left > 0) this.#busy.set(connection, left)
      else this.#busy.delete(connection)
    }
  }

  async #connect(key: string, address: HostPort): Promise<ProbeConnection> {
    const target = await this.#of.target(address)
    // The server's limit before ours: it then answers with an error, and the connection lives.
    const known = this.#open.get(key)
    if (known) return known
    const connection = openProbe(target, Math.max(100, this.#timeoutMs - 100))
    if (target.onlooker) this.#onlookers.set(connection, target.onlooker)
    this.#open.set(key, connection)
    return connection
  }
}
