import { z } from 'zod'
import { BEGIN } from '../apply/statements.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 2000

const forgottenRow = z.object({ nodeid: z.number().int(), groupid: z.number().int() })

/**
 * Forgets, without a change, the remedies whose row somebody else has changed since.
 * @throws what the driver or the server says
 */
export async function forgetStaleRemedies(
  access: Access,
  { database, progress }: WalkRequest,
  { coordinator }: View,
  clock: Clock,
): Promise<void> {
  const session = await access.open(coordinator.address, database)
  try {
    const limitMs = clock.limit(LIMIT_MS)
    // Not worth a wait for a synchronous standby that is gone: any later run forgets them again.
    const settings = `SET synchronous_commit = local; SET lock_timeout = ${Math.ceil(limitMs / 2)}`
    const forget = 'SELECT nodeid, groupid FROM citus_ha.forget_stale_remedies()'
    const [, , , rows] = await session.run(`${settings}; ${BEGIN}; ${forget}; COMMIT`, limitMs)
    for (const { nodeid, groupid } of z.array(forgottenRow).parse(rows))
      progress(
        `group ${groupid}: node ${nodeid} was changed by another client: its recorded remedy was removed`,
      )
  } finally {
    await session.close()
  }
}
