import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { pauseNode } from '../support/capabilities.ts'
import { insert, keysOf, openTransaction, shareOf, standin, timed, Writer } from '../support/clients.ts'
import { expectRight, leftPrepared, truthOf } from '../support/crash.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { BlackHole } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

/** What a machine with two busy processors may add to a limit, in milliseconds. */
const SLACK_MS = 1500
/** A survey, or a message of a change, that gets no answer: `detect.timeout`, and the same within a change. */
const ANSWER_MS = 2000

describe('nodes and networks that fall silent', () => {
  let scenario: Scenario
  let open: { close(): Promise<void> }[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
  const truth = () => truthOf(scenario, 'coordinator')

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await restoreFailedOver(scenario)
  })
  afterEach(async () => {
    for (const each of scenario.cluster.servers) each.thaw()
    await Promise.all(open.map((each) => each.close()))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Goes by itself, without a further run of ours: by what was sent already, and by Citus's own sync. */
  const rightByItself = (name: string) =>
    waitUntil(`the copy of ${name} is right`, async () => {
      const rows = await scenario.rows(server(name))
      return JSON.stringify(rows) === JSON.stringify(truth())
    })

  describe('a metadata worker that hangs', () => {
    it('from before the walk: the others are right, it is flagged and named, and right when it goes on', async () => {
      server('worker-2').freeze()
      const { value: report, ms } = await timed(() => scenario.reconcile('--timeout', '3s'))
      expect(report).toMatchObject({ exitCode: 5, outcome: 'unproved' })
      expect(report.copies.find(({ node }) => node === at('worker-2'))).toMatchObject({
        state: 'unreachable',
      })
      expect(ms).toBeLessThan(3000 + ANSWER_MS + SLACK_MS)
      expect(await scenario.rows(server('coordinator'))).toEqual(truth())
      expect(await scenario.rows(server('worker-1-standby'))).toEqual(truth())
      server('worker-2').thaw()
      await rightByItself('worker-2')
      await expectRight(scenario, copies(), truth())
    })

    it.each(['opened', 'locked', 'all-prepared', 'decided'])(
      'from the point “%s” of a change: bounded, and nothing stays prepared there when it goes on',
      async (point) => {
        const hung = server('worker-2')
        let done = false
        const hooks = {
          reached: async (reached: string) => {
            if (reached === point && !done) hung.freeze()
            if (reached === point) done = true
          },
        }
        const { value: ran, ms } = await timed(() =>
          scenario.runWith(hooks, 'reconcile', '--json', '--timeout', '3s'),
        )
        expect(done).toBe(true)
        expect([0, 5], ran.stderr).toContain(ran.exitCode)
        expect(ms).toBeLessThan(3000 + 3 * ANSWER_MS + SLACK_MS)
        expect(await scenario.rows(server('coordinator'))).toEqual(truth())
        expect(await scenario.rows(server('worker-1-standby'))).toEqual(truth())
        hung.thaw()
        await rightByItself('worker-2')
        await expectRight(scenario, copies(), truth())
        expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
      },
    )

    it('and goes on as soon as it was given up: what was sent to it comes to nothing', async () => {
      const hung = server('worker-2')
      const hooks = {
        reached: async (point: string) => {
          if (point === 'locked') hung.freeze()
        },
      }
      const ran = await scenario.runWith(hooks, 'reconcile', '--timeout', '1s')
      expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
      hung.thaw()
      await waitUntil('no session of ours is left there', async () => {
        const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
        return (await hung.query(sql)).length === 0
      })
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
      expect(await leftPrepared(scenario)).toEqual([])
      expect(await scenario.rows(hung)).toEqual(await scenario.rows(server('coordinator')))
    })

    it.skipIf(standin)('does not keep writers waiting for longer than a lock may take', async () => {
      const { cluster } = scenario
      const keys = await keysOf(cluster, 1)
      const writer = new Writer(server('coordinator'), cluster.database, shareOf(keys, 0, 1), insert, 'one')
      const blocker = await openTransaction(server('worker-2'), cluster.database, pauseNode(2))
      open.push({ close: async () => void (await blocker.end().catch(() => undefined)) })
      const hung = server('worker-2')
      const probe = await hung.connect()
      open.push({ close: async () => void (await probe.end().catch(() => undefined)) })
      const freezer = waitUntil(
        'a round is on',
        async () => {
          const sql = `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
          WHERE a.application_name = 'citus-ha' AND l.locktype = 'advisory' AND NOT l.granted`
          if ((await probe.query(sql)).rows.length === 0) return false
          hung.freeze()
          return true
        },
        { everyMs: 5 },
      )
      const running = scenario.run('reconcile', '--timeout', '3s')
      await freezer
      const ran = await running
      await writer.stop()
      expect([4, 5], ran.stderr).toContain(ran.exitCode)
      // A lock round, and `lockAnswerMs` more for a node that does not even say that it has no lock.
      expect(writer.longestMs).toBeLessThan(500 + 700)
    })
  })

  it('an address that takes connections and never answers', async () => {
    const hole = await BlackHole.open()
    open.push(hole)
    const config = await scenario.configFile({
      addresses: { [at('worker-2')]: { connect: hole.address } },
    })
    const { value: report, ms } = await timed(() => scenario.reconcile('--config', config, '--timeout', '3s'))
    expect(report).toMatchObject({
      exitCode: 5,
      refusals: [{ group: 2, reason: 'primary-alive-elsewhere' }],
    })
    expect(report.copies.find(({ node }) => node === at('worker-2'))).toMatchObject({ state: 'unreachable' })
    expect(ms).toBeLessThan(3000 + 2 * ANSWER_MS + SLACK_MS)
    expect(await scenario.rows(server('coordinator'))).toEqual(truth())
    await rightByItself('worker-2')
    await expectRight(scenario, copies(), truth())
  })
})
