import { jsonLiteral } from '../db/sql.ts'
import { codeOf, mayTryAgain, messageOf } from '../db/sqlstate.ts'
import { isNotInstalled } from '../model/ailing.ts'
import { formatAddress } from '../model/node.ts'
import type { OldPrimaryPlan } from '../model/plan.ts'
import { STOP_SERVER } from '../model/server-commands.ts'
import { idleLimit, notFenced, type OldPrimary } from './participants.ts'
import { BEGIN, beginSql, limitSql, lockTimeoutSql, rollbackSql } from './statements.ts'
import type { LockWaits } from './within-round.ts'
import { withinRound } from './within-round.ts'

/** Fails on another server than the one that was seen: a name may lead elsewhere by now. */
function retireSql(
  { group, successor, seen }: Omit<OldPrimaryPlan, 'node'>,
  madeBy: string,
  refuseWrites = false,
): string {
  return `SELECT citus_ha.retire(${jsonLiteral({ group, to: successor, madeBy, seen, refuseWrites })})`
}

/**
 * Retires it, first of all: on another server than that nobody is ended. Whoever has come until the commit may have connections to
 * other nodes, and is ended after it as well.
 */
export function closeSql(old: Omit<OldPrimaryPlan, 'node'>, madeBy: string): string {
  const end = 'SELECT citus_ha.end_clients()'
  return `${retireSql(old, madeBy)}; SELECT citus_ha.end_citus_backends(); ${end}; COMMIT; ${end}`
}

/** A living old primary in the locked window of a change. */
export interface KeptOldPrimary {
  readonly old: OldPrimary
  /** Its Citus's 2PC recovery waits: what was under way has ended. */
  readonly recoveryHeld: boolean
  /** Why it may still acknowledge something; null: it may not. */
  readonly why: string | null
}

/**
 * Step 2 on a living old primary: no write to any of its shards from now on, and no 2PC recovery. The metadata fences do
 * not do it: a transaction that has only read there could still write.
 * @throws what is to be tried again: a lock that did not come, a connection that broke
 */
export async function fenceOldPrimary(
  old: OldPrimary,
  context: LockWaits,
  roundBegan: number,
): Promise<KeptOldPrimary> {
  const { node, session } = old
  const { limits } = context
  try {
    await lockShards(old, context, roundBegan)
  } catch (error) {
    const code = codeOf(error)
    if (!isNotInstalled(code)) throw error
    return { old, recoveryHeld: false, why: notFenced(node, error) }
  }
  const hold = 'SAVEPOINT citus_ha_shards; SELECT citus_ha.hold_recovery() AS held'
  const told = await session.run(hold, limits.statementMs).catch(async (error: unknown) => {
    if (!session.alive) throw error
    // It is not installed there: found out when it is to be retired.
    await session.run('ROLLBACK TO SAVEPOINT citus_ha_shards', limits.statementMs)
    return []
  })
  return { old, recoveryHeld: told.at(-1)?.[0]?.held === true, why: null }
}

async function lockShards(old: OldPrimary, context: LockWaits, roundBegan: number): Promise<void> {
  const { node, session } = old
  const { statementMs } = context.limits
  const begin = beginSql(old, idleLimit(context.limits))
  await withinRound({ node, session, roundBegan }, context, (limitMs) =>
    session.run(
      [begin, limitSql(limitMs), 'SELECT citus_ha.lock_shards()', limitSql(statementMs)].join('; '),
      limitMs + statementMs,
    ),
  )
}

/**
 * Where copies that are left out may go on sending writes there, before the decision: what is to be closed refuses every
 * write to its shards from the end of this transaction on, by whomever.
 * @returns why it can't; null: it will
 * @throws what is to be tried again
 */
export async function shutOldPrimary(
  old: OldPrimary,
  madeBy: string,
  { limits }: Pick<LockWaits, 'limits'>,
): Promise<string | null> {
  const { session } = old
  try {
    await session.run(retireSql(old, madeBy, true), limits.statementMs)
    return null
  } catch (error) {
    if (mayTryAgain(codeOf(error)) || !session.alive) throw error
    return messageOf(error)
  }
}

/**
 * Step 7: retires the old primary, ends what is open there, so that nothing can commit, and lets go.
 * @returns why that is not known to have happened
 */
export async function closeOldPrimary(
  { old, recoveryHeld }: KeptOldPrimary,
  madeBy: string,
  { limits }: Pick<LockWaits, 'limits'>,
): Promise<string[]> {
  const { node, session } = old
  const at = formatAddress(node)
  try {
    await session.run(closeSql(old, madeBy), limits.statementMs)
    if (recoveryHeld || (await recoveryEnds(old, limits.statementMs))) return []
    return [dataLossAt(at, 'a 2PC recovery that its Citus had begun before does not end')]
  } catch (error) {
    await session.run(rollbackSql(old), limits.statementMs).catch(() => undefined)
    return [dataLossAt(at, messageOf(error))]
  }
}

/** Of a server that is retired: a recovery that knew it as what it was is over. */
async function recoveryEnds({ session }: OldPrimary, limitMs: number): Promise<boolean> {
  const ask = `${BEGIN}; ${lockTimeoutSql(limitMs / 2)}; SELECT citus_ha.hold_recovery() AS held; ROLLBACK`
  const told = await session.run(ask, limitMs)
  return told.some(([row]) => row?.held === true)
}

/** What is said of an old primary that is not known to be retired. */
export function dataLossAt(at: string, why: string): string {
  return `${at}, the old primary, is still running and could not be retired: ${why}. Data loss is possible until it is stopped (there: ${STOP_SERVER}): its Citus may roll back what the new primary prepares on other nodes`
}
