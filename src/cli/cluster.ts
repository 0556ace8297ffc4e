import { type ConfigSources, defaultFiles } from '../config/load.ts'
import type { LogLevel } from '../config/log-level.ts'
import type { Config } from '../config/schema.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress } from '../model/node.ts'
import type { Access } from '../walk/access.ts'
import { type Loaded, loadCluster as load } from '../walk/cluster.ts'
import { Connections } from '../walk/connections.ts'
import { databasesIn } from '../walk/databases.ts'
import { requestFor } from '../walk/request.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { asTyped, type ClusterOptions } from './cluster-options.ts'
import { unlessInterrupted } from './interrupted.ts'
import type { Io } from './io.ts'
import { loggedIn } from './login.ts'
import { onlookersOf } from './onlookers.ts'
import { tellDetail, tellProgress, tellWarning } from './tell.ts'

export { addClusterOptions, asTyped, type ClusterOptions } from './cluster-options.ts'

/** A configured cluster for the length of one command. */
export interface Session {
  readonly config: Config
  readonly access: Access
  /** The database of the first coordinator's URL, as psql would choose it. */
  readonly database: string
}

/**
 * What a command line and its environment say of the configuration.
 * @param files where one is looked for that is not named
 */
export function sourcesOf(
  { config, coordinator }: ClusterOptions,
  { env, etc }: Pick<Io, 'env' | 'etc'>,
  files: readonly string[] = defaultFiles(env, etc),
): ConfigSources {
  return {
    env,
    defaultFiles: files,
    ...(config === undefined ? {} : { file: config }),
    ...(coordinator === undefined ? {} : { coordinators: coordinator }),
  }
}

/** The configuration as flags, environment and file say it. @throws ConfigError */
export async function loadCluster(
  options: ClusterOptions,
  io: Pick<Io, 'env' | 'etc'>,
  files?: readonly string[],
): Promise<Loaded> {
  return await load(sourcesOf(options, io, files))
}

/** Who reads what a command prints: the person who typed it; or a log, a tool's hook, whomever those pass it on to. */
export type Audience = 'person' | 'log'

export function audienceOf({ logLevel }: { readonly logLevel: LogLevel }): Audience {
  return logLevel === 'silent' ? 'person' : 'log'
}

/**
 * Runs a command's work on the configured cluster, and closes every connection afterwards. Who interrupts it is not kept by a
 * node that is silent, as long as nothing was done but to look.
 * @param nature `look`: it never does anything else
 */
export async function withCluster<T>(
  options: ClusterOptions,
  io: Io,
  work: (session: Session) => Promise<T>,
  audience: Audience = 'log',
  nature: 'look' | 'change' = 'change',
): Promise<T> {
  const loaded = await loadCluster(options, io)
  const { config, env, database, warnings } = options.login
    ? await loggedIn(loaded, options.login, io)
    : loaded
  tellOrigin(loaded, io)
  for (const warning of warnings) tellWarning(io, warning)
  const clientTexts = audience === 'person' ? 'shown' : undefined
  const access = new Connections(config, env, clientTexts, onlookersOf(io))
  try {
    const working = work({ config, access, database })
    return await unlessInterrupted(working, io.signal, () => nature === 'look' || access.onlyLooked)
  } catch (error) {
    if (!(error instanceof CitusHaError)) throw error
    const typed = asTyped(options)
    const lines = error.lines?.map(typed) ?? null
    throw new CitusHaError(error.code, typed(error.message), { cause: error, lines })
  } finally {
    await access.close()
  }
}

/** Where the configuration is from, for whoever wonders. */
export function tellOrigin({ config, origin }: Loaded, io: Io): void {
  const { file, coordinators } = origin
  const from = file === null ? 'no configuration file is read' : `${file.path} is read (${file.by})`
  const addresses = config.coordinators.map(({ address }) => formatAddress(address)).join(', ')
  tellDetail(io, `${from}; coordinators from ${coordinators}: ${addresses}`)
}

/** What a walk needs, from the configuration; a command changes what its flags say. */
export function requestOf({ config, database }: Session, io: Io): WalkRequest {
  return requestFor(config, database, { ...io, progress: (line) => tellProgress(io, line) })
}

/** The databases a command is about. */
export async function databasesOf(session: Session): Promise<string[]> {
  return (await databasesSeen(session)) ?? [session.database]
}

/** The same; null where no coordinator answers, and nobody can say which there are. */
export async function databasesSeen({ config, access, database }: Session): Promise<string[] | null> {
  const seeds = config.coordinators.map((candidate) => candidate.address)
  return await databasesIn(access, config, database, seeds)
}
