import type { Wire } from '../db/onlooker.ts'
import type { Onlookers, Target } from '../db/target.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import { describeError } from '../walk/describe-error.ts'
import type { Io } from './io.ts'
import { tellDetail } from './tell.ts'
import type { Waiting } from './waiting.ts'

/** Those of a command's connections: they are waited for, and with `-v` each is told of. */
export function onlookersOf(io: Io): Onlookers | undefined {
  const { waiting } = io
  return (
    waiting &&
    onlookers(
      (line) => tellDetail(io, line),
      (on, limitMs) => waiting.begin(on, limitMs),
    )
  )
}

/**
 * @param tell told in a line what came of each connection
 * @param begin told whom is waited for, as `Waiting` is
 */
export function onlookers(
  tell: (line: string) => void,
  begin: Waiting['begin'] = () => () => undefined,
): Onlookers {
  return (node, target) => {
    const began = performance.now()
    let wire: Wire | null = null
    let isTold = false
    return {
      wired: (now) => {
        wire = now
      },
      waits: (limitMs) => begin(formatAddress(node), limitMs),
      tried: (error) => {
        if (isTold) return
        isTold = true
        const after = `${(performance.now() - began).toFixed(1)} ms`
        const came =
          error === null ? `answered after ${after}` : `failed after ${after}: ${describeError(error).line}`
        tell(`${formatAddress(node)} ${came} (${triedAs(node, target, wire)})`)
      },
    }
  }
}

/** As whom, where, and how; nothing secret. */
function triedAs(node: HostPort, { host, port, user, database, ssl }: Target, wire: Wire | null): string {
  const at = { host: wire?.ip ?? host, port }
  const tls = wire === null ? '' : `${wire.tls ?? 'no TLS'}, `
  const elsewhere = sameAddress(node, at) ? '' : `at ${formatAddress(at)}, `
  return `${elsewhere}user ${user}, database ${database}, ${tls}sslmode ${ssl.mode}`
}
