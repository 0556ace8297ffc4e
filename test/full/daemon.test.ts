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
    scenario = await Scenario.start({ settings: { 'citus.recover_2pc_interval': '1s' } })
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
    // A recovery that meets a worker that hangs waits for it, with its lock held.
    server('worker-2').freeze()
    await waiter.query(`SET lock_timeout = '40s'`)
    const daemon = await waitUntil('the daemon is in the way', async () => {
      const waiting = waiter.query(
        `BEGIN; SELECT citus_ha.fence('{}'); LOCK TABLE pg_dist_transaction IN ACCESS EXCLUSIVE MODE; COMMIT`,
      )
      waiting.catch(() => undefined)
      const [row] = await coordinator.query<{ pid: number }>(
        `SELECT a.pid FROM unnest(pg_blocking_pids($1)) b JOIN pg_stat_activity a ON a.pid = b
          WHERE a.backend_type = 'Citus Maintenance Daemon' OR a.application_name = 'Citus Maintenance Daemon'`,
        [pid],
        { database },
      )
      if (!row) await waiting
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
