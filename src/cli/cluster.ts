import { userInfo } from 'node:os'
import type { Command } from 'commander'
import { Option } from 'commander'
import { NO_HOOKS } from '../apply/context.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { resolveTarget } from '../db/target.ts'
import { NO_CLAIMS } from '../diagnose/facts.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { parseAddress } from '../model/node.ts'
import type { Access } from '../walk/access.ts'
import { Connections } from '../walk/connections.ts'
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

/** Runs a command's work on the configured cluster, and closes every connection afterwards. */
export async function withCluster<T>(
  options: ClusterOptions,
  io: Io,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const config = await loadConfig({
    env: io.env,
    ...(options.config === undefined ? {} : { file: options.config }),
    ...(options.coordinator === undefined ? {} : { coordinators: options.coordinator }),
  })
  const [first] = config.coordinators
  if (!first) throw new Error('a loaded configuration has a coordinator')
  const target = await resolveTarget(first.address, first.database, first.settings, io.env)
  for (const warning of target.warnings) io.stderr.write(`warning: ${warning}\n`)
  const access = new Connections(config, io.env)
  try {
    return await work({ config, access, database: config.databases?.[0] ?? target.database })
  } finally {
    await access.close()
  }
}

/** What a walk needs, from the configuration; a command changes what its flags say. */
export function requestOf({ config, database }: Session, io: Io): WalkRequest {
  return {
    database,
    seeds: config.coordinators.map((candidate) => candidate.address),
    claims: { ...NO_CLAIMS, standbys: config.standbys },
    groups: null,
    aliases: [...config.addresses].flatMap(([registered, { alias }]) => {
      const address = parseAddress(registered)
      return address && alias ? [{ address, alias }] : []
    }),
    cluster: config.cluster,
    waitMs: 0,
    deadlineMs: config.apply.deadline,
    lockTimeoutMs: config.apply.lockTimeout,
    forceAfterMs: config.apply.force === 'never' ? null : config.apply.force,
    began: performance.now(),
    decisionWaitMs: config.apply.decisionWait,
    witnessFreshnessMs: config.detect.witnessFreshness,
    mode: 'apply',
    madeBy: `citus-ha (${osUser()})`,
    signal: io.signal,
    hooks: io.hooks ?? NO_HOOKS,
    progress: (line) => io.stderr.write(`${line}\n`),
  }
}

/**
 * The databases a command is about: those of the file, else every database of the coordinator that has Citus,
 * the one of the URL first.
 */
export async function databasesOf(session: Session): Promise<string[]> {
  const { config, access, database } = session
  if (config.databases) return [...config.databases]
  const seeds = config.coordinators.map((candidate) => candidate.address)
  const nodes = await Promise.all(seeds.map((address) => access.prober(database).probe(address)))
  const coordinator = coordinatorOf(nodes)
  if (!coordinator) return [database]
  const others = coordinator.databases.filter((name) => name !== database)
  const seen = await Promise.all(others.map((name) => access.prober(name).probe(coordinator.address)))
  const withCitus = others.filter((_, n) => {
    const node = seen[n]
    return node?.kind === 'answered' && (node.citus?.catalog.length ?? 0) > 0
  })
  return [database, ...withCitus]
}

function osUser(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
