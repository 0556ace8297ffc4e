import { z } from 'zod'
import { openSession } from '../apply/participants.ts'
import type { Entry } from '../apply/post.ts'
import { BEGIN, fenceSql, rehearseSql } from '../apply/statements.ts'
import type { SessionLike } from '../db/pg.ts'
import { codeOf, messageOf, patienceWith, SqlState } from '../db/sqlstate.ts'
import type { Ailing } from '../model/ailing.ts'
import type { Access } from '../walk/access.ts'
import { limitsOf } from '../walk/act.ts'
import type { WalkRequest } from '../walk/walk.ts'
import type { Checked } from './check.ts'

const SLOTS = `SELECT pg_catalog.current_setting('max_prepared_transactions')::int OPERATOR(pg_catalog.-) pg_catalog.count(*)::int AS free
  FROM pg_catalog.pg_prepared_xacts`
const slotsRow = z.object({ free: z.number().int() })

/**
 * Does on each copy what the change will do there once something is promoted, and takes it back: a copy that can't be
 * rewritten is found out while nothing is touched. What passes by itself (a lock) is not waited for and says nothing.
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
  const { node, role, server } = entry
  const limits = limitsOf(request)
  const open = () => access.open(node, request.database)
  let session: SessionLike | null = null
  try {
    session = await openSession(node, role, { open, limits, idleMs: limits.statementMs })
    const [row] = server.citus?.catalog ?? []
    const step = row && { op: 'set', nodeid: row.nodeid, column: 'noderack', from: row.rack, to: row.rack }
    const sql = `${BEGIN}; ${fenceSql([])}; ${rehearseSql(step ? [step] : [])}; ROLLBACK; ${SLOTS}`
    const told = await session.run(sql, limits.statementMs)
    const { free } = slotsRow.parse(told.at(-1)?.[0])
    if (role === 'coordinator' || free > 0) return null
    const code = SqlState.outOfMemory
    return { node, step: 'rewrite', code, message: 'maximum number of prepared transactions reached' }
  } catch (error) {
    const code = codeOf(error) ?? null
    if (patienceWith(code) === 'some rounds') return null
    return { node, step: session ? 'rewrite' : 'open', code, message: messageOf(error) }
  } finally {
    await session?.close()
  }
}
