import { type HostPort, parseAddress } from '../model/node.ts'
import { type ConnectionSettings, isSslMode, SSL_MODES } from './connection.ts'
import { redact } from './redact.ts'
import { Secret } from './secret.ts'

/** One connection URL as libpq reads it: several servers, one database, one set of settings. */
export interface ParsedUrl {
  readonly addresses: readonly HostPort[]
  readonly database: string | null
  readonly settings: ConnectionSettings
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Why a URL was not understood. The message shows the URL without its password, and no other part of it. */
export class UrlError extends Error {
  override readonly name = 'UrlError'
}

// Meaningful to libpq, meaningless here: each server is asked by itself, under a name of our own.
const IGNORED = new Set(['application_name', 'target_session_attrs'])
const TAKEN = new Set(
  'host port dbname user password passfile sslmode sslrootcert sslcert sslkey connect_timeout options'.split(
    ' ',
  ),
)

/**
 * Reads `postgres://user:password@host1:port1,host2:port2/dbname?parameter=value`, percent-encoding and all
 * ("Connection URIs" in PostgreSQL's manual). `PGHOST` and `PGPORT` stand in for what it does not say.
 * @throws UrlError
 */
export function parseUrl(url: string, env: Environment): ParsedUrl {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url)
  // Not shown: it may be anything, and we can't tell which part is the password.
  if (!match) throw new UrlError('expected a URL such as postgres://user@host:port/database')
  const [, userinfo = '', hosts = '', path = '', query = ''] = match
  const colon = userinfo.indexOf(':')
  const given = new Map<string, string>()
  const put = (name: string, text: string) => {
    if (text !== '') given.set(name, decode(url, text))
  }
  put('user', colon < 0 ? userinfo : userinfo.slice(0, colon))
  put('password', colon < 0 ? '' : userinfo.slice(colon + 1))
  put('dbname', path)
  for (const [name, value] of parameters(url, query)) put(name, value)
  return {
    addresses: addressesOf(url, hosts, given, env),
    database: given.get('dbname') ?? null,
    settings: settingsOf(url, given),
  }
}

function parameters(url: string, query: string): [string, string][] {
  const pairs = query === '' ? [] : query.split('&')
  return pairs.flatMap((pair): [string, string][] => {
    const equals = pair.indexOf('=')
    if (equals < 1) throw refuse(url, 'a parameter without "="')
    const name = decode(url, pair.slice(0, equals))
    const value = pair.slice(equals + 1)
    if (IGNORED.has(name)) return []
    if (name === 'ssl' && value === 'true') return [['sslmode', 'require']] // JDBC's way, libpq takes it too
    if (!TAKEN.has(name)) throw refuse(url, `unknown parameter ${JSON.stringify(name)}`)
    return [[name, value]]
  })
}

function addressesOf(
  url: string,
  authority: string,
  given: ReadonlyMap<string, string>,
  env: Environment,
): HostPort[] {
  const pieces = authority.split(',').map((piece) => /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(piece))
  const inQuery = given.get('host')?.split(',')
  const portsInQuery = given.get('port')?.split(',')
  const hosts = inQuery ?? pieces.map((piece) => decode(url, piece?.[1] ?? ''))
  const ports = portsInQuery ?? pieces.map((piece) => piece?.[2] ?? '')
  if (ports.length !== hosts.length && ports.length !== 1) {
    throw refuse(url, `${hosts.length} hosts, but ${ports.length} ports`)
  }
  return hosts.map((host, i) => {
    const port = (ports.length === 1 ? ports[0] : ports[i]) || env.PGPORT || '5432'
    return addressOf(url, host || env.PGHOST || 'localhost', port)
  })
}

function addressOf(url: string, host: string, port: string): HostPort {
  if (host.startsWith('/')) throw refuse(url, 'a Unix socket is no address that other nodes could know')
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  const address = parseAddress(`${bare.includes(':') ? `[${bare}]` : bare}:${port}`)
  if (address) return address
  const escaping = url.includes('@') ? ' (in a user or password, @ : / need percent-encoding)' : ''
  const what = parseAddress(`h:${port}`) === null ? 'a port that is not 1 to 65535' : 'a bad host'
  throw refuse(url, `${what}${escaping}`)
}

function settingsOf(url: string, given: ReadonlyMap<string, string>): ConnectionSettings {
  const password = given.get('password')
  const sslmode = given.get('sslmode')
  if (sslmode !== undefined && !isSslMode(sslmode)) {
    throw refuse(url, `sslmode: expected one of ${SSL_MODES.join(', ')}`)
  }
  const timeout = given.get('connect_timeout')
  if (timeout !== undefined && !/^-?\d{1,6}$/.test(timeout)) {
    throw refuse(url, 'connect_timeout: expected a whole number of seconds')
  }
  return {
    ...(sslmode !== undefined && { sslmode }),
    ...(password !== undefined && { password: new Secret(password) }),
    ...(timeout !== undefined && { connectTimeoutMs: Math.max(0, Number(timeout) * 1000) }),
    ...pick(given, 'user'),
    ...pick(given, 'passfile'),
    ...pick(given, 'sslrootcert'),
    ...pick(given, 'sslcert'),
    ...pick(given, 'sslkey'),
    ...pick(given, 'options'),
  }
}

function pick<Name extends string>(given: ReadonlyMap<string, string>, name: Name): { [K in Name]?: string } {
  const value = given.get(name)
  return (value === undefined ? {} : { [name]: value }) as { [K in Name]?: string }
}

function decode(url: string, text: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {}
  throw refuse(url, 'bad percent-encoding')
}

function refuse(url: string, why: string): UrlError {
  return new UrlError(`${why}, in ${redact(url)}`)
}
