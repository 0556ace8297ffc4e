import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { describeBlocker } from '../apply/blockers.ts'
import { openSession } from '../apply/participants.ts'
import type { Entry } from '../apply/post.ts'
import { BEGIN, limitSql, lockSql, rehearseSql } from '../apply/statements.ts'
import { withinRound } from '../apply/within-round.ts'
import type { Row, SessionLike } from '../db/pg.ts'
import { codeOf, isLock, messageOf, patienceWith, SqlState } from '../db/sqlstate.ts'
import type { Ailing } from '../model/ailing.ts'
import type { Access } from '../walk/access.ts'
import { limitsOf, watchOf } from '../walk/limits.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import type { Checked } from './check.ts'

const SLOTS = `SELECT pg_catalog.current_setting('max_prepared_transactions')::int OPERATOR(pg_catalog.-) pg_catalog.count(*)::int AS free
  FROM pg_catalog.pg_prepared_xacts`
const slotsRow = z.object({ free: z.number().int() })

/** So many rounds a lock may be late before it counts, as in a change. */
const ROUNDS = 3

/**
 * Does on each copy what the change will do there once something is promoted, and takes it back: a copy that can't be
 * rewritten is found out while nothing is touched. So is one that somebody has locked, for longer than a few rounds of locks
 * and where the change would go without it. Not so where he is to be ended, later.
 * @returns who failed, and with what
 */
export async function rehearse(
  access: Access,
  request: WalkRequest,
  { entries, moves }: Pick<Checked, 'entries' | 'moves'>,
): Promise<Ailing[]> {
  // An old primary takes no part: its own copy is replaced with it.
  const copies = entries.entries.filter(
    ({ server }) => !moves.some(({ from }) => from.instance === server.instance),
  )
  const failed = await Promise.all(copies.map((entry) => rehearseOne(access, request, entry)))
  return failed.filter((each) => each !== null)
}

async function rehearseOne(access: Access, request: WalkRequest, entry: Entry): Promise<Ailing | null> {
  const { node, role } = entry
  const limits = limitsOf(request)
  const open = () => access.open(node, request.database)
  let session: SessionLike | null = null
  try {
    session = await openSession(node, role, { open, limits, idleMs: limits.statementMs })
    for (let round = 1; ; round++) {
      const late = await rehearseOnce(session, access, request, entry)
      if (late === null || late === 'passes') return null
      if (round === ROUNDS) return late
      await pause(limits.lockTimeoutMs, undefined, { signal: request.signal }).catch(() => undefined)
      if (request.signal.aborted) return null
    }
  } catch (error) {
    const code = codeOf(error) ?? null
    if (patienceWith(code) === 'some rounds') return null
    return { node, step: session ? 'rewrite' : 'open', code, message: messageOf(error) }
  } finally {
    await session?.close()
  }
}

/** @returns null; who failed; `passes`: a lock was late, and that does not count. @throws the server's error */
async function rehearseOnce(
  session: SessionLike,
  access: Access,
  request: WalkRequest,
  { node, role, server }: Entry,
): Promise<Ailing | 'passes' | null> {
  const limits = limitsOf(request)
  const watch = watchOf(access, { ...request, forceAfterMs: null })
  const [row] = server.citus?.catalog ?? []
  const step = row && { op: 'set', nodeid: row.nodeid, column: 'noderack', from: row.rack, to: row.rack }
  let told: Row[][]
  try {
    told = await withinRound({ node, session, roundBegan: null }, { limits, watch }, (limitMs) =>
      session.run(
        [
          ...[BEGIN, limitSql(limitMs), lockSql([])],
          ...[limitSql(limits.statementMs), rehearseSql(step ? [step] : []), 'ROLLBACK', SLOTS],
        ].join('; '),
        limitMs + limits.statementMs,
      ),
    )
  } catch (error) {
    await session.run('ROLLBACK', limits.statementMs)
    await Promise.all(watch.asked)
    const code = codeOf(error) ?? null
    if (!isLock(code)) throw error
    const [blocker] = watch.seen.filter(({ ours }) => !ours)
    if (!blocker || role === 'coordinator' || request.forceAfterMs !== null) return 'passes'
    const message = `${messageOf(error)}; blocked by: ${describeBlocker(blocker)}`
    return { node, step: 'lock', code, message }
  }
  const { free } = slotsRow.parse(told.at(-1)?.[0])
  if (role === 'coordinator' || free > 0) return null
  const code = SqlState.outOfMemory
  throw Object.assign(new Error('maximum number of prepared transactions reached'), { code })
}
