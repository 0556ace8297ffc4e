import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { distinctServers } from '../model/servers.ts'
import { findInDoubt, type Reached, type Resolved, resolveInDoubt } from '../recover/recover.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { clusterName, type View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 5_000
const ENDING_MS = 2_000

/**
 * Resolves, or only looks at, what earlier changes left prepared on any writable node that answers. Holds the
 * change lock meanwhile, so no change is running. Every wait ends at the walk's deadline, or shortly after.
 */
export async function recoverNow(
  access: Access,
  request: WalkRequest,
  { survey, coordinator }: Pick<View, 'survey' | 'coordinator'>,
  mode: 'resolve' | 'look',
  clock: Clock,
): Promise<Resolved[]> {
  const cluster = clusterName(request, coordinator)
  // Wherever one of ours may be: a gid says itself whose it is.
  const writable = survey.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && !node.inRecovery && node.citus !== null,
  )
  const others = distinctServers(writable).filter((node) => node.instance !== coordinator.instance)
  const reached = [await reach(access, request.database, coordinator.address, clock)]
  try {
    const opened = await Promise.allSettled(
      others.map((node) => reach(access, request.database, node.address, clock)),
    )
    for (const [n, result] of opened.entries()) {
      if (result.status === 'fulfilled') reached.push(result.value)
      else
        request.progress(
          `${formatAddress(others[n]?.address ?? coordinator.address)} could not be read: ${result.reason}`,
        )
    }
    const [first] = reached
    // The lock comes back by itself from a citus-ha that was stopped here: nobody could change anything else.
    const limitMs = clock.limit(LIMIT_MS)
    const settings = `SET lock_timeout = ${Math.ceil(limitMs / 2)}; SET idle_in_transaction_session_timeout = ${2 * LIMIT_MS}`
    await first?.session.run(`${settings}; ${BEGIN}; ${TAKE_CHANGE_LOCK}`, limitMs)
    const scope = { cluster, database: request.database }
    const unasked = (node: HostPort, error: unknown) =>
      request.progress(`${formatAddress(node)} could not be read: ${messageOf(error)}`)
    const limits = { answerMs: () => clock.limit(LIMIT_MS), endingMs: clock.limit(ENDING_MS), unasked }
    return await (mode === 'resolve' ? resolveInDoubt : findInDoubt)(scope, reached, limits)
  } finally {
    await Promise.all(reached.map(({ session }) => session.close()))
  }
}

async function reach(access: Access, database: string, node: HostPort, clock: Clock): Promise<Reached> {
  const session = await access.open(node, database)
  // COMMIT PREPARED would wait for a synchronous standby that is gone; and a citus-ha that was stopped here must not
  // keep the change lock for ever.
  const settings = `SET synchronous_commit = local; SET idle_in_transaction_session_timeout = ${LIMIT_MS}`
  try {
    await session.run(settings, clock.limit(LIMIT_MS))
    return { node, session }
  } catch (error) {
    await session.close()
    throw error
  }
}
