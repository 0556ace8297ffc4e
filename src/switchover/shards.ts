import { setTimeout as pause } from 'node:timers/promises'
import { readBlockers, type Watch, watched } from '../apply/blockers.ts'
import { BEGIN, limitSql, lockTimeoutSql } from '../apply/statements.ts'
import { withinRound } from '../apply/within-round.ts'
import type { SessionLike } from '../db/pg.ts'
import { literal } from '../db/sql.ts'
import { codeOf, mayTryAgain, messageOf } from '../db/sqlstate.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import type { HostPort } from '../model/node.ts'

/** One database of an old primary. */
export interface Holder {
  readonly node: HostPort
  /** Whose transaction is to hold the shards. */
  readonly guard: SessionLike
  /** Asks who is in the way; not in a transaction. */
  readonly watch: SessionLike
  readonly texts: ClientTexts
  /** How long one try may take, in milliseconds. */
  readonly lockTimeoutMs: number
}

export type Held =
  | { readonly kind: 'held'; readonly ended: readonly Blocker[] }
  | {
      readonly kind: 'late'
      readonly why: string
      readonly blockers: readonly Blocker[]
      readonly ended: readonly Blocker[]
      /** Where nobody could say who was in the way. */
      readonly unasked: readonly string[]
    }

const ANSWER_MS = 5000
/** Between two tries, for those who have queued behind the last. */
const PAUSE_MS = 20
/** Less is no try: it would find nobody out. */
const SHORTEST_MS = 50

/**
 * No write to any shard there from now on, by whomever, nor to another table: tried again for as long as there is time.
 * @param until `performance.now()`; one try is made whatever it is
 * @param forceAt as that: from when on whoever is in the way is ended; null: never
 * @throws what another try does not mend
 */
export async function holdShards(holder: Holder, until: number, forceAt: number | null): Promise<Held> {
  const { guard, lockTimeoutMs } = holder
  const ended: Blocker[] = []
  for (let limitMs = lockTimeoutMs; ; limitMs = Math.min(lockTimeoutMs, leftMs(until, forceAt))) {
    const watch = watchOf(holder, ended, forceAt)
    try {
      await lockOnce(holder, watch, limitMs)
      await Promise.all(watch.asked)
      return { kind: 'held', ended }
    } catch (error) {
      if (!mayTryAgain(codeOf(error))) throw error
      await guard.run('ROLLBACK', ANSWER_MS)
      await Promise.all(watch.asked)
      if (performance.now() + PAUSE_MS + SHORTEST_MS > until) {
        const { seen, unasked } = watch
        return { kind: 'late', why: messageOf(error), blockers: seen, ended, unasked }
      }
    }
    await pause(PAUSE_MS)
  }
}

/**
 * One try to lock Citus's record of transactions (`pg_dist_transaction`), in the transaction that holds the shards.
 * @param until `performance.now()`
 * @returns whether it has it, and who was in the way
 */
export async function holdRecordsOnce(
  holder: Holder,
  until: number,
): Promise<{ readonly held: boolean; readonly blockers: readonly Blocker[] }> {
  const { node, guard, lockTimeoutMs } = holder
  const limitMs = Math.min(lockTimeoutMs, leftMs(until, null))
  const watch = watchOf(holder, [], null)
  const sql = [
    lockTimeoutSql(limitMs),
    'SELECT citus_ha.hold_recovery() AS held',
    lockTimeoutSql(lockTimeoutMs),
  ].join('; ')
  const told = await watched(watch, node, guard.pid, limitMs, () => guard.run(sql, limitMs + ANSWER_MS))
  await Promise.all(watch.asked)
  return { held: told.some(([row]) => row?.held === true), blockers: watch.seen }
}

/** How long the next try may take: not past the end, nor past the time from which on force is allowed. */
function leftMs(until: number, forceAt: number | null): number {
  const now = performance.now()
  const forced = forceAt === null || forceAt <= now ? until : Math.min(until, forceAt)
  return Math.max(SHORTEST_MS, forced - now)
}

async function lockOnce({ node, guard }: Holder, watch: Watch, lockTimeoutMs: number): Promise<void> {
  const limits = { lockTimeoutMs, lockAnswerMs: ANSWER_MS, statementMs: ANSWER_MS, decisionWaitMs: 0 }
  const waiting = { node, session: guard, roundBegan: null }
  await withinRound(waiting, { limits, watch }, (limitMs) => {
    const locks = 'SELECT citus_ha.lock_shards(), citus_ha.lock_other_tables()'
    const lock = [limitSql(limitMs), locks, limitSql(ANSWER_MS)]
    return guard.run([BEGIN, ...lock].join('; '), limitMs + ANSWER_MS)
  })
}

function watchOf({ watch, texts }: Holder, ended: Blocker[], forceAt: number | null): Watch {
  const told = (verb: string) => async (node: HostPort, pid: number) => {
    const [rows] = await watch.run(`SELECT citus_ha.${verb}(${literal(pid)}) AS blockers`, ANSWER_MS)
    return readBlockers(node, rows?.[0]?.blockers, texts)
  }
  const isForced = forceAt !== null && performance.now() >= forceAt
  const end = isForced ? told('end_blockers') : null
  return { ask: told('blockers'), end, seen: [], ended, unasked: [], asked: [] }
}
