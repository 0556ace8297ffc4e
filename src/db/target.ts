import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../config/config-error.ts'
import type { ConnectionSettings } from '../config/connection.ts'
import { Secret } from '../config/secret.ts'
import type { Environment } from '../config/url.ts'
import type { HostPort } from '../model/node.ts'
import type { Onlooker } from './onlooker.ts'
import { lookUpPassfile } from './passfile.ts'
import { sessionOptions } from './preparation.ts'
import { codeOf, SqlState } from './sqlstate.ts'
import { NO_SSL, planSsl, type SslPlan } from './ssl.ts'
import { ServerStream } from './stream.ts'

/** One server, database and role, with all that libpq would have found out before it connects. */
export interface Target extends HostPort {
  readonly user: string
  readonly database: string
  readonly password: Secret | undefined
  /** Where one was looked for, and why none was found; '' where there is one. */
  readonly noPassword: string
  readonly ssl: SslPlan
  /** Milliseconds for TCP, TLS and authentication together. */
  readonly connectTimeoutMs: number
  /** Command-line options for the session, as they were given; ours come after them. */
  readonly options: string | undefined
  /** To be logged once: such as a password file that was ignored because others may read it. */
  readonly warnings: readonly string[]
  readonly onlooker?: Onlooker
}

/** libpq would wait for ever. */
const CONNECT_TIMEOUT_MS = 10_000

/**
 * What libpq would do for this server: the settings first, then `PG*` variables, then its defaults. A password
 * comes from the settings, `PGPASSWORD`, or the password file, in libpq's order.
 * @param database null: the one psql would take, `PGDATABASE` or the user's name
 * @throws ConfigError on an impossible sslmode, a missing certificate file, or a key that others may read.
 */
export async function resolveTarget(
  { host, port }: HostPort,
  database: string | null,
  settings: ConnectionSettings,
  env: Environment,
): Promise<Target> {
  const home = env.HOME || homedir()
  const user = settings.user ?? (env.PGUSER || systemUser())
  const named = database ?? (env.PGDATABASE || user)
  // As libpq: no TLS on the Unix socket in a directory.
  const ssl = host.startsWith('/') ? NO_SSL : await planSsl(settings, env, home)
  const given = settings.password ?? (env.PGPASSWORD ? new Secret(env.PGPASSWORD) : undefined)
  const passfile = settings.passfile ?? (env.PGPASSFILE || join(home, '.pgpass'))
  const query = { host, port, user, database: named }
  const found = given ? null : await lookUpPassfile(passfile, query, env.CREDENTIALS_DIRECTORY)
  const password =
    given ?? (found?.password === undefined ? settings.typedPassword : new Secret(found.password))
  return {
    ...query,
    password,
    noPassword: password === undefined ? `PGPASSWORD is not set, and ${found?.lacks}` : '',
    ssl,
    connectTimeoutMs: settings.connectTimeoutMs || timeoutOf(env) || CONNECT_TIMEOUT_MS,
    options: settings.options ?? (env.PGOPTIONS || undefined),
    warnings: [
      ...(settings.ignored ?? []),
      ...ssl.warnings,
      ...(found?.warning === undefined ? [] : [found.warning]),
    ],
  }
}

function timeoutOf(env: Environment): number {
  const text = env.PGCONNECT_TIMEOUT
  if (!text) return 0
  if (!/^-?\d{1,6}$/.test(text))
    throw new ConfigError('PGCONNECT_TIMEOUT: expected a whole number of seconds')
  return Math.max(0, Number(text) * 1000)
}

function systemUser(): string {
  try {
    return userInfo().username
  } catch {
    throw new ConfigError('no user: this account has no name; say user in the URL, in connection, or PGUSER')
  }
}

/** What `pg` is to be given. Said here and not by its types, so that ours need none of it. */
export interface PgOptions {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password: () => string
  readonly stream: () => ServerStream
  readonly ssl: false
  readonly sslnegotiation: 'postgres'
  /** Milliseconds. */
  readonly connectionTimeoutMillis: number
  readonly application_name: string
  readonly options: string
}

/**
 * Options for a `pg` Client or Pool. TLS and its fallbacks happen below the driver, in {@link ServerStream}, which
 * is why `ssl` is off here. Whoever connects must destroy the connection of a failed attempt: `pg` leaves it open.
 */
export function pgClientConfig(target: Target): PgOptions {
  const { host, port, user, database, password, connectTimeoutMs, options } = target
  return {
    host,
    port,
    user,
    database,
    // A function: with a plain undefined `pg` would look into the password file and PGPASSWORD by itself.
    password: () => {
      if (password === undefined) throw new NoPassword(target)
      return password.reveal()
    },
    stream: () => new ServerStream(target),
    ssl: false,
    sslnegotiation: 'postgres',
    // The stream has the limit; this one is for a server that falls silent in the middle of authentication.
    connectionTimeoutMillis: connectTimeoutMs + 250,
    application_name: 'citus-ha',
    options: sessionOptions(options),
  }
}

/** What `postgres` (porsager) is to be given; spread it first, your own options after it. */
export interface PostgresOptions {
  readonly host: string[]
  readonly port: number[]
  readonly user: string
  readonly database: string
  readonly pass: () => string
  readonly socket: () => ServerStream
  readonly ssl: false
  readonly sslnegotiation: null
  /** Seconds. */
  readonly connect_timeout: number
  readonly connection: { readonly application_name: string; readonly options: string }
}

/**
 * Options for `postgres`. As above, TLS happens in the stream: by itself that driver checks a certificate of an
 * IP address against `localhost`, and talks TLS to a server that has just declined it.
 */
export function postgresOptions(target: Target): PostgresOptions {
  const { host, port, user, database, password, connectTimeoutMs, options } = target
  return {
    host: [host], // lists, since a string is split at each colon of an IPv6 address
    port: [port],
    user,
    database,
    // Never throws: in this driver that would be an unhandled rejection. The server refuses an empty one (`withoutPassword`).
    pass: () => password?.reveal() ?? '',
    socket: () => new ServerStream(target).connect(),
    ssl: false,
    sslnegotiation: null,
    // The stream has the limit, and knows more of why.
    connect_timeout: (connectTimeoutMs + 250) / 1000,
    connection: { application_name: 'citus-ha', options: sessionOptions(options) },
  }
}

/** What a connection failed with: its own error, or, where the server wanted a password and none is known, that. */
export function withoutPassword(error: unknown, target: Target): unknown {
  // Servers have this code for the methods with a password of their own alone: those that ask for one.
  const wanted = codeOf(error) === SqlState.invalidPassword && target.password === undefined
  return wanted ? new NoPassword(target) : error
}

/** Whether a connection failed for want of a password. */
export function isNoPassword(error: unknown): boolean {
  return error instanceof NoPassword
}

/** The server asks for a password and there is none; coded as the server would say it, invalid_password. */
class NoPassword extends Error {
  override readonly name = 'NoPassword'
  readonly code = SqlState.invalidPassword
  constructor({ user, noPassword }: Target) {
    super(`the server asks for a password for ${user}, and none is known: ${noPassword}`)
  }
}

/** Makes the onlooker of a connection that is tried now. `node`: as the caller calls it; `target`: where that is. */
export type Onlookers = (node: HostPort, target: Target) => Onlooker
