import { isIP } from 'node:net'
import { type Catalog, COORDINATOR_GROUP } from '../model/catalog.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey } from '../model/observation.ts'
import { streamsFrom } from '../model/server-state.ts'
import { distinctServers } from '../model/servers.ts'
import type { Expectation } from './expectation.ts'

/**
 * Standbys that could not be read. What is silent shows no group: these are the coordinator candidates and the registered
 * secondaries without an answer. Whether they are standbys that live is known by their primary: one that is attached to it,
 * and is none of those that answered, may be any of them, and is read through. With none left over they follow nobody;
 * such a one whose row is inactive is out of service, and is not told of.
 * @param primaryOf whom the standbys of a group have to follow
 */
export function unreadStandbys(
  survey: Survey,
  candidates: readonly HostPort[],
  expected: Catalog,
  primaryOf: (group: number) => Answered | null,
): Expectation[] {
  const rows = coordinatorOf(survey.nodes)?.citus?.catalog ?? []
  const primaries = rows.filter(({ role }) => role === 'primary')
  return survey.nodes
    .filter((node) => node.kind !== 'answered')
    .filter(({ address }) => !primaries.some((row) => sameAddress(row.address, address)))
    .flatMap((seen): Expectation[] => {
      const row = rows.find(
        (each) => each.role === 'secondary' && !each.isclone && sameAddress(each.address, seen.address),
      )
      const isCandidate = candidates.some((each) => sameAddress(each, seen.address))
      const group = row?.group ?? (isCandidate ? COORDINATOR_GROUP : null)
      const upstream = group === null ? null : primaryOf(group)
      if (upstream === null) return []
      const isAttached = strangersAt(upstream, survey).some((host) => mayBe(host, seen))
      if (!isAttached && row && !row.isactive) return []
      const role = roleOf(group === COORDINATOR_GROUP, isAttached)
      const known = { firsts: [], reservation: null, isAiling: false, isLocked: false }
      return [{ ...known, node: seen.address, role, expected, seen, upstream, follows: isAttached }]
    })
}

function roleOf(isOfCoordinator: boolean, isAttached: boolean): string {
  if (isOfCoordinator) return isAttached ? 'standby coordinator' : 'coordinator candidate'
  return 'worker standby'
}

/** From where standbys are attached to a primary that are not among those that answered; null: by a socket. */
function strangersAt(primary: Answered, { nodes }: Survey): (string | null)[] {
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  const known = distinctServers(answered.filter((node) => streamsFrom(node, primary)))
  const attached = primary.senders.filter(({ state }) => state === 'streaming' || state === 'catchup')
  return attached.length > known.length ? attached.map(({ clientHost }) => clientHost) : []
}

/** A refused connection is no server that hangs. A name may be any address. */
function mayBe(host: string | null, seen: Exclude<Observation, Answered>): boolean {
  if (seen.kind === 'unreachable' && seen.cause === 'refused') return false
  return host === null || isIP(seen.address.host) === 0 || host === seen.address.host
}
