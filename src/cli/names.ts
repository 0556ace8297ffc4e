/**
 * What all addresses (HOST:PORT) of machines in a domain end with, from a dot of the domain on, and with the port where it is
 * one and the same: `.prod.example:5432`. Empty where there is none, or only one name that has it.
 */
export function commonEnd(addresses: readonly string[]): string {
  const named = [...new Set(addresses)].filter(isInDomain)
  const [first = '', ...others] = named
  if (others.length === 0) return ''
  const shared = others.reduce(sharedEnd, first)
  // A part of a label, or of a port, would be read as something else.
  const end = /\..+:\d+$/.exec(shared)?.[0] ?? ''
  return named.every((address) => address.length > end.length) ? end : ''
}

/** An IP address has no domain. */
function isInDomain(address: string): boolean {
  return /^[^[\]:]+\.[^[\]:.]*[a-z][^[\]:.]*:\d+$/i.test(address)
}

function sharedEnd(one: string, other: string): string {
  let length = 0
  while (length < Math.min(one.length, other.length) && one.at(-1 - length) === other.at(-1 - length))
    length++
  return one.slice(one.length - length)
}
