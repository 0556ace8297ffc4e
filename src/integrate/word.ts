import { CitusHaError } from '../model/failure.ts'
import { type HostPort, parseAddress } from '../model/node.ts'

/** What a tool's event says of primaries. Pure: from the arguments that the tool gave alone. */
export type Word =
  | {
      readonly kind: 'promoted'
      /** Names under which the tool knows the new primary, the best first; none: the machine it runs on. */
      readonly names: readonly string[]
      /** Its address as the tool knows it; null where it does not say. */
      readonly address: HostPort | null
      readonly says: string
    }
  /** It concerns no change of a primary. */
  | { readonly kind: 'unconcerned'; readonly says: string }

/** The arguments are not such as the tool gives. @returns never; for `throw` */
export function misused(tool: string, expected: string, args: readonly string[]): CitusHaError {
  return new CitusHaError(
    'usage',
    `${tool}: expected ${expected}, got ${args.length} ${args.length === 1 ? 'argument' : 'arguments'}: ${shown(args)}`,
  )
}

function shown(args: readonly string[]): string {
  return args.map((arg) => JSON.stringify(arg)).join(' ') || 'nothing'
}

/** Two arguments as an address; null where they are none. IPv6 without brackets, as libpq and tools write it. */
export function addressOf(host: string, port: string): HostPort | null {
  return parseAddress(`${host.includes(':') ? `[${host}]` : host}:${port}`)
}

/**
 * The node that a word is about, as the configuration and the call know it.
 * @param given `--node`; it stands before what the tool says
 * @param nodes the file's `integrations.nodes`
 * @throws CitusHaError naming what has to be configured
 */
export function nodeOf(
  word: Extract<Word, { kind: 'promoted' }>,
  given: HostPort | undefined,
  nodes: ReadonlyMap<string, HostPort>,
): HostPort {
  const listed = word.names.map((name) => nodes.get(name)).find((node) => node !== undefined)
  const node = given ?? listed ?? word.address
  if (node) return node
  const known =
    word.names.length > 0
      ? `, or one of ${word.names.map((name) => JSON.stringify(name)).join(', ')} under integrations.nodes`
      : ''
  throw new CitusHaError(
    'usage',
    `${word.says}: citus-ha cannot tell which node this is. Add --node HOST:PORT, as pg_dist_node has it${known}`,
  )
}
