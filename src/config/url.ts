import { type HostPort, parseAddress } from '../model/node.ts'
import { type ConnectionSettings, isSslMode, SSL_MODES, TLS_VERSIONS, type TlsVersion } from './connection.ts'
import { hear } from './libpq.ts'
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
  /** The `PG*` variable that is to blame; null: the URL. */
  readonly variable: 'PGHOST' | 'PGPORT' | null

  constructor(message: string, variable: UrlError['variable'] = null) {
    super(message)
    this.variable = variable
  }
}

/**
 * Reads `postgres://user:password@host1:port1,host2:port2/dbname?parameter=value`, percent-encoding and all
 * ("Connection URIs" in PostgreSQL's manual). `PGHOST` and `PGPORT` stand in for what it does not say.
 * @throws UrlError
 */
export function parseUrl(url: string, env: Environment): ParsedUrl {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url)
  // Not shown: it may be anything, and we can't tell which part is the password.
  if (!match) {
    throw new UrlError(`expected a URL such as postgres://user@host:port/database${escapingHint(url)}`)
  }
  const [, userinfo = '', hosts = '', path = '', query = ''] = match
  const colon = userinfo.indexOf(':')
  const given = new Map<string, string>()
  const put = (name: string, text: string) => {
    if (text !== '') given.set(name, decode(url, text))
  }
  put('user', colon < 0 ? userinfo : userinfo.slice(0, colon))
  put('password', colon < 0 ? '' : userinfo.slice(colon + 1))
  put('dbname', path)
  const { taken, ignored } = parameters(url, query)
  for (const [name, value] of taken) put(name, value)
  return {
    addresses: addressesOf(url, hosts, given, env),
    database: given.get('dbname') ?? null,
    settings: { ...settingsOf(url, given), ...(ignored.length > 0 && { ignored }) },
  }
}

/** Of two for one parameter the last counts, as for libpq. */
function parameters(
  url: string,
  query: string,
): { readonly taken: readonly [string, string][]; readonly ignored: readonly string[] } {
  const taken: [string, string][] = []
  const ignored: string[] = []
  for (const pair of query === '' ? [] : query.split('&')) {
    const equals = pair.indexOf('=')
    if (equals < 1) throw refuse(url, 'a parameter without "="')
    const name = decode(url, pair.slice(0, equals))
    const value = pair.slice(equals + 1)
    // JDBC's way, and libpq's of long ago.
    if ((name === 'ssl' && value === 'true') || (name === 'requiressl' && value === '1')) {
      taken.push(['sslmode', 'require'])
      continue
    }
    if (name === 'requiressl' && value === '0') continue
    const heard = hear(name, decode(url, value))
    if (heard === 'unknown') throw refuse(url, `unknown parameter ${JSON.stringify(name)}`)
    if (heard === 'refused')
      throw refuse(
        url,
        `citus-ha does not read ${name}: give the values it stands for, here or in PG* variables`,
      )
    if (heard === 'taken') taken.push([name, value])
    else if (heard.ignored !== null) ignored.push(`${heard.ignored} (in ${redact(url)})`)
  }
  return { taken, ignored }
}

