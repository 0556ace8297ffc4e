import { setTimeout as pause } from 'node:timers/promises'
import type { Move } from './check.ts'
import type { Scope } from './scope.ts'

/** One that is stopped refuses at once; one whose host is off as well does not answer. */
const GLANCE_MS = 1000

/**
 * Whether an old primary that was stopped is running again as it was: not as a standby, and not another server to which its name
 * leads by now. Never throws.
 * @returns `retired`: the change has found it, and has retired it in this database
 */
export async function returnedAs(
  { access, request }: Scope,
  { from }: Pick<Move, 'from'>,
): Promise<'running' | 'retired' | null> {
  const late = pause(GLANCE_MS, null, { ref: false })
  const now = await Promise.race([access.prober(request.database).probe(from.address), late])
  if (now?.kind !== 'answered' || now.inRecovery) return null
  const isSame = now.systemIdentifier === from.systemIdentifier && now.timeline === from.timeline
  if (!isSame) return null
  return now.retired ? 'retired' : 'running'
}
