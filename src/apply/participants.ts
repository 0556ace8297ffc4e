import { Session } from '../db/pg.ts'
import { intArrayLiteral } from '../db/sql.ts'
import type { Target } from '../db/target.ts'
import type { HostPort } from '../model/node.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { CopyPlan } from '../model/plan.ts'

/** Limits of one change, in milliseconds. */
export interface ChangeLimits {
  /** How long one round may wait for its locks on a node. */
  readonly lockTimeoutMs: number
  /** How long any one statement may take before the connection counts as lost. */
  readonly statementMs: number
  /** How long the coordinator's commit may wait for synchronous replication. */
  readonly decisionWaitMs: number
}

/** A copy that takes part, with its session and the server it was surveyed on. */
export interface Participant {
  readonly copy: CopyPlan
  readonly session: Session
  readonly surveyed: Answered
}

/**
 * Opens and warms one session for each copy, the coordinator's first in the list, before any lock is taken.
 * @throws the first failure, after closing what was opened
 */
export async function openParticipants(
  copies: readonly CopyPlan[],
  surveyed: (address: HostPort) => Answered,
  connect: (address: HostPort) => Promise<Target>,
  limits: ChangeLimits,
): Promise<Participant[]> {
  const opened = await Promise.allSettled(
    copies.map(async (copy): Promise<Participant> => {
      const session = await Session.open(await connect(copy.node))
      const participant = { copy, session, surveyed: surveyed(copy.node) }
      await session.run(settings(copy, limits), limits.statementMs).catch(async (error: unknown) => {
        await session.close()
        throw error
      })
      return participant
    }),
  )
  const participants = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = opened.findIndex((result) => result.status === 'rejected')
  const failure = opened[failed]
  if (failure?.status !== 'rejected') return participants
  await closeParticipants(participants)
  const node = copies[failed]?.node
  throw new Error(
    `${node ? formatAddress(node) : 'a participant'}: ${String(failure.reason?.message ?? failure.reason)}`,
    {
      cause: failure.reason,
    },
  )
}

export async function closeParticipants(participants: readonly Participant[]): Promise<void> {
  await Promise.all(participants.map((participant) => participant.session.close()))
}

/**
 * For the session and not `LOCAL`: COMMIT PREPARED runs outside the transaction. `synchronous_commit = local`
 * everywhere but on the coordinator, since a just promoted node has no standby yet and would hang; the decision
 * itself keeps what the server asks for. `idle_in_transaction_session_timeout` frees the cluster from a citus-ha
 * that was stopped between two messages.
 */
function settings(copy: CopyPlan, limits: ChangeLimits): string {
  const idle = Math.max(2 * limits.statementMs, 1000)
  return [
    `SET application_name = 'citus-ha'`,
    `SET lock_timeout = ${Math.trunc(limits.lockTimeoutMs)}`,
    `SET statement_timeout = ${Math.trunc(limits.statementMs)}`,
    `SET idle_in_transaction_session_timeout = ${Math.trunc(idle)}`,
    ...(copy.role === 'coordinator' ? [] : ['SET synchronous_commit = local']),
    // Loads the functions and the catalog caches that the locked window needs, outside of it.
    `SELECT citus_ha.read_copy(), citus_ha.may_have_address(0, '', 0), ${intArrayLiteral([])}`,
  ].join('; ')
}
