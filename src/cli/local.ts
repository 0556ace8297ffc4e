import { existsSync, lstatSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { Option } from 'commander'
import { type Config, configSchema } from '../config/schema.ts'
import { withService } from '../config/service.ts'
import type { Environment } from '../config/url.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort, parseAddress } from '../model/node.ts'
import { Connections } from '../walk/connections.ts'
import { type Here, lookHere } from '../walk/install-here.ts'
import { loadCluster } from './cluster.ts'
import type { ClusterOptions } from './cluster-options.ts'
import type { Io } from './io.ts'
import type { Login } from './login.ts'
import { onlookersOf } from './onlookers.ts'
import { tellWarning } from './tell.ts'

/** One server of a cluster, reached by its Unix socket. */
export interface LocalSession {
  /** What is said of the cluster, where a file was named; else nothing but defaults. */
  readonly config: Config
  readonly access: Connections
  /** The databases of this server that Citus is in, as they are now. @throws CitusHaError as `lookHere` */
  readonly look: () => Promise<Here[]>
}

/** @param others options, by their attributes, that it excludes beside those that say how other servers are reached */
export function localOption(...others: readonly string[]): Option {
  return new Option(
    '--local',
    'only on the server of this machine, over its Unix socket, as psql finds it',
  ).conflicts(['coordinator', 'password', ...others])
}

/** Where PostgreSQL's packages, and PostgreSQL itself, have the socket. */
const DIRECTORIES = ['/var/run/postgresql', '/tmp']

/**
 * Runs a command's work on the one server that listens on the Unix socket of this machine, as psql finds it: `PGHOST` where it
 * is a directory, `PGPORT`, and the role of `--user`, of `PGUSER`, or of the system's user.
 */
export async function withLocal<T>(
  options: ClusterOptions & Login,
  io: Io,
  work: (session: LocalSession) => Promise<T>,
): Promise<T> {
  const config = await configOf(options, io)
  const { env, warnings } = await withService(io.env)
  for (const warning of warnings) tellWarning(io, warning)
  const user = options.user ?? (env.PGUSER || userInfo().username)
  // The file's own role, its password and its TLS are for the way over the network.
  const own: Config = { ...config, coordinators: [], connection: { user }, addresses: new Map() }
  const access = new Connections(own, env, 'shown', onlookersOf(io))
  try {
    const first = config.databases?.[0] ?? (env.PGDATABASE || 'postgres')
    const server = socketOf(env)
    return await work({ config, access, look: () => lookHere(access, server, first) })
  } finally {
    await access.close()
  }
}

/** A file that nobody has named may be out of this user's reach, and is not looked for. */
async function configOf(options: ClusterOptions, io: Io): Promise<Config> {
  if (options.config === undefined && !io.env.CITUS_HA_CONFIG) return configSchema({}).parse({})
  const { config, warnings } = await loadCluster(options, io)
  for (const warning of warnings) tellWarning(io, warning)
  return config
}

/**
 * Where psql finds the server of this machine.
 * @param directories where the socket is looked for that `PGHOST` does not name
 * @throws CitusHaError where it is not there, or may be anybody's
 */
export function socketOf(env: Environment, directories: readonly string[] = DIRECTORIES): HostPort {
  const port = parseAddress(`h:${env.PGPORT || '5432'}`)?.port
  if (port === undefined) throw new CitusHaError('usage', 'PGPORT: expected a port from 1 to 65535')
  const isNamed = env.PGHOST?.startsWith('/') === true
  const given = isNamed && env.PGHOST ? [env.PGHOST] : directories
  const host = given.find((directory) => existsSync(`${directory}/.s.PGSQL.${port}`))
  if (host === undefined)
    throw new CitusHaError(
      'usage',
      `--local: there is no Unix socket .s.PGSQL.${port} in ${given.join(' or ')}; set PGHOST to its directory and PGPORT to its port`,
    )
  if (!isNamed) refuseStrangers(host, `${host}/.s.PGSQL.${port}`)
  return { host, port }
}

/** Where anybody may make a socket, whoever has made this one would be given the password. @throws CitusHaError */
function refuseStrangers(directory: string, socket: string): void {
  const { mode, uid: owner } = statSync(directory)
  const { uid } = lstatSync(socket)
  if ((mode & 0o002) === 0 || [0, owner, userInfo().uid].includes(uid)) return
  throw new CitusHaError(
    'usage',
    `--local: ${socket} belongs to the user ${uid}, and every user may make a socket in ${directory}; if it is PostgreSQL’s, run the command as that user, or set PGHOST=${directory}`,
  )
}

/** What was refused in one of a server's databases, with its name. @throws what `working` does */
export async function inDatabase<T>(database: string, working: Promise<T>): Promise<T> {
  return await working.catch((error: unknown) => {
    if (!(error instanceof CitusHaError)) throw error
    throw new CitusHaError(error.code, `database ${database}: ${error.message}`, { cause: error })
  })
}

/** Where the same is to be run still, as far as this server knows, a line each. */
export function stillTo({ others }: Here): string[] {
  return others.map(({ group, address }) => `group ${group}: ${formatAddress(address)}`)
}

/** The line that says so, where there are others. @param others as `stillTo` has them */
export function stillLines(others: readonly string[]): string[] {
  if (others.length === 0) return []
  return [
    `--local is about this server only. Run the same command on the primary of each other group where it was not run yet: ${others.join(', ')}`,
  ]
}
