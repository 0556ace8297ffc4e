import postgres from 'postgres'
import {
  CHECK_SETTINGS,
  describeRefusal,
  droppedSettings,
  EndedEarly,
  options,
  READ_SETTINGS,
} from './preparation.ts'
import { codeOf, SqlState } from './sqlstate.ts'
import { postgresOptions, type Target } from './target.ts'

/** A lazily connecting connection to one database of one node, for short read-only statements. */
export interface ProbeConnection {
  /**
   * Runs a statement that gives one row.
   * @throws what the driver or the server says; Error if there is no row; SettingsDropped; EndedEarly
   */
  one(sql: string, parameters?: readonly (string | number)[]): Promise<unknown>
  /** Tells of the server's notices and warnings from now on. */
  onNotice(told: (notice: { readonly code: string; readonly message: string }) => void): void
  /** Cuts the connection, whatever is under way on it. Never throws. */
  close(): Promise<void>
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
    onnotice: ({ code, message }) => told({ code: code ?? '', message: message ?? '' }),
    connection: { ...given.connection, options: `${given.connection.options} ${limits}` },
  })
  /** The check goes with each statement: the driver opens a connection anew by itself. */
  const ask = async (text: string, parameters: readonly (string | number)[]) => {
    if (parameters.length === 0) return (await sql.unsafe(`${CHECK_SETTINGS}; ${text}`)).at(-1)?.[0]
    await sql.unsafe(CHECK_SETTINGS)
    return (await sql.unsafe(text, [...parameters]))[0]
  }
  return {
    one: async (text, parameters = []) => {
      try {
        const row: unknown = await ask(text, parameters)
        isAnswered = true
        if (row === undefined) throw new Error('a probe gave no row')
        return row
      } catch (error) {
        const code = codeOf(error)
        if (!isAnswered && ENDINGS.includes(code ?? '')) throw EndedEarly.of(error, code, version)
        if (code !== SqlState.undefinedObject) throw describeRefusal(error)
        throw droppedSettings((await sql.unsafe(READ_SETTINGS))[0]) ?? error
      }
    },
    onNotice: (listener) => {
      told = listener
    },
    close: async () => {
      await sql.end({ timeout: 0 }).catch(() => undefined)
    },
  }
}
