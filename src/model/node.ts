/** Where a PostgreSQL server listens. `host` is a DNS name or an IP literal without brackets. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `host:port`, with an IPv6 literal in brackets. The one form in which addresses are shown and compared. */
export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Same registered name and port. Two spellings of one server are *not* equal: Citus compares text. */
export function sameAddress(a: HostPort, b: HostPort): boolean {
  return a.host === b.host && a.port === b.port
}

const LOOPBACK = /^(|localhost|127\.\d+\.\d+\.\d+|::1|\/.*)$/i

/** Whether a host is whoever looks it up: the machine itself, by name, address or Unix socket. */
export function isLoopback({ host }: Pick<HostPort, 'host'>): boolean {
  return LOOPBACK.test(host)
}

// RFC 1123 labels (underscores are common in container names), or anything an IPv6 literal may contain.
const LABEL = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*\\.?$`)
const IPV6 = /^[0-9A-Fa-f:.]+(?:%[\w.]+)?$/

/**
 * Reads `host:port` or `[ipv6]:port`.
 * @returns null where the text is no address: no port, a port outside 1..65535, a host no resolver takes.
 */
export function parseAddress(text: string): HostPort | null {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text)
  if (!match) return null
  const [, bracketed, plain, digits] = match
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  const wellFormed = bracketed === undefined ? HOST.test(host) && host.length <= 253 : IPV6.test(host)
  return wellFormed && port >= 1 && port <= 65535 ? { host, port } : null
}
