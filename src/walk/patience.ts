import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Survey, Unreachable } from '../model/observation.ts'
import { silentAt } from '../observe/silence.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { observe } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

/** How often a server is asked. */
const SURVEYS = 3

export interface Asking {
  /** Which of the servers that gave no answer in time are asked again: all, or those that answer others. */
  readonly whom: 'all' | 'those that live'
  /** As for `observe`. */
  readonly promoting?: readonly HostPort[]
}

/**
 * A survey in which a server that gives no answer within the limit of a probe (`detect.timeout`) is asked again, before it is done
 * without, or refused. That limit is for noticing an outage; one whose clients keep every core busy takes longer.
 */
export async function observePatiently(
  access: Access,
  request: WalkRequest,
  clock: Clock,
  { whom, promoting = [] }: Asking,
): Promise<Survey> {
  for (let n = 1; ; n++) {
    const survey = await observe(access, request, clock, promoting)
    const late = lateIn(survey, request).filter((node) => whom === 'all' || lives(survey, node))
    if (late.length === 0 || n === SURVEYS || clock.leftMs <= 0) return survey
    request.signal.throwIfAborted()
    for (const { address, detail } of late)
      request.progress(`${formatAddress(address)}: ${detail}; asking again`)
  }
}

/** Whoever is known to be silent was asked patiently before. */
function lateIn({ nodes }: Survey, { silence }: WalkRequest): Unreachable[] {
  return nodes.filter(
    (node): node is Unreachable =>
      node.kind === 'unreachable' && node.cause === 'timeout' && !silentAt(silence, node.address),
  )
}

function lives({ testimony }: Survey, { address }: Unreachable): boolean {
  return testimony.some(({ about, says }) => says === 'alive' && sameAddress(about, address))
}
