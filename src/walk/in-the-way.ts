import { setTimeout as pause } from 'node:timers/promises'
import { openNamed } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import { intArrayLiteral, literal } from '../db/sql.ts'
import type { Blocker } from '../model/blocker.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Access } from './access.ts'

const LOOK_MS = 20
const LIMIT_MS = 2000

/**
 * Waits until the sessions that were in the way have ended the transactions they are in, or the time is over: another tool
 * may hold a change of its own open for seconds, and what comes after it need not be late. Not for changes of citus-ha,
 * which would chase each other, nor for prepared transactions, which nobody may ever end.
 *
 * To be done once in a row of tries: where one transaction begins when another ends, a try at that moment always comes too
 * early, and only one at any other time gets through.
 * @returns whether they have ended
 * @throws AbortError when aborted; nothing else
 */
export async function untilFree(
  access: Access,
  database: string,
  blockers: readonly Blocker[],
  waitMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const willEnd = blockers.length > 0 && blockers.every(({ ours, pid }) => !ours && pid > 0)
  if (!willEnd) return await pause(waitMs, false, { signal })
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const time = pause(waitMs, false, { signal: either }).catch(() => false)
  const ended = Promise.all(
    distinctNodes(blockers).map(async (node) => {
      const there = blockers.filter((each) => sameAddress(each.node, node))
      await untilEnded(
        access,
        database,
        node,
        there.map(({ pid }) => pid),
        either,
      )
    }),
  )
  // Where it can't be seen, the time counts.
  const areFree = await Promise.race([
    time,
    ended.then(
      () => true,
      () => time,
    ),
  ])
  over.abort()
  await ended.catch(() => undefined)
  if (signal.aborted) await pause(0, undefined, { signal })
  return areFree
}

function distinctNodes(blockers: readonly Blocker[]): HostPort[] {
  return [...new Map(blockers.map(({ node }) => [formatAddress(node), node])).values()]
}

/** @throws what the driver or the server says */
async function untilEnded(
  access: Access,
  database: string,
  node: HostPort,
  pids: readonly number[],
  over: AbortSignal,
): Promise<void> {
  const session = await openNamed(access, node, database)
  try {
    const transactions = await transactionsIn(session, `l.pid = ANY (${intArrayLiteral(pids)})`)
    const same = `l.virtualtransaction = ANY (ARRAY[${transactions.map(literal).join(', ')}]::text[])`
    while (!over.aborted && (await transactionsIn(session, same)).length > 0)
      await pause(LOOK_MS, undefined, { signal: over }).catch(() => undefined)
  } finally {
    await session.close()
  }
}

/** Those that hold a lock: each does that is open, of its own id. */
async function transactionsIn(session: SessionLike, which: string): Promise<string[]> {
  const sql = `SELECT DISTINCT l.virtualtransaction::text AS id FROM pg_catalog.pg_locks l WHERE l.granted AND ${which}`
  const [rows] = await session.run(sql, LIMIT_MS)
  return (rows ?? []).map(({ id }) => String(id))
}
