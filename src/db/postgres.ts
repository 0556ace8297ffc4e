import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import {
  CHECK_SETTINGS,
  describeRefusal,
  droppedSettings,
  EndedEarly,
  options,
  READ_SETTINGS,
} from './preparation.ts'
import { literal } from './sql.ts'
import { codeOf, SqlState } from './sqlstate.ts'
import { postgresOptions, type Target, withoutPassword } from './target.ts'

/** A lazily connecting connection to one database of one node, for short read-only statements. */
export interface ProbeConnection {
  /**
   * Runs a statement that gives one row.
   * @throws what the driver or the server says; Error if there is no row; SettingsDropped; EndedEarly
   */
  one(sql: string, parameters?: Values): Promise<unknown>
  /**
   * Runs statements that give one row each, as one message: after one that fails the others are not looked at. Each has to be
   * one SELECT. What comes again and again on one connection is planned once.
   * @returns a row for each
   * @throws as `one`
   */
  each(statements: readonly (string | Question)[]): Promise<unknown[]>
  /** Tells of the server's notices and warnings from now on. */
  onNotice(told: (notice: { readonly code: string; readonly message: string }) => void): void
  /** Cuts the connection, whatever is under way on it. Never throws. */
  close(): Promise<void>
}

type Values = readonly (string | number)[]

/** A statement with parameters, of which the server knows the types by the statement itself. */
export interface Question {
  readonly sql: string
  /** For $1 and so on. */
  readonly parameters: Values
}

/**
 * The driver takes `target_session_attrs` from PGTARGETSESSIONATTRS and then refuses servers by it; a survey
 * asks each of them. A value given overrides the variable, and only its parsed form can be unset again.
 */
function withoutSessionAttributes(given: postgres.Options<Record<string, never>>): postgres.Sql {
  const parsed = postgres({ ...given, target_session_attrs: 'primary' }).options
  return postgres({ ...parsed, target_session_attrs: undefined } as unknown as typeof given)
}

/** How a connection ends that the server has closed; the last two are idle_session_timeout and transaction_timeout. */
const ENDINGS = ['ECONNRESET', 'EPIPE', 'CONNECTION_CLOSED', '57P05', '25P04']

