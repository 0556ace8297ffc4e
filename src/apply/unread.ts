import { isIP } from 'node:net'
import { type Catalog, COORDINATOR_GROUP } from '../model/catalog.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey } from '../model/observation.ts'
import { streamsFrom } from '../model/server-state.ts'
import { distinctServers } from '../model/servers.ts'
import type { Expectation } from './verify.ts'

/**
 * Standby coordinators that could not be read. What is silent shows no group: these are the coordinator candidates and
 * group 0's secondaries without an answer. Whether they are standbys that live is known by the coordinator: one that is
 * attached to it, and is none of those that answered, may be any of them, and is read through. With none left over they
 * follow nobody.
 */
export function unreadStandbys(
  survey: Survey,
  candidates: readonly HostPort[],
  expected: Catalog,
): Expectation[] {
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator) return []
  const rows = coordinator.citus?.catalog ?? []
  const ofGroup = rows.filter(({ group, isclone }) => group === COORDINATOR_GROUP && !isclone)
  const primaries = rows.filter(({ role }) => role === 'primary')
  const others = rows.filter(({ group }) => group !== COORDINATOR_GROUP)
  const named = [...candidates, ...ofGroup.map(({ address }) => address)]
  const strangers = strangersAt(coordinator, survey)
  return survey.nodes
    .filter((node) => node.kind !== 'answered')
    .filter(({ address }) => named.some((each) => sameAddress(each, address)))
    .filter(({ address }) => ![...primaries, ...others].some((row) => sameAddress(row.address, address)))
    .map((seen): Expectation => {
      const isAttached = strangers.some((host) => mayBe(host, seen))
      return {
        node: seen.address,
        role: isAttached ? 'standby coordinator' : 'coordinator candidate',
        expected,
        firsts: [],
        seen,
        reservation: null,
        isAiling: false,
        upstream: coordinator,
        follows: isAttached,
      }
    })
}

/** From where standbys are attached to the coordinator that are not among those that answered; null: by a socket. */
function strangersAt(coordinator: Answered, { nodes }: Survey): (string | null)[] {
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  const known = distinctServers(answered.filter((node) => streamsFrom(node, coordinator)))
  const attached = coordinator.senders.filter(({ state }) => state === 'streaming' || state === 'catchup')
  return attached.length > known.length ? attached.map(({ clientHost }) => clientHost) : []
}

/** A refused connection is no server that hangs. A name may be any address. */
function mayBe(host: string | null, seen: Exclude<Observation, Answered>): boolean {
  if (seen.kind === 'unreachable' && seen.cause === 'refused') return false
  return host === null || isIP(seen.address.host) === 0 || host === seen.address.host
}
