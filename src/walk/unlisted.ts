import { CHECKS } from '../doctor/checks.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Access } from './access.ts'
import { factsAbout } from './doctor.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const CHECK = 'standby-unregistered'

/**
 * Standbys that stream from servers of ours, and that neither a row nor the configuration names: as doctor finds them (H080), a line
 * each group. Where such a one is promoted, nobody has allowed its address to be in a row, and nobody looks at it.
 */
export async function unlistedStandbys(access: Access, request: WalkRequest, view: View): Promise<string[]> {
  const servers = view.survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const facts = await factsAbout(access, request, view, servers, request.claims.maxLag)
  const found = CHECKS.filter(({ code }) => code === CHECK).flatMap((check) => check.when(facts))
  return found.map(({ group, summary, evidence }) => {
    const listed =
      group === 0
        ? 'under coordinators (--coordinator replaces those: give it once for each)'
        : `under standbys, as { group: ${group}, address: HOST:PORT },`
    // An address that an earlier install allowed is not asked unless this one was given it, too.
    const allowed = (view.coordinator.installed?.spareAddresses ?? [])
      .filter((each) => each.group === group)
      .map(({ address }) => formatAddress(address))
      .filter((address) => !view.survey.nodes.some((node) => formatAddress(node.address) === address))
    const unless =
      allowed.length === 0
        ? ''
        : `; if it is ${allowed.join(' or ')}, which an earlier install allowed and this command was not given, nothing is to be done`
    return `${summary} (${evidence.join(', ')}); name it in the configuration ${listed} and run citus-ha install again${unless}`
  })
}
