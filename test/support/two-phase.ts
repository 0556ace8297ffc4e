import { expect } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { CUT_OFF } from '../../src/model/retired.ts'
import { commit, keysOf } from './clients.ts'
import { client, type Scenario } from './scenario.ts'

/** What the old primary's daemon would do every so often; the lowest that Citus takes. */
export const EVERY_SECOND = { 'citus.recover_2pc_interval': '1s' }

/**
 * A transaction over two groups commits through a group's new primary while its synchronous standby has a hiccup: it is
 * prepared on the other group's node, and its decision is not acknowledged yet. Meanwhile somebody connects to the old
 * primary. Asserts that what is acknowledged in the end is there whole.
 */
export async function expectWhole(
  scenario: Scenario,
  { group, primary, old }: { readonly group: number; readonly primary: Server; readonly old: Server },
): Promise<void> {
  const { cluster } = scenario
  const { database } = cluster
  const [[one = 0], [two = 0]] = await Promise.all([
    keysOf(cluster, 1, 500_000, 500_400),
    keysOf(cluster, 2, 500_000, 500_400),
  ])
  const other = cluster.server('worker-2')
  const waiting = async () => {
    const gids = `SELECT FROM pg_prepared_xacts WHERE gid LIKE 'citus\\_${group}\\_%'`
    return (await other.query(gids, [], { database })).length > 0
  }
  const session = await client(primary, database)
  try {
    await session.query('BEGIN')
    for (const id of [one, two]) await session.query(`INSERT INTO items VALUES ($1, 'over two groups')`, [id])
    const hiccup = await beginHiccup(primary, database)
    const committed = commit(session)
    committed.catch(() => undefined)
    await waitUntil('it is prepared', waiting)
    if (old.isRunning) await anybodyConnects(old, database)
    await hiccup()
    await committed
  } finally {
    await session.end()
  }
  // Where its change was not made yet, reads of the group still go to the old primary.
  await scenario.run('reconcile')
  const sql = 'SELECT id FROM items WHERE id = ANY ($1) ORDER BY id'
  const rows = await primary.query<{ id: number }>(sql, [[one, two]], { database })
  expect(rows.map(({ id }) => id)).toEqual([one, two].sort((a, b) => a - b))
}

/** From now on every commit there waits for a synchronous standby. @returns ends it */
async function beginHiccup(primary: Server, database: string): Promise<() => Promise<void>> {
  await primary.configure({ synchronous_standby_names: 'one_that_hiccups' })
  const probe = await client(primary, database)
  const { rows } = await probe.query('SELECT pg_backend_pid() AS pid')
  const waits = `SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'`
  let written = probe.query(`SELECT pg_logical_emit_message(true, 'a test', '')`)
  await waitUntil('commits wait', async () => {
    if ((await primary.query(waits, [rows[0].pid])).length > 0) return true
    // The server's checkpointer tells everybody that there is something to wait for, and may not have done so yet.
    written = written.then(() => probe.query(`SELECT pg_logical_emit_message(true, 'a test', '')`))
    return false
  })
  return async () => {
    await primary.configure({ synchronous_standby_names: '' })
    await written
    await probe.end()
  }
}

/** Somebody looks at the data there, and stays until Citus's daemon, if it comes, has had three of its rounds. */
async function anybodyConnects(old: Server, database: string): Promise<void> {
  const visitor = await client(old, database)
  try {
    await visitor.query('SELECT count(*) FROM items').catch((error: Error) => {
      // Once it is retired it reaches no node.
      expect(error.message).toContain(CUT_OFF.replace('host=', ''))
    })
    const { rows } = await visitor.query('SELECT extract(epoch FROM clock_timestamp())::float8 AS at')
    await waitUntil('Citus’s daemon has been there for three rounds', async () => {
      const { rowCount } = await visitor.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'Citus Maintenance Daemon'
            AND datname = current_database()
            AND greatest(backend_start, to_timestamp($1)) < clock_timestamp() - interval '3 s'`,
        [rows[0].at],
      )
      return rowCount === 1
    })
  } finally {
    await visitor.end()
  }
}
