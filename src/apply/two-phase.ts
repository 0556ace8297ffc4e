import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'
import type { ChangeContext } from './change-context.ts'
import { type Decision, decisionSql, proofText } from './decision.ts'
import type { LockedCopy } from './locking.ts'
import { asParticipant } from './participant-error.ts'
import {
  commitPreparedSql,
  guardSql,
  inTimeSql,
  prepareSql,
  recordLineageSql,
  rewriteSql,
  rollbackPreparedSql,
  type Stamp,
  unsyncedIn,
} from './statements.ts'

/** A participant other than the coordinator, and the name of its prepared transaction. */
export interface Prepared {
  readonly locked: LockedCopy
  readonly gid: string
}

/** Of the plan, for every copy. */
export type Flags = Pick<Plan, 'unsynced' | 'degraded' | 'leader'>

/** Step 4 on the coordinator: rewritten, and the decision written down; nothing counts before it is committed. */
export async function rewriteCoordinator(
  locked: LockedCopy,
  decision: Decision,
  { unsynced, degraded }: Flags,
  { limits }: ChangeContext,
): Promise<void> {
  const sql = [
    ...locked.opening,
    rewriteSql(decision, locked.steps, unsynced),
    ...guarded(locked, degraded),
    decisionSql(decision),
  ]
  const { copy, session } = locked.participant
  await asParticipant(copy.node, 'rewrite', () => session.run(sql.join('; '), limits.statementMs))
}

/** Step 4 on any other participant. */
export async function rewriteAndPrepare(
  { locked, gid }: Prepared,
  stamp: Stamp,
  { unsynced, degraded, leader }: Flags,
  { limits }: ChangeContext,
): Promise<void> {
  // A server that was stopped, and goes on when we have long given it up, must not prepare what nobody waits for.
  const ageMs = performance.now() - locked.began + limits.statementMs / 2
  const { copy, session } = locked.participant
  const rewrite = [rewriteSql(stamp, locked.steps, unsyncedIn(copy, unsynced)), ...guarded(locked, degraded)]
  // Who led this change is known here too, where no backup of the coordinator can come and say otherwise.
  const led = leader ? [recordLineageSql([proofText(leader)])] : []
  // First, since the epoch of what a person gave up with it would refuse the rewrite.
  const sql = [...locked.opening, inTimeSql(ageMs), ...led, ...rewrite, prepareSql(gid)].join('; ')
  await asParticipant(copy.node, 'rewrite', () => session.run(sql, limits.statementMs))
}

function guarded({ participant }: LockedCopy, degraded: readonly number[]): string[] {
  return participant.copy.isGuarded ? [guardSql(degraded)] : []
}

/**
 * Step 6. 42704 and 55000: somebody else, another instance's recovery, resolved it by the same decision.
 * @returns null, or what keeps it from being done; any later run does it then
 */
export async function commitPrepared(
  { locked, gid }: Prepared,
  { limits }: ChangeContext,
): Promise<string | null> {
  const { session, copy } = locked.participant
  try {
    await session.run(commitPreparedSql(gid), limits.statementMs)
    return null
  } catch (error) {
    const code = codeOf(error)
    if (code === SqlState.undefinedObject || code === SqlState.notInPrerequisiteState) return null
    return `${formatAddress(copy.node)}: the decided change is still to be committed there (${messageOf(error)})`
  }
}

/**
 * Undoes one participant, whichever state it is in: an open transaction is rolled back, a prepared one too.
 * @returns the gid if it may still be prepared there, which any later run rolls back
 */
export async function undo({ locked, gid }: Prepared, { limits }: ChangeContext): Promise<string | null> {
  const { session } = locked.participant
  try {
    await session.run('ROLLBACK', limits.statementMs)
    await session.run(rollbackPreparedSql(gid), limits.statementMs)
    return null
  } catch (error) {
    return codeOf(error) === SqlState.undefinedObject ? null : gid
  }
}