/** @param statementMs the server's own limit for a statement, in milliseconds */
export function openProbe(target: Target, statementMs: number): ProbeConnection {
  const { host, port, ...given } = postgresOptions(target)
  // Not as startup parameters of their own, of which a connection pooler knows a few only.
  const limits = options({
    statement_timeout: `${Math.trunc(statementMs)}`,
    lock_timeout: `${Math.trunc(statementMs)}`,
    // How long Citus, asked whether it reaches another node, tries. Its default is 30 s.
    'citus.node_connection_timeout': `${Math.trunc(statementMs / 2)}`,
    // And it is to try: a connection that it kept says what the other node was then.
    'citus.max_cached_conns_per_worker': '0',
  })
  const plans = new Plans()
  let version: string | null = null
  let isAnswered = false
  let told: Parameters<ProbeConnection['onNotice']>[0] = () => undefined
  const sql = withoutSessionAttributes({
    ...given,
    // Lists are what the driver documents; its types know single ones only.
    ...({ host, port } as unknown as { host: string; port: number }),
    // Two statements on one connection are pipelined; more connections would only cost the node.
    max: 1,
    idle_timeout: 60,
    // No look-up of array types, and nothing left on a server or a pooler in between.
    fetch_types: false,
    prepare: false,
    onparameter: (name: string, value: string) => {
      if (name === 'server_version') version = value
    },
    onclose: () => plans.forget(),
    onnotice: ({ code, message }) => told({ code: code ?? '', message: message ?? '' }),
    connection: { ...given.connection, options: `${given.connection.options} ${limits}` },
  })
  /**
   * The check goes with each message that may be a session's first: the driver opens a connection anew by itself.
   * @returns a row of each statement that gives any: the driver leaves the others out
   */
  const ask = async ({ statements, isChecked }: Message) => {
    const message = isChecked ? statements : [CHECK_SETTINGS, ...statements]
    const results: readonly unknown[] = await sql.unsafe(message.join(';\n'))
    const all = message.length === 1 ? [results] : results
    return all.slice(isChecked ? 0 : 1).map((rows) => (rows as readonly unknown[])[0])
  }
  const askPlanned = async (questions: readonly Question[]) => {
    try {
      return await ask(plans.of(questions))
    } catch (error) {
      plans.doubt()
      if (!NO_SUCH_PLAN.includes(codeOf(error) ?? '')) throw error
      return await ask(plans.of(questions))
    }
  }
  const telling = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      const told = await work()
      isAnswered = true
      return told
    } catch (error) {
      const code = codeOf(error)
      if (!isAnswered && ENDINGS.includes(code ?? '')) throw EndedEarly.of(error, code, version)
      if (code !== SqlState.undefinedObject) throw describeRefusal(withoutPassword(error, target))
      throw droppedSettings((await sql.unsafe(READ_SETTINGS))[0]) ?? error
    }
  }
  return {
    one: (text, parameters = []) =>
      telling(async () => {
        const [row] =
          parameters.length > 0
            ? await askPlanned([{ sql: text, parameters }])
            : await ask({ statements: [text], isChecked: false })
        if (row === undefined) throw new Error('a probe gave no row')
        return row
      }),
    each: (statements) =>
      telling(async () => {
        const rows = await askPlanned(
          statements.map((each) => (typeof each === 'string' ? { sql: each, parameters: [] } : each)),
        )
        if (rows.includes(undefined)) throw new Error('a probe gave no row')
        return rows
      }),
    onNotice: (listener) => {
      told = listener
    },
    close: async () => {
      await sql.end({ timeout: 0 }).catch(() => undefined)
    },
  }
}

/** Another session is behind the connection than the one that has the plans, or one of them is out of date. */
const NO_SUCH_PLAN: readonly string[] = ['26000', '42P05', '0A000']

interface Message {
  readonly statements: readonly string[]
  /** It begins with a plan that only a session whose settings were found in order has: in another it fails at that. */
  readonly isChecked: boolean
}

/**
 * What is prepared in the session of one connection: planning costs the node more than all the rest of a probe. By PREPARE and
 * EXECUTE, so that all goes in one message; from the second time on, since most commands ask once, and at once where there are
 * parameters.
 */
class Plans {
  readonly #names = new Map<string, { readonly name: string; isPrepared: boolean }>()
  /** Nobody else's, should a pooler hand on a session with plans in it. */
  readonly #prefix = `citus_ha_${randomUUID().slice(0, 8)}`
  #isDoubtful = false
  #count = 0

  /** What is to be sent now. */
  of(questions: readonly Question[]): Message {
    const [first] = questions
    const isChecked =
      first !== undefined && !this.#isDoubtful && this.#names.get(first.sql)?.isPrepared === true
    const statements = this.#isDoubtful ? ['DEALLOCATE ALL'] : []
    this.#isDoubtful = false
    for (const { sql, parameters } of questions) {
      const known = this.#names.get(sql)
      const plan = known ?? { name: `${this.#prefix}_${++this.#count}`, isPrepared: false }
      this.#names.set(sql, plan)
      if (!known && parameters.length === 0) {
        statements.push(sql)
        continue
      }
      if (!plan.isPrepared) statements.push(`PREPARE ${plan.name} AS ${sql}`)
      plan.isPrepared = true
      const values = parameters.length === 0 ? '' : `(${parameters.map(literal).join(', ')})`
      statements.push(`EXECUTE ${plan.name}${values}`)
    }
    return { statements, isChecked }
  }

  /** A message has failed: some of what was to be prepared with it is there perhaps, and the rest is not. */
  doubt(): void {
    this.#names.clear()
    this.#isDoubtful = true
  }

  /** The session is over, and they with it. */
  forget(): void {
    this.#names.clear()
    this.#isDoubtful = false
  }
}
