import { type SessionLike, SessionLost } from '../db/pg.ts'
import { jsonLiteral, literal } from '../db/sql.ts'
import { codeOf, messageOf } from '../db/sqlstate.ts'
import type { Catalog } from '../model/catalog.ts'
import { formatAddress } from '../model/node.ts'
import type { Lineage, LineProof, Remedy } from '../model/observation.ts'
import type { ChangeContext } from './change-context.ts'
import type { Participant } from './participants.ts'
import { BEGIN, decideSql, type Stamp, TAKE_CHANGE_LOCK } from './statements.ts'

/** What goes into `citus_ha.change`, and with it into the record of lineages and remedies. */
export interface Decision extends Stamp {
  /** All rows of the coordinator's copy. */
  readonly before: Catalog
  readonly after: Catalog
  readonly gids: readonly string[]
  readonly groups: readonly number[]
  readonly reason: string
  readonly evidence: readonly string[]
  readonly madeBy: string
  readonly proofs: readonly LineProof[]
  readonly remedies: readonly Remedy[]
  readonly remediesEnded: readonly number[]
}

export type Decided =
  | { readonly kind: 'decided'; readonly warnings: readonly string[] }
  | { readonly kind: 'refused'; readonly why: string; readonly code: string | undefined }
  | { readonly kind: 'unanswered'; readonly why: string }

/** Writes the decision down; part of the transaction whose commit makes it. */
export function decisionSql(decision: Decision): string {
  return decideSql({ ...decision, proofs: decision.proofs.map(proofText) })
}

/**
 * Step 5: the coordinator's commit, which *is* the decision. If its answer is lost, what happened is looked
 * up, never guessed.
 */
export async function commitDecision(
  coordinator: Participant,
  decision: Decision,
  context: ChangeContext,
): Promise<Decided> {
  const { session } = coordinator
  const { limits } = context
  const patience = new AbortController()
  const nudge = endWaitAfter(limits.decisionWaitMs, session.pid, context, patience.signal)
  try {
    await session.run('COMMIT', limits.decisionWaitMs + limits.statementMs)
    patience.abort()
    return { kind: 'decided', warnings: await nudge }
  } catch (error) {
    patience.abort()
    await nudge
    if (error instanceof SessionLost)
      return await lookUp(decision, context, formatAddress(coordinator.copy.node))
    return { kind: 'refused', why: messageOf(error), code: codeOf(error) }
  }
}

/**
 * A commit that waits for a synchronous standby which is gone is committed already; cancelling it ends the
 * wait, with a warning by PostgreSQL and by us. ("20.6.1 Replication: synchronous_commit".)
 */
async function endWaitAfter(
  waitMs: number,
  pid: number,
  { reconnect, limits }: ChangeContext,
  signal: AbortSignal,
): Promise<string[]> {
  const timedOut = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(true), waitMs)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve(false)
    })
  })
  if (!timedOut) return []
  let session: SessionLike | undefined
  try {
    session = await reconnect()
    await session.run(`SELECT pg_cancel_backend(${literal(pid)})`, limits.statementMs)
    return [
      `the coordinator’s commit waited ${waitMs} ms for synchronous replication and then continued without it`,
    ]
  } catch (error) {
    return [
      `the coordinator’s commit waits for synchronous replication, and the wait could not be cancelled: ${messageOf(error)}`,
    ]
  } finally {
    await session?.close()
  }
}

/**
 * Was it committed? Asked under the lock that the deciding transaction held: while that runs, nobody can know.
 */
async function lookUp(
  decision: Decision,
  { reconnect, limits }: ChangeContext,
  node: string,
): Promise<Decided> {
  let session: SessionLike | undefined
  try {
    session = await reconnect()
    const [, , , rows] = await session.run(
      [
        `SET lock_timeout = ${Math.trunc(limits.decisionWaitMs + limits.statementMs)}`,
        BEGIN,
        TAKE_CHANGE_LOCK,
        `SELECT FROM citus_ha.change WHERE coordinator_timeline = ${literal(decision.timeline)} AND epoch = ${literal(decision.epoch)}
           AND gids = ARRAY(SELECT jsonb_array_elements_text(${jsonLiteral(decision.gids)}))`,
        'COMMIT',
      ].join('; '),
      limits.decisionWaitMs + 2 * limits.statementMs,
    )
    if (rows?.length === 1)
      return { kind: 'decided', warnings: ['the connection to the coordinator broke at the commit'] }
    return { kind: 'refused', why: `the connection to ${node} broke before the commit`, code: undefined }
  } catch (error) {
    return {
      kind: 'unanswered',
      why: `the commit on ${node} got no answer, and asking again failed: ${messageOf(error)}`,
    }
  } finally {
    await session?.close()
  }
}

/** As the record has it. */
export function proofText(proof: LineProof): object {
  return { ...proof, history: historyText(proof) }
}

/** As a timeline history file has it, for the record. */
export function historyText(lineage: Lineage): string {
  return lineage.history.map((entry) => `${entry.timeline}\t${entry.lsn}`).join('\n')
}
