import type { Command } from 'commander'
import { Option } from 'commander'
import type { LogLevel } from '../config/log-level.ts'
import type { Config } from '../config/schema.ts'
import type { Access } from '../walk/access.ts'
import { type Loaded, loadCluster as load } from '../walk/cluster.ts'
import { Connections } from '../walk/connections.ts'
import { databasesIn } from '../walk/databases.ts'
import { requestFor } from '../walk/request.ts'
import type { WalkRequest } from '../walk/walk.ts'
import { type Io, plain } from './io.ts'

/** Options of every command that talks to a cluster. */
export interface ClusterOptions {
  readonly config?: string
  readonly coordinator?: readonly string[]
}

export function addClusterOptions(command: Command): Command {
  return command
    .addOption(new Option('--config <file>', 'configuration file, YAML or JSON').env('CITUS_HA_CONFIG'))
    .option(
      '--coordinator <url>',
      'URL of a coordinator, such as postgres://citus_ha@cn1.example:5432/app; repeatable',
      (url: string, before: readonly string[] = []) => [...before, url],
    )
}

/** A configured cluster for the length of one command. */
export interface Session {
  readonly config: Config
  readonly access: Access
  /** The database of the first coordinator's URL, as psql would choose it. */
  readonly database: string
}

/** The configuration as flags, environment and file say it. @throws ConfigError */
export async function loadCluster(
  { config, coordinator }: ClusterOptions,
  { env }: Pick<Io, 'env'>,
): Promise<Loaded> {
  return await load({
    env,
    ...(config === undefined ? {} : { file: config }),
    ...(coordinator === undefined ? {} : { coordinators: coordinator }),
  })
}

/** Who reads what a command prints: the person who typed it; or a log, a tool's hook, whomever those pass it on to. */
export type Audience = 'person' | 'log'

export function audienceOf({ logLevel }: { readonly logLevel: LogLevel }): Audience {
  return logLevel === 'silent' ? 'person' : 'log'
}

/** Runs a command's work on the configured cluster, and closes every connection afterwards. */
export async function withCluster<T>(
  options: ClusterOptions,
  io: Io,
  work: (session: Session) => Promise<T>,
  audience: Audience = 'log',
): Promise<T> {
  const { config, database, warnings } = await loadCluster(options, io)
  for (const warning of warnings) io.stderr.write(`warning: ${plain(warning)}\n`)
  const access = new Connections(config, io.env, audience === 'person' ? 'shown' : undefined)
  try {
    return await work({ config, access, database })
  } finally {
    await access.close()
  }
}

/** What a walk needs, from the configuration; a command changes what its flags say. */
export function requestOf({ config, database }: Session, io: Io): WalkRequest {
  const progress = (line: string) => io.stderr.write(`${plain(line)}\n`)
  return requestFor(config, database, { ...io, progress })
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
