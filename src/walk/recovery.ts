import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { findInDoubt, type Reached, type Resolved, resolveInDoubt } from '../recover/recover.ts'
import type { Access } from './access.ts'
import { clusterName } from './act.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk.ts'

const LIMIT_MS = 5_000
const ENDING_MS = 2_000

/**
 * Resolves, or only looks at, what earlier changes left prepared on any writable node that answers. Holds the
 * change lock meanwhile, so no change is running; waits for it no longer than its `lock_timeout`.
 */
export async function recoverNow(
  access: Access,
  request: WalkRequest,
  { survey, coordinator }: Pick<View, 'survey' | 'coordinator'>,
  mode: 'resolve' | 'look',
): Promise<Resolved[]> {
  const cluster = clusterName(request, coordinator)
  // Wherever one of ours may be: a gid says itself whose it is.
  const others = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery && node.citus !== null)
    .filter((node, n, all) => all.findIndex((other) => other.instance === node.instance) === n)
    .filter((node) => node.instance !== coordinator.instance)
  const reached = [await reach(access, request.database, coordinator.address)]
  try {
    const opened = await Promise.allSettled(
      others.map((node) => reach(access, request.database, node.address)),
    )
    for (const [n, result] of opened.entries()) {
      if (result.status === 'fulfilled') reached.push(result.value)
      else
        request.progress(
          `${formatAddress(others[n]?.address ?? coordinator.address)} could not be looked at: ${result.reason}`,
        )
    }
    const [first] = reached
    // The lock comes back by itself from a citus-ha that was stopped here: nobody could change anything else.
    const settings = `SET lock_timeout = ${LIMIT_MS / 2}; SET idle_in_transaction_session_timeout = ${2 * LIMIT_MS}`
    await first?.session.run(`${settings}; ${BEGIN}; ${TAKE_CHANGE_LOCK}`, LIMIT_MS)
    const scope = { cluster, database: request.database }
    return await (mode === 'resolve' ? resolveInDoubt : findInDoubt)(scope, reached, {
      answerMs: LIMIT_MS,
      endingMs: ENDING_MS,
    })
  } finally {
    await Promise.all(reached.map(({ session }) => session.close()))
  }
}

async function reach(access: Access, database: string, node: HostPort): Promise<Reached> {
  const session = await access.open(node, database)
  // COMMIT PREPARED would wait for a synchronous standby that is gone; and a citus-ha that was stopped here must not
  // keep the change lock for ever.
  const settings = `SET synchronous_commit = local; SET idle_in_transaction_session_timeout = ${LIMIT_MS}`
  try {
    await session.run(settings, LIMIT_MS)
    return { node, session }
  } catch (error) {
    await session.close()
    throw error
  }
}
