import { setTimeout as pause } from 'node:timers/promises'
import type { Row } from '../db/pg.ts'
import { literal } from '../db/sql.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Mark } from './late.ts'
import { TooLate } from './patience.ts'

/** Who is to be promoted. */
interface Replaying {
  readonly node: HostPort
  /** @param until `performance.now()`: as long as that it is tried on new sessions */
  readonly run: (sql: string, until: number) => Promise<Row[][]>
}

const SHORTEST_MS = 1
const POLL_MS = 10

/**
 * Says on the old primary what it has written until now: for `readMark`. Its commit, which `synchronous_commit` lets return
 * when it is flushed here, flushes everything before it.
 */
export const MARK = [
  'BEGIN',
  'SELECT txid_current_snapshot()::text AS snapshot',
  `SELECT pg_logical_emit_message(true, 'citus_ha', 'switchover')`,
  'SELECT txid_current()::text AS own',
  'COMMIT',
  'SELECT pg_current_wal_flush_lsn()::text AS lsn',
].join('; ')

/** @param rows of all statements of `MARK` */
export function readMark(rows: readonly Row[]): Mark & { readonly lsn: string } {
  const { snapshot, own, lsn } = Object.assign({}, ...rows)
  return { snapshot: String(snapshot), own: String(own), lsn: String(lsn) }
}

/** Waits until the target has replayed the WAL up to there. @param until `performance.now()` @throws TooLate */
export async function replayedTo(target: Replaying, lsn: string, until: number): Promise<void> {
  await replayed(target, `pg_last_wal_replay_lsn() >= ${literal(lsn)}::pg_lsn AS there`, until)
}

/**
 * The same, of an old primary that was stopped: all that it has sent is replayed.
 * @returns up to where that is
 * @throws TooLate
 */
export async function followToTheEnd(target: Replaying, until: number): Promise<string> {
  const gone = 'NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver() w WHERE w.pid IS NOT NULL)'
  const isThere = `${gone} AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()`
  const { lsn } = await replayed(target, `${isThere} AS there, pg_last_wal_replay_lsn()::text AS lsn`, until)
  return String(lsn)
}

/** @param columns what is asked: `there`, and what is to be known then */
async function replayed({ node, run }: Replaying, columns: string, until: number): Promise<Row> {
  for (let waitMs = SHORTEST_MS; ; waitMs = Math.min(2 * waitMs, POLL_MS)) {
    const [rows] = await run(`SELECT ${columns}`, until)
    if (rows?.[0]?.there === true) return rows[0]
    if (performance.now() >= until)
      throw new TooLate(`${formatAddress(node)} has not replayed all WAL of the old primary`)
    await pause(waitMs)
  }
}
