import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TAKE_CHANGE_LOCK } from '../../src/apply/statements.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, timed } from '../support/clients.ts'
import { expectRight, killedAt, truthOf } from '../support/crash.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { type Cut, CutProxy } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

/** What a machine with two busy processors may add to a limit, in milliseconds. */
const SLACK_MS = 1500
/** A survey, or a message of a change, that gets no answer: `detect.timeout`, and the same within a change. */
const ANSWER_MS = 2000

describe('commits and connections that do not come back', () => {
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

  describe('a synchronous standby that is gone', () => {
    const gone = { synchronous_standby_names: 'gone', synchronous_commit: 'on' }

    it('of the coordinator: the decision goes on after decisionWait, with a warning', async () => {
      await server('coordinator').configure(gone)
      const config = await scenario.configFile({ apply: { decisionWait: '700ms' } })
      const { value: report, ms } = await timed(() => scenario.reconcile('--config', config))
      expect(report).toMatchObject({ exitCode: 0, outcome: 'changed', epoch: 1 })
      expect(report.warnings.join('\n')).toContain('700 ms for synchronous replication')
      expect(ms).toBeGreaterThan(700)
      expect(ms).toBeLessThan(700 + ANSWER_MS + SLACK_MS)
      await expectRight(scenario, copies(), truth())
    })

    it.each(['worker-1-standby', 'worker-2'])('of %s: nothing waits for it', async (name) => {
      await server(name).configure(gone)
      const { value: report, ms } = await timed(() => scenario.reconcile())
      expect(report).toMatchObject({ exitCode: 0, outcome: 'changed' })
      expect(ms).toBeLessThan(ANSWER_MS + SLACK_MS)
      await expectRight(scenario, copies(), truth())
    })

    it.each(['recover', 'reconcile'])(
      'of the promoted node, with a decided change still to be committed there: %s',
      async (command) => {
        expect(await killedAt('decided', ['reconcile', ...scenario.options])).toBe('SIGKILL')
        await server('worker-1-standby').configure(gone)
        const { value: ran, ms } = await timed(() => scenario.run(command))
        expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
        expect(ms).toBeLessThan(ANSWER_MS + SLACK_MS)
        await expectRight(scenario, copies(), truth())
      },
    )

    it.each(['all-prepared', 'decided'])('of everybody, after a change cut off at “%s”', async (point) => {
      expect(await killedAt(point, ['reconcile', ...scenario.options])).toBe('SIGKILL')
      await Promise.all(copies().map((each) => each.configure(gone)))
      const { value: report, ms } = await timed(() => scenario.reconcile())
      expect(report).toMatchObject({ exitCode: 0 })
      expect(ms).toBeLessThan(2 * ANSWER_MS + SLACK_MS)
      await expectRight(scenario, copies(), truth())
    })

    it('of the coordinator, where only what was proved is to be recorded', async () => {
      await scenario.restore()
      await scenario.reconcile()
      const { coordinator, database } = scenario.cluster
      await coordinator.query('DELETE FROM citus_ha.lineage', [], { database })
      await coordinator.configure(gone)
      const { value: ran, ms } = await timed(() => scenario.run('reconcile'))
      expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
      expect(ms).toBeLessThan(2 * ANSWER_MS + SLACK_MS)
    })
  })

  describe('a lock on the coordinator that does not come', () => {
    const TIMEOUT_MS = 500
    const held = async (sql: string) => {
      const { coordinator, database } = scenario.cluster
      const session = await openTransaction(coordinator, database, sql)
      open.push({ close: () => session.end() })
    }
    const inTime = async (...args: string[]) => {
      const { value: ran, ms } = await timed(() => scenario.run(...args))
      expect(ran, ran.stderr).toMatchObject({ exitCode: 4 })
      expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS)
    }

    it('for recovery: --timeout is the end', async () => {
      expect(await killedAt('all-prepared', ['reconcile', ...scenario.options])).toBe('SIGKILL')
      await held(TAKE_CHANGE_LOCK)
      await inTime('reconcile', '--timeout', `${TIMEOUT_MS}ms`)
    })

    it('for what was proved: --timeout is the end', async () => {
      await scenario.restore()
      const { coordinator, database } = scenario.cluster
      await coordinator.query('DELETE FROM citus_ha.lineage', [], { database })
      await held('LOCK TABLE citus_ha.lineage IN EXCLUSIVE MODE')
      await inTime('reconcile', '--timeout', `${TIMEOUT_MS}ms`)
    })
  })

  describe('a connection that breaks', () => {
    const cuts: readonly Cut[] = ['request lost', 'answer lost']
    const messages = [
      ['worker-2', 'PREPARE', /; PREPARE TRANSACTION/],
      ['worker-2', 'COMMIT PREPARED', /COMMIT PREPARED/],
      ['coordinator', 'COMMIT', /COMMIT\0/],
    ] as const
    it.each(messages.flatMap((message) => cuts.map((cut) => [...message, cut] as const)))(
      'on the way to %s at %s (%s): %s',
      async (name, _, pattern, cut) => {
        const proxy = await CutProxy.to(server(name), pattern, cut)
        open.push(proxy)
        const config = await scenario.configFile({ addresses: { [at(name)]: { connect: proxy.address } } })
        const { value: report, ms } = await timed(() => scenario.reconcile('--config', config))
        expect(proxy.cuts).toBe(1)
        expect(report).toMatchObject({ exitCode: 0 })
        expect(ms).toBeLessThan(3 * ANSWER_MS + SLACK_MS)
        await expectRight(scenario, copies(), truth())
        const { coordinator, database } = scenario.cluster
        const made = await coordinator.query('SELECT epoch::int FROM citus_ha.change', [], { database })
        expect(made).toEqual([{ epoch: 1 }])
      },
    )
  })
})
