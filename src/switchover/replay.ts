import { setTimeout as pause } from 'node:timers/promises'
import type { SessionLike } from '../db/pg.ts'
import { literal } from '../db/sql.ts'
import type { Mark } from './late.ts'
import { TooLate } from './patience.ts'

const ANSWER_MS = 5000
const SHORTEST_MS = 1
const POLL_MS = 10

/**
 * Waits until the target has replayed all that the old primary has written.
 * @param until `performance.now()`
 * @returns what that was
 * @throws TooLate
 */
export async function follow(old: SessionLike, target: SessionLike, until: number): Promise<Mark> {
  // Its commit, which `synchronous_commit` lets return when it is flushed here, flushes everything before it.
  const flush = `SELECT pg_logical_emit_message(true, 'citus_ha', 'switchover')`
  const mark = 'SELECT txid_current_snapshot()::text AS snapshot'
  const own = 'SELECT txid_current()::text AS own'
  const lsn = 'SELECT pg_current_wal_flush_lsn()::text AS lsn'
  const told = await old.run(['BEGIN', mark, flush, own, 'COMMIT', lsn].join('; '), ANSWER_MS)
  const said = Object.assign({}, ...told.map(([row]) => row))
  await replayed(target, `pg_last_wal_replay_lsn() >= ${literal(String(said.lsn))}::pg_lsn`, until)
  return { snapshot: String(said.snapshot), own: String(said.own) }
}

/** The same, of an old primary that was stopped: all that it has sent is replayed. @throws TooLate */
export async function followToTheEnd(target: SessionLike, until: number): Promise<void> {
  const gone = 'NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver() w WHERE w.pid IS NOT NULL)'
  await replayed(target, `${gone} AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()`, until)
}

async function replayed(target: SessionLike, condition: string, until: number): Promise<void> {
  for (let waitMs = SHORTEST_MS; ; waitMs = Math.min(2 * waitMs, POLL_MS)) {
    const [rows] = await target.run(`SELECT ${condition} AS there`, ANSWER_MS)
    if (rows?.[0]?.there === true) return
    if (performance.now() >= until) throw new TooLate('the target has not replayed what is written')
    await pause(waitMs)
  }
}
