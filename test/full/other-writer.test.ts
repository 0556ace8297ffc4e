import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { client, Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const ERROR = 50

/** The process of Citus’s maintenance daemon. */
async function daemonOf(server: Server, database: string): Promise<number> {
  const sql = `SELECT pid FROM pg_stat_activity WHERE application_name = 'Citus Maintenance Daemon' AND datname = $1`
  const [row] = await server.query<{ pid: number }>(sql, [database])
  if (row === undefined) throw new Error(`${server.name} has no maintenance daemon`)
  return row.pid
}

/** What Patroni's Citus mode does for a switchover: one transaction, open while servers are stopped and promoted. */
describe.skipIf(standin)('beside a tool that holds its own change of pg_dist_node open', () => {
  let scenario: Scenario
  let config: string
  let watch: WatchProcess | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  /** Whether somebody waits for a lock of the coordinator's copy. */
  const waiting = async () => {
    const { coordinator, database } = scenario.cluster
    const sql = `SELECT FROM pg_locks l WHERE NOT l.granted AND l.relation = 'pg_dist_node'::regclass`
    return (await coordinator.query(sql, [], { database })).length > 0
  }

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{ registered: false }] }, {}],
      coordinatorStandbys: [],
      install: 'no',
    })
    const { cluster } = scenario
    const standbys = [{ group: 1, address: `127.0.0.1:${server('worker-1-standby').port}` }]
    const file = async (user?: string) =>
      await scenario.configFile({
        coordinators: [{ url: cluster.coordinator.url(cluster.database, user) }],
        standbys,
      })
    await scenario.install('--config', await file())
    config = await file('citus_ha')
    await scenario.settle()
    await cluster.snapshot()
  })
  afterEach(async () => {
    await watch?.stop()
    watch = null
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  // Longer than a watcher tries without a break, which is two seconds.
  it.each([{ heldMs: 300 }, { heldMs: 3000 }])(
    'for $heldMs ms: it is waited for without an error, and Citus’s sync of what it has written goes on',
    async ({ heldMs }) => {
      const { coordinator, database } = scenario.cluster
      const [old, promoted, other] = [server('worker-1'), server('worker-1-standby'), server('worker-2')]
      watch = WatchProcess.start(['--config', config, '--log-level', 'debug'])
      await watch.says('this instance leads')
      const tool = await client(coordinator, database)
      try {
        await tool.query('BEGIN')
        await tool.query(`SELECT citus_update_node(2, '127.0.0.1-demoted', $1, true, 10000)`, [old.port])
        await old.stop('fast')
        await promoted.promote()
        await watch.says('blocked by')
        await pause(heldMs)
        await tool.query(`SELECT citus_update_node(2, '127.0.0.1', $1, true, 10000)`, [promoted.port])
        await tool.query('COMMIT')
      } finally {
        await tool.end()
      }
      const truth = expect.arrayContaining([`2 group 1 primary 127.0.0.1:${promoted.port}`])
      for (const copy of [coordinator, other, promoted])
        await waitUntil(`${copy.name} is right`, async () => {
          expect(await scenario.rows(copy)).toEqual(truth)
          return true
        })
      await watch.says(`group 1: healthy: 127.0.0.1:${promoted.port} is the primary`)
      const loud = watch.lines.filter(({ level }) => level >= ERROR).map(({ msg }) => msg)
      expect(loud).toEqual([])
      expect(coordinator.logTail(1000)).not.toMatch(/canceling statement due to user request/)
      await other.query(`UPDATE items SET note = 'after'`, [], { database })
    },
  )

  it('writes through another worker do not wait until a secondary is believed to be down', async () => {
    const { coordinator, database } = scenario.cluster
    const [old, promoted, other] = [server('worker-1'), server('worker-1-standby'), server('worker-2')]
    watch = WatchProcess.start(['--config', config, '--log-level', 'debug'])
    await watch.says('this instance leads')
    await coordinator.query(
      `SELECT citus_add_secondary_node('127.0.0.1', $1, '127.0.0.1', $2)`,
      [promoted.port, old.port],
      { database },
    )
    await scenario.settle()
    const daemon = await daemonOf(coordinator, database)
    const tool = await client(coordinator, database)
    let committed = 0
    try {
      await tool.query('BEGIN')
      await tool.query(`SELECT citus_update_node(2, '127.0.0.1-demoted', $1, true, 10000)`, [old.port])
      await tool.query(
        `SELECT citus_update_node(nodeid, '127.0.0.1', $1, true, 10000) FROM pg_dist_node WHERE noderole = 'secondary'`,
        [old.port],
      )
      await old.stop('fast')
      await promoted.promote()
      await watch.says('group 1: blocked')
      await tool.query(`SELECT citus_update_node(2, '127.0.0.1', $1, true, 10000)`, [promoted.port])
      // A sync that finds a lock of ours is tried again by Citus five seconds later.
      process.kill(daemon, 'SIGSTOP')
      await tool.query('COMMIT')
      committed = performance.now()
      const truth = expect.arrayContaining([`2 group 1 primary 127.0.0.1:${promoted.port}`])
      await waitUntil('the other worker is right', async () => {
        expect(await scenario.rows(other)).toEqual(truth)
        return true
      })
      expect(performance.now() - committed).toBeLessThan(1000)
    } finally {
      process.kill(daemon, 'SIGCONT')
      await tool.end()
    }
  })

  it('what another client has written meanwhile is seen, past the deadline too', async () => {
    const { coordinator, database } = scenario.cluster
    const promoted = server('worker-1-standby')
    await server('worker-1').stop('fast')
    await promoted.promote()
    const points: string[] = []
    const hooks = {
      reached: async (point: string) => {
        if (points.push(point) > 1) return
        const sql = `SELECT citus_update_node(2, '127.0.0.1', $1, true, 10000)`
        await coordinator.query(sql, [promoted.port], { database })
      },
    }
    const ran = await scenario.runWith(hooks, 'reconcile', '--config', config, '--timeout', '1ms')
    expect(points[0]).toBe('opened')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    for (const copy of [coordinator, server('worker-2'), promoted])
      expect(await scenario.rows(copy)).toContain(`2 group 1 primary 127.0.0.1:${promoted.port}`)
  })

  it('a change begins when whoever was in the way has gone, and not when the next try would have been due', async () => {
    const { coordinator, database } = scenario.cluster
    await server('worker-1').stop('fast')
    await server('worker-1-standby').promote()
    const tool = await client(coordinator, database)
    await tool.query('BEGIN; LOCK TABLE pg_dist_node IN EXCLUSIVE MODE')
    let tries = 0
    let gone = Promise.resolve(0)
    const afterSecondTry = async () => {
      await waitUntil('the second try waits', waiting)
      await waitUntil('it has given up', async () => !(await waiting()))
      await tool.end()
      return performance.now()
    }
    // A pause of two seconds follows the second try.
    const slow = await scenario.configFile({
      ...parse(await readFile(config, 'utf8')),
      apply: { lockTimeout: '1s' },
    })
    const hooks = {
      reached: async (point: string) => {
        if (point === 'opened' && ++tries === 2) gone = afterSecondTry()
      },
    }
    const ran = await scenario.runWith(hooks, 'reconcile', '--config', slow)
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    expect(performance.now() - (await gone)).toBeLessThan(1500)
  })
})
