import type { Watch } from '../apply/blockers.ts'
import type { ChangeLimits } from '../apply/participants.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Access } from './access.ts'
import type { WalkRequest } from './walk-request.ts'

export function limitsOf({ lockTimeoutMs, statementMs, decisionWaitMs }: WalkRequest): ChangeLimits {
  return { lockTimeoutMs, lockAnswerMs: 300, statementMs, decisionWaitMs }
}

/**
 * Blockers are named always, and ended once the time for patience that `force` gives is over.
 * @param held where they are ended at once
 */
export function watchOf(access: Access, request: WalkRequest, held: readonly HostPort[] = []): Watch {
  const { database, forceAfterMs, began } = request
  const forced = forceAfterMs !== null && performance.now() - began >= forceAfterMs
  const mayEnd = (node: HostPort) => forced || held.some((each) => sameAddress(each, node))
  return {
    ask: (node, pid) => access.blockers(node, database, pid, 'ask'),
    end:
      forced || held.length > 0
        ? async (node, pid) => (mayEnd(node) ? await access.blockers(node, database, pid, 'end') : [])
        : null,
    seen: [],
    ended: [],
    unasked: [],
    asked: [],
  }
}