function addressesOf(
  url: string,
  authority: string,
  given: ReadonlyMap<string, string>,
  env: Environment,
): HostPort[] {
  const pieces = authority.split(',').map((piece) => /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(piece))
  if (authority.split(',').some((piece) => /^\[[^\]]*$/.test(piece)))
    throw refuse(url, 'an IPv6 address without its "]"')
  const inQuery = (given.get('host') ?? (authority === '' ? given.get('hostaddr') : undefined))?.split(',')
  const portsInQuery = given.get('port')?.split(',')
  const inUrl = inQuery ?? pieces.map((piece) => decode(url, piece?.[1] ?? ''))
  const ports = portsInQuery ?? pieces.map((piece) => piece?.[2] ?? '')
  if (ports.length !== inUrl.length && ports.length !== 1) {
    throw refuse(url, `${inUrl.length} hosts, but ${ports.length} ports`)
  }
  const isNamed = inUrl.some((host) => host !== '')
  // Of several hosts that one names, the variable names them all, as for libpq.
  const hosts = isNamed ? inUrl : (env.PGHOST || 'localhost').split(',')
  const variable = (env.PGPORT || '5432').split(',')
  return hosts.map((host, i) => {
    const port = ports.length === 1 ? ports[0] : ports[i]
    const standIn = variable.length === 1 ? variable[0] : variable[i]
    if (!port && variable.length > 1 && variable.length !== hosts.length)
      throw new UrlError(`${hosts.length} hosts, but ${variable.length} ports`, 'PGPORT')
    return addressOf(
      url,
      { text: host || env.PGHOST || 'localhost', variable: host !== '' && isNamed ? null : 'PGHOST' },
      { text: port || (standIn ?? ''), variable: port ? null : 'PGPORT' },
    )
  })
}

/** A part of an address, and the variable that it is from; null: the URL. */
interface Part {
  readonly text: string
  readonly variable: UrlError['variable']
}

function addressOf(url: string, host: Part, port: Part): HostPort {
  if (host.text.startsWith('/')) {
    const why = 'a Unix socket is no address that other nodes can use'
    throw host.variable ? new UrlError(why, host.variable) : refuse(url, why)
  }
  const bare = host.text.replace(/^\[(.*)\]$/, '$1')
  const address = parseAddress(`${bare.includes(':') ? `[${bare}]` : bare}:${port.text}`)
  if (address) return address
  const isPort = parseAddress(`h:${port.text}`) === null
  const { text, variable } = isPort ? port : host
  if (variable !== null) {
    const what = isPort ? 'a port from 1 to 65535' : 'a host, or several with commas between'
    throw new UrlError(`expected ${what}, got ${JSON.stringify(text)}`, variable)
  }
  const what = isPort ? 'a port that is not between 1 and 65535' : 'a bad host'
  throw refuse(url, `${what}${escapingHint(url)}`)
}

/** What an unescaped password leaves behind the user is taken for a host, a port or a path, and has its @. */
function escapingHint(url: string): string {
  const [, rest = ''] = /^postgres(?:ql)?:\/\/(?:[^@/]*@)?(.*)$/s.exec(url) ?? []
  return rest.includes('@') ? ' (in a user or password, @ : / need percent-encoding)' : ''
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
  const sslpassword = given.get('sslpassword')
  const sslMinProtocol = tlsVersion(url, given, 'ssl_min_protocol_version')
  const sslMaxProtocol = tlsVersion(url, given, 'ssl_max_protocol_version')
  return {
    ...(sslmode !== undefined && { sslmode }),
    ...(sslpassword !== undefined && { sslpassword: new Secret(sslpassword) }),
    ...(sslMinProtocol && { sslMinProtocol }),
    ...(sslMaxProtocol && { sslMaxProtocol }),
    ...(password !== undefined && { password: new Secret(password) }),
    ...(timeout !== undefined && { connectTimeoutMs: Math.max(0, Number(timeout) * 1000) }),
    ...pick(given, 'user'),
    ...pick(given, 'passfile'),
    ...pick(given, 'sslrootcert'),
    ...pick(given, 'sslcert'),
    ...pick(given, 'sslkey'),
    ...pick(given, 'sslcrl'),
    ...pick(given, 'options'),
  }
}

function tlsVersion(url: string, given: ReadonlyMap<string, string>, name: string): TlsVersion | null {
  const word = given.get(name)
  if (word === undefined) return null
  const known = TLS_VERSIONS.find((version) => version.toLowerCase() === word.toLowerCase())
  if (known) return known
  throw refuse(url, `${name}: expected one of ${TLS_VERSIONS.join(', ')}`)
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
