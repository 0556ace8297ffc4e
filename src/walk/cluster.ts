import { type ConfigSources, type Origin, readConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { Environment } from '../config/url.ts'
import { resolveTarget } from '../db/target.ts'

/** A configuration, and what is known by it before any connection. */
export interface Loaded {
  readonly config: Config
  readonly origin: Origin
  /** Where `PG*` variables are looked up. */
  readonly env: Environment
  /** The database of the first coordinator's URL, as psql would choose it. */
  readonly database: string
  readonly warnings: readonly string[]
}

/** @throws ConfigError */
export async function loadCluster(sources: ConfigSources): Promise<Loaded> {
  const { config, origin, env, warnings: said } = await readConfig(sources)
  const [first] = config.coordinators
  if (!first) throw new Error('a loaded configuration has a coordinator')
  const { address, database: named, settings } = first
  const { database, warnings } = await resolveTarget(address, named, settings, env)
  const ignored = config.coordinators.flatMap((candidate) => candidate.settings.ignored ?? [])
  return {
    config,
    origin,
    env,
    database: config.databases?.[0] ?? database,
    warnings: [...new Set([...said, ...ignored, ...warnings])],
  }
}
