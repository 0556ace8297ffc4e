import { BEGIN, fenceSql, guardSql } from '../apply/statements.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import type { Access } from './access.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 2000

/**
 * Puts Citus's records of two-phase commits back that its recovery has deleted, on every copy where that may happen: those
 * of a group whose primary's row names a standby, or did a short while ago. What fails now is done at the next look.
 */
export async function guardTransactions(
  access: Access,
  { database, mode, progress }: WalkRequest,
  { plan }: View,
): Promise<void> {
  if (mode !== 'apply') return
  await Promise.all(
    plan.copies
      .filter(({ isGuarded }) => isGuarded)
      .map(async ({ node }) => {
        let session: Awaited<ReturnType<Access['open']>> | undefined
        try {
          session = await access.open(node, database)
          // Not worth a wait for a synchronous standby that is gone: the next look does it again.
          const settings = `SET statement_timeout = ${LIMIT_MS}; SET synchronous_commit = local`
          // READ COMMITTED: what another guard or a change wrote while this one waited for it has to be seen.
          await session.run(
            `${settings}; ${BEGIN}; ${fenceSql([])}; ${guardSql(plan.degraded)}; COMMIT`,
            LIMIT_MS,
          )
        } catch (error) {
          progress(`${formatAddress(node)}: Citus’s records could not be guarded: ${messageOf(error)}`)
        } finally {
          await session?.close()
        }
      }),
  )
}
