import type { Inspection } from '../model/inspection.ts'
import { MANAGERS } from '../model/manager.ts'
import { formatAddress } from '../model/node.ts'
import { refusal } from '../model/refusal.ts'

/**
 * Other programs that would not know of a promotion, a line each. Pure.
 * @param servers of the group: the old primary and the new one
 */
export function managed(servers: readonly Inspection[], group: number): string[] {
  const seen = servers.flatMap(({ node, managers }) =>
    managers.kind === 'seen' ? managers.value.map((program) => ({ node, program })) : [],
  )
  const programs = [...new Set(seen.map(({ program }) => program))].map((program) => {
    const at = seen.filter((each) => each.program === program).map(({ node }) => formatAddress(node.address))
    return refusal(
      `group ${group}: ${program} decides who its primary is (it is connected to ${at.join(' and ')}); ${MANAGERS[program].otherwise}`,
      `${MANAGERS[program].switchesOver}   # with its own options; citus-ha writes down who was promoted`,
    )
  })
  const unknown = servers.flatMap((server) => {
    const why = whyUnknown(server)
    const at = formatAddress(server.node.address)
    return why === null
      ? []
      : [refusal(`${at}: whether another program manages it could not be read: ${why}`, 'citus-ha doctor')]
  })
  return [...programs, ...unknown]
}

/** A role that sees its own sessions only sees no program, whoever is there. */
function whyUnknown({ node, managers }: Inspection): string | null {
  if (managers.kind === 'unseen') return managers.why
  return managers.value.length === 0 && !node.readsStatistics ? 'pg_read_all_stats is missing' : null
}
