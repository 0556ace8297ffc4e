import { ConfigError } from '../config/config-error.ts'
import { type ServiceEnvironment, withService } from '../config/service.ts'
import { type Environment, parseUrl, UrlError } from '../config/url.ts'
import { CitusHaError } from '../model/failure.ts'
import { type Loaded, loadCluster } from '../walk/cluster.ts'
import { Connections } from '../walk/connections.ts'
import { requestFor } from '../walk/request.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { type Kinds, LOGGER, OBJECT, SIGNAL, TEXT, URLS } from './options.ts'

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
  /**
   * Ends the call: a change under way is finished or rolled back, and the signal's reason is thrown. Without it the call
   * comes to its own end, and `watch` to none.
   */
  readonly signal?: AbortSignal | undefined
  /** Without it nothing is said. */
  readonly log?: Logger
}

/** A cluster for the length of one call. */
export interface Opened extends Loaded {
  readonly access: Connections
  readonly requestOf: (database: string) => WalkRequest
}

/** Of every call. */
export const CLUSTER_OPTIONS: Kinds<ClusterOptions> = {
  coordinators: URLS,
  database: TEXT,
  settings: OBJECT,
  env: OBJECT,
  signal: SIGNAL,
  log: LOGGER,
}

const SILENT: Logger = { info: () => undefined, warn: () => undefined }

/** One that is never aborted, where none is given. */
export const signalOf = ({ signal }: Pick<ClusterOptions, 'signal'>): AbortSignal =>
  signal ?? new AbortController().signal

/** @throws CitusHaError `configuration`; the signal's reason */
export async function loaded(options: ClusterOptions): Promise<Loaded & { readonly log: Logger }> {
  const { coordinators, database, settings, env = {}, signal, log = SILENT } = options
  signal?.throwIfAborted()
  const file = { ...settings, ...(database !== undefined && { databases: [database] }) }
  try {
    requireUrls(coordinators, await withService(env))
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

/** As `--coordinator` would be refused, but by the name that it has here. @throws CitusHaError `configuration` */
function requireUrls(urls: readonly string[], { env, nameOf }: ServiceEnvironment): void {
  if (urls.length === 0)
    throw new CitusHaError('configuration', 'option coordinators: no coordinator: expected one URL at least')
  for (const [n, url] of urls.entries()) {
    try {
      parseUrl(url, env)
    } catch (error) {
      if (!(error instanceof UrlError)) throw error
      const where = error.variable ? nameOf(error.variable) : `option coordinators[${n}]`
      throw new CitusHaError('configuration', `${where}: ${error.message}`, { cause: error })
    }
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
  const signal = signalOf(options)
  const { log, ...found } = await loaded(options)
  const access = new Connections(found.config, found.env)
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
