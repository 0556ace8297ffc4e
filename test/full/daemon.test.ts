import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { Scenario } from '../support/scenario.ts'

describe('Citus’s own daemon in the way', () => {
  let scenario: Scenario
  let waiter: pg.Client
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    // The daemon looks for deadlocks too, and would wait for the one that hangs without any lock.
    const settings = {
      'citus.recover_2pc_interval': '1s',
      'citus.distributed_deadlock_detection_factor': '-1',
    }
    scenario = await Scenario.start({ settings })
    const { coordinator, database } = scenario.cluster
    // No lock that a change takes conflicts with the daemon's 2PC recovery; this one does, and needs a right of its own.
    await coordinator.query('GRANT ALL ON pg_dist_transaction TO citus_ha', [], { database })
    waiter = await coordinator.connect({ database, user: 'citus_ha' })
  })
  afterAll(async () => {
    server('worker-2').thaw()
    await waiter?.end()
    await scenario?.stop()
  })

  it('is never ended: its 2PC recovery is nobody’s to interrupt', async (context) => {
    if (scenario.cluster.backend.kind !== 'citus') return context.skip('the stand-in has no 2PC recovery')
    const { coordinator, database } = scenario.cluster
    const pid = (waiter as pg.Client & { processID: number }).processID
    // A recovery that meets a worker that hangs waits for it, with its lock held: where it asks on a connection that it has.
    await waitUntil('a recovery has asked there', async () => {
      const sql = `SELECT FROM pg_stat_activity WHERE application_name LIKE 'citus%' AND query LIKE '%pg_prepared_xacts%'`
      return (await server('worker-2').query(sql)).length > 0
    })
    server('worker-2').freeze()
    await waiter.query(`SET lock_timeout = '40s'`)
    // Between two recoveries nobody is in the way: asked for once more whenever it had the lock.
    const lock = `BEGIN; SELECT citus_ha.fence('{}'); LOCK TABLE pg_dist_transaction IN ACCESS EXCLUSIVE MODE; COMMIT`
    let isAsking = false
    const daemon = await waitUntil('the daemon is in the way', async () => {
      if (!isAsking) {
        isAsking = true
        const over = () => {
          isAsking = false
        }
        waiter.query(lock).then(over, over)
      }
      const [row] = await coordinator.query<{ pid: number }>(
        `SELECT a.pid FROM unnest(pg_blocking_pids($1)) b JOIN pg_stat_activity a ON a.pid = b
          WHERE a.backend_type = 'Citus Maintenance Daemon' OR a.application_name = 'Citus Maintenance Daemon'`,
        [pid],
        { database },
      )
      return row?.pid
    })
    const [asked] = await coordinator.query<{ ended: unknown[]; blockers: { pid: number }[] }>(
      'SELECT citus_ha.blockers($1) AS blockers, citus_ha.end_blockers($1) AS ended',
      [pid],
      { database, user: 'citus_ha' },
    )
    expect(asked?.blockers.map((blocker) => blocker.pid)).toContain(daemon)
    expect(asked?.ended).toEqual([])
    const alive = await coordinator.query('SELECT FROM pg_stat_activity WHERE pid = $1', [daemon], {
      database,
    })
    expect(alive).toHaveLength(1)
  })
})
