import { isIPv4, isIPv6 } from 'node:net'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Testimony } from '../model/observation.ts'
import type { Sight } from '../model/sight.ts'

export interface AliasOf {
  readonly address: HostPort
  readonly alias: HostPort
}

/**
 * Another text for the address of one server: `pg_dist_node` has a row an address, compared as text, so a
 * secondary's row can point at its primary only by another name of it.
 * @param configured aliases of the configuration file; they win over a derived one
 * @returns null where none is configured and none can be derived (an IPv6 literal, a name without letters)
 */
export function aliasOf(address: HostPort, configured: readonly AliasOf[]): HostPort | null {
  const given = configured.find((entry) => sameAddress(entry.address, address))
  if (given) return given.alias
  const { host, port } = address
  // IPv4-mapped IPv6 (RFC 4291, 2.5.5.2) reaches the same IPv4 listener.
  if (isIPv4(host)) return { host: `::ffff:${host}`, port }
  if (isIPv6(host)) return /^::ffff:\d/i.test(host) ? { host: host.slice('::ffff:'.length), port } : null
  // DNS names are compared without regard to case (RFC 4343).
  const flipped = [...host]
    .map((char) => (char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase()))
    .join('')
  return flipped === host ? null : { host: flipped, port }
}

/**
 * Wherever one is printed beside the other: in capitals, or as IPv6, it looks like a mistake.
 * @param alias of the server that `address` names
 */
export function describeSecondName(alias: HostPort, address: HostPort): string {
  return `${formatAddress(alias)} is a second name of ${formatAddress(address)}, since no two rows of pg_dist_node may have one address`
}

/** Are two addresses texts for one, by the rules by which aliases are derived or by the configuration? */
export function isAliasOf(alias: HostPort, address: HostPort, configured: readonly AliasOf[]): boolean {
  const derived = aliasOf(address, configured)
  return derived !== null && formatAddress(derived) === formatAddress(alias)
}

/**
 * Who does not get by this name as far as by the node's own one; undefined: nobody, of those who were asked. That an asker
 * gets no further by either name is no fault of the name.
 */
export function refutationOf(alias: HostPort, heard: readonly Testimony[]): Testimony | undefined {
  return heard.find(({ about, saw, control }) => {
    const isSaid = saw !== 'no-report' && saw !== 'dying' && control !== null
    return isSaid && sameAddress(about, alias) && reach(saw) < reach(control)
  })
}

function reach(sight: Sight): number {
  return sight === 'reached' ? 2 : sight === 'answered' ? 1 : 0
}
