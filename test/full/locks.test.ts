import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { pauseNode } from '../support/capabilities.ts'
import {
  blockersOf,
  insert,
  keysOf,
  oldKeyOf,
  openTransaction,
  shareOf,
  standin,
  timed,
  Writer,
} from '../support/clients.ts'
import { expectRight, leftPrepared, truthOf } from '../support/crash.ts'
import { start } from '../support/program.ts'
import { citusHa, client, type Ran, Scenario } from '../support/scenario.ts'

/** What a machine with two busy processors may add to a limit, in milliseconds. */
const SLACK_MS = 700
const LOCK_TIMEOUT_MS = 200

describe('locks that do not come', () => {
  let scenario: Scenario
  let open: { end(): Promise<void> }[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await Promise.all(open.map((each) => each.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function transaction(entry: string, ...sql: string[]) {
    const session = await openTransaction(server(entry), scenario.cluster.database, ...sql)
    open.push(session)
    return session
  }

  /** Somebody whose statement has nothing to do with any of it. */
  async function bystander(entry: string) {
    const session = await client(server(entry), scenario.cluster.database)
    open.push(session)
    const undisturbed = session.query('SELECT pg_sleep(3)').then(
      () => true,
      (error: Error) => error.message,
    )
    return { undisturbed }
  }

  /** The old primary goes on running, so that writers have somewhere to write. */
  const promote = () => server('worker-1-standby').promote()
  const vouched = (...args: string[]) =>
    scenario.run('reconcile', '--json', '--group', '1', '--promoted', at('worker-1-standby'), ...args)

  describe.skipIf(standin)('an idle transaction that wrote to the group', () => {
    it.each(['coordinator', 'worker-2'])(
      'through %s is named; other writers wait no longer than one round, and nothing is changed',
      async (entry) => {
        const { cluster } = scenario
        const id = await oldKeyOf(cluster, 1)
        await transaction(entry, `UPDATE items SET note = 'idle' WHERE id = ${id}`)
        await promote()
        const keys = await keysOf(cluster, 1)
        const entries = ['coordinator', 'worker-2'].map(server)
        const writers = entries.map(
          (each, n) => new Writer(each, cluster.database, shareOf(keys, n, 2), insert, 'one'),
        )
        const before = await scenario.footprint()
        const { value: ran, ms } = await timed(() => vouched('--timeout', '3s'))
        await Promise.all(writers.map((writer) => writer.stop()))

        expect(ran).toMatchObject({ exitCode: 4 })
        expect(ms).toBeLessThan(3000 + 2500)
        expect(await scenario.footprint()).toEqual(before)
        expect(await leftPrepared(scenario)).toEqual([])
        for (const writer of writers) {
          expect(writer.failures).toEqual([])
          expect(writer.acknowledged.length).toBeGreaterThan(50)
          expect(writer.longestMs).toBeLessThan(LOCK_TIMEOUT_MS + SLACK_MS)
        }
        const blocker = blockersOf(ran).find(({ application }) => application === 'the-idle-one')
        expect(blocker, ran.stdout).toMatchObject({
          node: { port: server(entry).port },
          user: 'postgres',
          state: 'idle in transaction',
          statement: `UPDATE items SET note = 'idle' WHERE id = ${id}`,
        })
        expect(blocker?.ageMs).toBeGreaterThan(500)
        expect(ran.stderr).toContain(`${at(entry)}: pid ${blocker?.pid}, postgres, the-idle-one`)
      },
    )

    it('of no other group is in the way', async () => {
      await transaction(
        'coordinator',
        `UPDATE items SET note = 'idle' WHERE id = ${await oldKeyOf(scenario.cluster, 2)}`,
      )
      await promote()
      const { value: ran, ms } = await timed(() => vouched())
      expect(ran).toMatchObject({ exitCode: 0 })
      expect(ms).toBeLessThan(3000)
    })
  })

  it('ends who is in the way after --force-after, and says whom', async () => {
    const bystanders = await Promise.all(['coordinator', 'worker-2', 'worker-2'].map(bystander))
    const idle = await transaction('worker-2', pauseNode(2))
    bystanders.push(await bystander('worker-2'))
    const { rows } = await idle.query('SELECT pg_backend_pid() AS pid')
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const { value: ran, ms } = await timed(() =>
      scenario.run('reconcile', '--json', '--force-after', '300ms'),
    )
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    expect(ms).toBeGreaterThan(300)
    expect(ms).toBeLessThan(5000)
    expect(JSON.parse(ran.stdout).ended).toMatchObject([
      {
        node: { port: server('worker-2').port },
        pid: rows[0].pid,
        user: 'postgres',
        application: 'the-idle-one',
      },
    ])
    await expect(idle.query('SELECT 1')).rejects.toThrow()
    expect(await Promise.all(bystanders.map((each) => each.undisturbed))).toEqual(bystanders.map(() => true))
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('ends nobody without being asked to, and gets through when the lock is let go', async () => {
    const bystanders = await Promise.all(['coordinator', 'coordinator', 'worker-2'].map(bystander))
    const idle = await transaction('coordinator', pauseNode(2))
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const child = start('reconcile', '--json', ...scenario.options, '--timeout', '20s')
    await waitUntil('a round that fails', () => child.stderr().includes('trying again'))
    await idle.query('COMMIT')
    expect(await child.ended()).toMatchObject({ code: 0 })
    expect(await Promise.all(bystanders.map((each) => each.undisturbed))).toEqual(bystanders.map(() => true))
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('gets through between transactions that a session runs one after the other', async () => {
    const { coordinator, database } = scenario.cluster
    const session = await client(coordinator, database)
    open.push(session)
    const hold = (seconds: number) =>
      session.query(`BEGIN; LOCK TABLE pg_dist_node IN ROW SHARE MODE; SELECT pg_sleep(${seconds}); COMMIT`)
    let isOver = false
    // Until each wait for its end is shorter than the pause would be: tried right after it, a lock always comes too late.
    const busy = async () => {
      await hold(6)
      while (!isOver) await hold(1)
    }
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const running = busy()
    const ran = await scenario.run('reconcile', '--json', '--timeout', '30s')
    isOver = true
    await running
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it.each(['citus_ha', 'postgres'])(
    'never ends another instance’s change, made as the role %s',
    async (role) => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const { coordinator, database } = scenario.cluster
      let rival: Ran | undefined
      const hooks = {
        reached: async (point: string) => {
          if (point === 'locked')
            rival = await scenario.run('reconcile', '--force-after', '1ms', '--timeout', '1s')
        },
      }
      const url = coordinator.url(database, role)
      const first = await citusHa(['reconcile', '--json', '--coordinator', url], hooks)
      expect(first, first.stderr).toMatchObject({ exitCode: 0 })
      expect(JSON.parse(first.stdout)).toMatchObject({ outcome: 'changed', epoch: 1 })
      expect(rival).toMatchObject({ exitCode: 4 })
      await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    },
  )

  it.each(['coordinator', 'worker-2'])(
    'names a prepared transaction of somebody else on %s, and leaves it alone',
    async (entry) => {
      const session = await client(server(entry), scenario.cluster.database)
      await session.query(`BEGIN; ${pauseNode(2)}; PREPARE TRANSACTION 'other'`)
      await session.end()
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const ran = await scenario.run('reconcile', '--json', '--timeout', '3s', '--force-after', '1ms')
      // Without a copy that is locked it goes on, and Citus's own sync may make that one right; without the coordinator's not.
      expect(entry === 'coordinator' ? [4] : [0, 5]).toContain(ran.exitCode)
      expect(blockersOf(ran), ran.stdout).toContainEqual(
        expect.objectContaining({ pid: 0, node: expect.objectContaining({ port: server(entry).port }) }),
      )
      expect(ran.stderr).toContain(`${at(entry)}: a prepared transaction`)
      const left = await server(entry).query('SELECT gid FROM pg_prepared_xacts')
      expect(left).toEqual([{ gid: 'other' }])
      await server(entry).query(`ROLLBACK PREPARED 'other'`)
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    },
  )

  describe('a signal while it waits for locks', () => {
    it.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('%s: rolled back, exit code %i', async (signal, code) => {
      await transaction('coordinator', pauseNode(2))
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const before = await scenario.footprint()
      const child = start('reconcile', ...scenario.options, '--timeout', '60s')
      await waitUntil('a round that fails', () => child.stderr().includes('trying again'))
      const { value: end, ms } = await timed(() => {
        child.process.kill(signal)
        // A terminal that is closed sends it, and its shell once more.
        if (signal === 'SIGHUP') child.process.kill(signal)
        return child.ended()
      })
      expect(end, child.stderr()).toMatchObject({ code })
      expect(ms).toBeLessThan(4000)
      expect(await leftPrepared(scenario)).toEqual([])
      expect(await scenario.footprint()).toEqual(before)
    })

    it('a second one ends it at once and says what it leaves', async () => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const hung = server('worker-2')
      const child = start('reconcile', ...scenario.options, '--timeout', '60s')
      hung.freeze()
      try {
        await waitUntil('a connection of ours', async () => {
          const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
          return (await server('coordinator').query(sql)).length > 0
        })
        child.process.kill('SIGINT')
        const { value: end, ms } = await timed(() => {
          child.process.kill('SIGTERM')
          return child.ended()
        })
        expect(ms).toBeLessThan(1000)
        expect([130, 143]).toContain(end.code)
        expect(child.stderr()).toContain('citus-ha recover')
      } finally {
        hung.thaw()
      }
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
      await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    })
  })
})
