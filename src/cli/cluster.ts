import type { Command } from 'commander'
import { Option } from 'commander'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { resolveTarget } from '../db/target.ts'
import type { Access } from '../walk/access.ts'
import { Connections } from '../walk/connections.ts'
import { databasesIn } from '../walk/databases.ts'
import { requestFor } from '../walk/request.ts'
import type { WalkRequest } from '../walk/walk.ts'
import type { Io } from './io.ts'

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

/** The configuration as flags, environment and file say it, and what is known of it before any connection. */
export interface Loaded {
  readonly config: Config
  /** The database of the first coordinator's URL, as psql would choose it. */
  readonly database: string
  readonly warnings: readonly string[]
}

/** @throws ConfigError */
export async function loadCluster(options: ClusterOptions, io: Io): Promise<Loaded> {
  const config = await loadConfig({
    env: io.env,
    ...(options.config === undefined ? {} : { file: options.config }),
    ...(options.coordinator === undefined ? {} : { coordinators: options.coordinator }),
  })
  const [first] = config.coordinators
  if (!first) throw new Error('a loaded configuration has a coordinator')
  const { database, warnings } = await resolveTarget(first.address, first.database, first.settings, io.env)
  return { config, database: config.databases?.[0] ?? database, warnings }
}

/** Runs a command's work on the configured cluster, and closes every connection afterwards. */
export async function withCluster<T>(
  options: ClusterOptions,
  io: Io,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { config, database, warnings } = await loadCluster(options, io)
  for (const warning of warnings) io.stderr.write(`warning: ${warning}\n`)
  const access = new Connections(config, io.env)
  try {
    return await work({ config, access, database })
  } finally {
    await access.close()
  }
}

/** What a walk needs, from the configuration; a command changes what its flags say. */
export function requestOf({ config, database }: Session, io: Io): WalkRequest {
  const progress = (line: string) => io.stderr.write(`${line}\n`)
  return requestFor(config, database, { ...io, progress })
}

/** The databases a command is about. */
export async function databasesOf({ config, access, database }: Session): Promise<string[]> {
  const seeds = config.coordinators.map((candidate) => candidate.address)
  return (await databasesIn(access, config, database, seeds)) ?? [database]
}
