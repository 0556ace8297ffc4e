import { literal } from '../db/sql.ts'

/** The two keys of the advisory lock that serialises changes and recovery, on the coordinator, per database. */
const LOCK_KEYS = [0x63697475, 0x7368610a] as const

/** Takes the lock for the transaction; waits no longer than the session's `lock_timeout` (55P03). */
export const TAKE_CHANGE_LOCK = `SELECT pg_advisory_xact_lock(${literal(LOCK_KEYS[0])}, ${literal(LOCK_KEYS[1])})`
