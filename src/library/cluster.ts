import { ConfigError } from '../config/config-error.ts'
import type { Environment } from '../config/url.ts'
import { CitusHaError } from '../model/failure.ts'
import { type Loaded, loadCluster } from '../walk/cluster.ts'
import { Connections } from '../walk/connections.ts'
import { requestFor } from '../walk/request.ts'
import type { WalkRequest } from '../walk/walk-request.ts'

/** Told what is going on, a line each. `console` is one, and a pino logger. */
export interface Logger {
  info(line: string): void
  warn(line: string): void
}

/** Which cluster, and until when. */
export interface ClusterOptions {
  /** `postgres://` URLs of coordinator candidates, at least one; which of them is the coordinator is found out. */
  readonly coordinators: readonly string[]
  /** This database alone; else the first URL's, and with `reconcile` and `watch` every other one that has Citus. */
  readonly database?: string
  /** The keys of the configuration file, with their units in the text: `{ apply: { deadline: '10s' } }`. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** Where `PG*` variables and `HOME` are looked up; without it none is read. `process.env` is one. */
  readonly env?: Environment
  /** Ends the call: a change under way is finished or rolled back, and the signal's reason is thrown. */
  readonly signal: AbortSignal
  /** Without it nothing is said. */
  readonly log?: Logger
}

/** A cluster for the length of one call. */
export interface Opened extends Loaded {
  readonly access: Connections
  readonly requestOf: (database: string) => WalkRequest
}

const SILENT: Logger = { info: () => undefined, warn: () => undefined }

/** @throws CitusHaError `configuration`; the signal's reason */
export async function loaded(options: ClusterOptions): Promise<Loaded & { readonly log: Logger }> {
  const { coordinators, database, settings, env = {}, signal, log = SILENT } = options
  signal.throwIfAborted()
  const file = { ...settings, ...(database !== undefined && { databases: [database] }) }
  try {
    // JSON is YAML: one schema reads them all.
    const readFile = async () => JSON.stringify(file)
    const found = await loadCluster({ env, file: 'settings', coordinators, readFile })
    for (const warning of found.warnings) log.warn(warning)
    return { ...found, log }
  } catch (error) {
    if (error instanceof ConfigError) throw new CitusHaError('configuration', error.message, { cause: error })
    throw error
  }
}

/**
 * Runs work on the cluster, and closes every connection afterwards.
 * @throws CitusHaError `configuration`; the signal's reason; what the work throws
 */
export async function withCluster<T>(
  options: ClusterOptions,
  work: (opened: Opened) => Promise<T>,
): Promise<T> {
  const { env = {}, signal } = options
  const { log, ...found } = await loaded(options)
  const access = new Connections(found.config, env)
  // Whatever the caller's reason is: inside, an abort is an AbortError.
  const stop = new AbortController()
  const abort = () => stop.abort()
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  const caller = { signal: stop.signal, progress: (line: string) => log.info(line) }
  const requestOf = (database: string) => requestFor(found.config, database, caller)
  try {
    return await work({ ...found, access, requestOf })
  } catch (error) {
    throw signal.aborted && error instanceof Error && error.name === 'AbortError' ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', abort)
    await access.close()
  }
}
