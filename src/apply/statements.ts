import { intArrayLiteral, jsonLiteral, literal } from '../db/sql.ts'
import type { CopyPlan, Step } from '../model/plan.ts'

// What a change sends, as text: one place for those who run it and for `--dry-run`, which shows it.

/**
 * READ COMMITTED whatever the role's default is: what is read after a lock has to be what the lock waited for.
 */
export const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE'

/** What a fence that comes to nothing goes back to: writers go on, and changes are kept out. */
const BEGUN_SAVEPOINT = 'citus_ha_begun'
export const MARK_BEGUN = `SAVEPOINT ${BEGUN_SAVEPOINT}`
export const BACK_TO_BEGUN = `ROLLBACK TO SAVEPOINT ${BEGUN_SAVEPOINT}`

/** What a round that failed inside a fence goes back to: the locks taken before it stay. */
const FENCE_SAVEPOINT = 'citus_ha_fence'
export const MARK_FENCE = `SAVEPOINT ${FENCE_SAVEPOINT}`

export const BACK_TO_FENCE = `ROLLBACK TO SAVEPOINT ${FENCE_SAVEPOINT}`

/** What a change does in every copy, with these steps only. */
export function rehearseSql(steps: readonly object[]): string {
  return `SELECT citus_ha.rewrite(e.coordinator_timeline, e.epoch OPERATOR(pg_catalog.+) 1, ${jsonLiteral(steps)}, '{}') FROM citus_ha.epoch e`
}

/** Whose transaction it is that a session of the change is in. */
export interface Begun {
  /** When a fence began it, `performance.now()`; null: it is the change's own to begin. */
  readonly fencedSince: number | null
  /** What the fence has read of the copy there, as `READ_COPY`, after it had locked it; null: nothing. */
  readonly heldCopy: unknown
}

/** Begins a round. Inside a fence the transaction is open, and must not stay so for the whole ttl if we are stopped. */
export function beginSql({ fencedSince }: Pick<Begun, 'fencedSince'>, idleMs: number): string {
  return fencedSince === null ? BEGIN : `SET LOCAL idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`
}

/** Undoes a round that has not rewritten anything. */
export function rollbackSql({ fencedSince }: Pick<Begun, 'fencedSince'>): string {
  return fencedSince === null ? 'ROLLBACK' : BACK_TO_FENCE
}

/**
 * Serialises changes and recovery, on the coordinator, per database. Held until the transaction ends. Waits no longer than
 * the session's `lock_timeout` (55P03).
 */
export const TAKE_CHANGE_LOCK = 'SELECT citus_ha.take_change_lock()'

/**
 * All locks of one statement, which may be thousands of shards' and come one by one, each within `lock_timeout`: past
 * this the statement fails (57014). Per statement of a message since PostgreSQL 13, per message before.
 */
export function limitSql(limitMs: number): string {
  return `SET LOCAL statement_timeout = ${Math.ceil(limitMs)}`
}

/** For the rest of the transaction: how long one lock may be waited for. */
export function lockTimeoutSql(limitMs: number): string {
  return `SET LOCAL lock_timeout = ${Math.ceil(limitMs)}`
}

export const READ_COPY = 'SELECT citus_ha.read_copy() AS copy'

export function lockSql(fence: readonly number[]): string {
  return `SELECT citus_ha.lock_copy(${intArrayLiteral(fence)})`
}

export function fenceSql(groups: readonly number[]): string {
  return `SELECT citus_ha.fence(${intArrayLiteral(groups)})`
}

/** The change's place in time: what every copy remembers, and refuses to go back behind. */
export interface Stamp {
  readonly timeline: number
  readonly epoch: number
}

/** The flags to be unset in a copy: an expand coordinator's own rows have other nodeids, and Citus syncs none of them. */
export function unsyncedIn({ role }: Pick<CopyPlan, 'role'>, unsynced: readonly number[]): readonly number[] {
  return role === 'expand coordinator' ? [] : unsynced
}

export function rewriteSql(
  { timeline, epoch }: Stamp,
  steps: readonly Step[],
  unsynced: readonly number[],
): string {
  const parameters = [literal(timeline), literal(epoch), jsonLiteral(steps), intArrayLiteral(unsynced)]
  return `SELECT citus_ha.rewrite(${parameters.join(', ')})`
}

/** @param degraded groups whose primary's row names a standby */
export function guardSql(degraded: readonly number[]): string {
  return `SELECT citus_ha.guard_transactions(${intArrayLiteral(degraded)})`
}

export function inTimeSql(ageMs: number): string {
  return `SELECT citus_ha.in_time(${Math.ceil(ageMs)})`
}

export function prepareSql(gid: string): string {
  return `PREPARE TRANSACTION ${literal(gid)}`
}

export function commitPreparedSql(gid: string): string {
  return `COMMIT PREPARED ${literal(gid)}`
}

export function rollbackPreparedSql(gid: string): string {
  return `ROLLBACK PREPARED ${literal(gid)}`
}

export function registerSql(standby: object): string {
  return `SELECT citus_ha.register_secondary(${jsonLiteral(standby)}) AS nodeid`
}

/** @param proofs with their histories as text */
export function recordLineageSql(proofs: readonly object[]): string {
  return `SELECT citus_ha.record_lineage(${jsonLiteral(proofs)})`
}

/** @param positions with their histories as text, and bytes too */
export function recordPositionsSql(positions: readonly object[]): string {
  return `SELECT citus_ha.record_positions(${jsonLiteral(positions)})`
}

export function recordVouchedSql(
  proofs: readonly object[],
  evidence: readonly string[],
  madeBy: string,
): string {
  return `SELECT citus_ha.record_vouched(${jsonLiteral(proofs)}, ${jsonLiteral(evidence)}, ${literal(madeBy)})`
}

export function decideSql(decision: object): string {
  return `SELECT citus_ha.decide(${jsonLiteral(decision)})`
}
