import { codeOf, mayTryAgain, messageOf, SqlState } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import type { ChangeContext } from './context.ts'
import { withinRound } from './locking.ts'
import { idleLimit, type OldPrimary } from './participants.ts'
import { beginSql, limitSql } from './statements.ts'

/**
 * Step 2 on a living old primary: no write to any of its shards from now on. The metadata fences do not do it: a
 * transaction that has only read there could still write.
 * @returns null, or why it could not be fenced: it knows nothing of citus_ha, or does not let us
 * @throws what is to be tried again: a lock that did not come, a connection that broke
 */
export async function fenceOldPrimary(
  old: OldPrimary,
  context: ChangeContext,
  roundBegan: number,
): Promise<string | null> {
  const { node, session } = old
  const { statementMs } = context.limits
  const begin = beginSql(old, idleLimit(context.limits))
  try {
    await withinRound({ node, session, roundBegan }, context, (limitMs) =>
      session.run(
        [begin, limitSql(limitMs), 'SELECT citus_ha.lock_shards()', limitSql(statementMs)].join('; '),
        limitMs + statementMs,
      ),
    )
    return null
  } catch (error) {
    const code = codeOf(error)
    if (mayTryAgain(code) || code !== SqlState.insufficientPrivilege) throw error
    return `${formatAddress(node)} takes writes and could not be fenced: ${messageOf(error)}`
  }
}

/**
 * Step 7: ends what other nodes have open on the old primary, so that nothing there can commit, and lets go.
 * @returns null, or why that is not known to have happened
 */
export async function closeOldPrimary(
  { node, session }: OldPrimary,
  { limits }: ChangeContext,
): Promise<string | null> {
  try {
    await session.run('SELECT citus_ha.end_citus_backends(); ROLLBACK', limits.statementMs)
    return null
  } catch (error) {
    return `${formatAddress(node)}: what Citus has open there could not be ended: ${messageOf(error)}`
  }
}
