import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { oldKeyOf, standin } from '../support/clients.ts'
import { routesOf } from '../support/routes.ts'
import { client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

type Works = 'works' | 'fails'

/** What a node being down costs whom, before, during and after: `routing` of the configuration. */
describe('routing, with two standbys in group 1 and one in group 2', () => {
  let scenario: Scenario
  let watching: Watching | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const ENTRIES = {
    coordinator: 'coordinator',
    standby: 'coordinator-standby',
    expand: 'coordinator-expand',
    worker: 'worker-2',
  }
  const COPIES = ['coordinator', 'worker-2', 'coordinator-standby', 'coordinator-expand']

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
      workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await watching?.stop()
    watching = null
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** By kind of coordinator: does a read of group 1, does a write to it work? Group 2 has to, all the time. */
  async function table(): Promise<Record<string, string>> {
    await scenario.settle().catch(() => undefined)
    const cells = await Promise.all(
      Object.entries(ENTRIES).map(async ([kind, name]) => {
        const routes = await routesOf(scenario.cluster, server(name), [1, 2])
        expect(routes[2]?.read, `${kind}, group 2`).toBe('works')
        return [kind, `read ${routes[1]?.read}, write ${routes[1]?.write}`]
      }),
    )
    return Object.fromEntries(cells)
  }

  /** Standby coordinators and expand coordinators take no writes, whatever happens. */
  const row = (read: Works, write: Works, expand: Works) => ({
    coordinator: `read ${read}, write ${write}`,
    worker: `read ${read}, write ${write}`,
    standby: `read ${read}, write fails`,
    expand: `read ${expand}, write fails`,
  })
  const WELL = row('works', 'works', 'works')

  async function configured(routing: object): Promise<string[]> {
    return ['--config', await scenario.configFile({ routing })]
  }

  /** Of the copies that are named, the rows of group 1 that are inactive. */
  async function inactive(): Promise<Record<string, string[]>> {
    const cells = await Promise.all(
      COPIES.map(async (name) => {
        const rows = await scenario.rows(server(name))
        return [name, rows.filter((each) => each.endsWith(' inactive'))]
      }),
    )
    return Object.fromEntries(cells)
  }
  const everywhere = (...rows: string[]) => Object.fromEntries(COPIES.map((name) => [name, rows]))

  async function back(name: string): Promise<void> {
    await server(name).start()
    await scenario.streams(server(name))
  }

  const status = async (...args: string[]) => {
    const ran = await scenario.run('status', '--json', ...args)
    return JSON.parse(ran.stdout)
  }

  describe('secondaryDown: auto', () => {
    it('sets the row of a secondary that is down inactive on every copy: its reads go to the next; undone when it is back', async () => {
      expect(await table()).toEqual(WELL)
      await server('worker-1-standby').kill()
      expect(await table()).toEqual(row('works', 'works', 'fails'))

      const report = await scenario.reconcile()
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(report.changes).toMatchObject([
        { group: 1, nodeid: 4, kind: 'remedy', from: 'active', to: 'inactive' },
      ])
      await scenario.settle().catch(() => undefined)
      expect(await inactive()).toEqual(everywhere(`4 group 1 secondary ${at('worker-1-standby')} inactive`))
      expect(await table()).toEqual(WELL)
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })

      await back('worker-1-standby')
      const ended = await scenario.reconcile()
      expect(ended).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(ended.changes).toMatchObject([{ group: 1, nodeid: 4, kind: 'remedy-ended', to: 'active' }])
      expect(await inactive()).toEqual(everywhere())
      expect(await table()).toEqual(WELL)
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
    })

    it('moves nothing where the secondary that is down is not the one that is read, but for its own row', async () => {
      await server('worker-1-standby-2').kill()
      expect(await table()).toEqual(WELL)
      const report = await scenario.reconcile()
      expect(report.changes).toMatchObject([{ nodeid: 5, kind: 'remedy', to: 'inactive' }])
      expect(await table()).toEqual(WELL)
    })

    it('with none left, reads go to the primary by another name; the first that is back takes them again', async () => {
      await server('worker-1-standby').kill()
      await server('worker-1-standby-2').kill()
      expect(await table()).toEqual(row('works', 'works', 'fails'))
      const report = await scenario.reconcile()
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(await table()).toEqual(WELL)

      await back('worker-1-standby-2')
      const one = await scenario.reconcile()
      expect(one).toMatchObject({ outcome: 'changed', exitCode: 0 })
      await scenario.settle().catch(() => undefined)
      expect(await inactive()).toEqual(everywhere(`4 group 1 secondary ${at('worker-1-standby')} inactive`))
      expect(await table()).toEqual(WELL)

      await back('worker-1-standby')
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(await inactive()).toEqual(everywhere())
      expect(await table()).toEqual(WELL)
    })

    it('one that is back but more than maxLag behind waits', async () => {
      await server('worker-1-standby').kill()
      await scenario.reconcile()
      await server('worker-1-standby').start()
      await scenario.streams(server('worker-1-standby'))
      const pauseReplay = 'SELECT pg_wal_replay_pause()'
      await server('worker-1-standby').query(pauseReplay)
      await waitUntil('replay stands still', async () => {
        const [at] = await server('worker-1-standby').query<{ state: string }>(
          'SELECT pg_get_wal_replay_pause_state() AS state',
        )
        return at?.state === 'paused'
      })
      await server('worker-1').query(`SELECT pg_logical_emit_message(false, 'filler', repeat('x', 300000))`)
      const near = await configured({ maxLag: '100kB' })
      await waitUntil('it is seen behind', async () => (await lagOf('worker-1-standby')) > 200_000)
      expect(await scenario.reconcile(...near)).toMatchObject({ outcome: 'converged', changes: [] })
      const wide = await configured({ maxLag: '1MB' })
      expect(await scenario.reconcile(...wide, '--dry-run')).toMatchObject({
        outcome: 'planned',
        changes: [{ nodeid: 4, kind: 'remedy-ended' }],
      })
      await server('worker-1-standby').query('SELECT pg_wal_replay_resume()')
    })

    it('watch waits until it is confirmed, acts by itself, and undoes it by itself', async () => {
      const detect = { interval: '300ms', timeout: '600ms', cooldown: '0s', confirm: 3 }
      watching = await Watching.start(scenario, { detect })
      const surveys = watching.surveys(2)
      await server('worker-1-standby').kill()
      await surveys
      await watching.changed(1)
      expect(watching.of('held')).toMatchObject([{ group: 1, why: 'unconfirmed' }])
      expect(await table()).toEqual(WELL)
      expect(watching.state.groups.find(({ group }) => group === 1)).toMatchObject({
        code: 'secondary-down',
        rule: 'D049',
      })
      await back('worker-1-standby')
      await watching.changed(2)
      expect(await inactive()).toEqual(everywhere())
      expect(await table()).toEqual(WELL)
    })

    it('a promotion is not kept waiting by the cooldown of what was done about a secondary', async () => {
      const detect = { interval: '300ms', timeout: '600ms', cooldown: '60s', confirm: 1 }
      watching = await Watching.start(scenario, { detect })
      await server('worker-1-standby').kill()
      await watching.changed(1)
      await server('worker-1').kill()
      await server('worker-1-standby-2').promote()
      await watching.changed(2)
      expect(await table()).toEqual(WELL)
    })
  })

  it('secondaryDown: deactivate never reads the primary, and says what fails', async () => {
    const deactivate = await configured({ secondaryDown: 'deactivate' })
    await server('worker-1-standby').kill()
    expect(await scenario.reconcile(...deactivate)).toMatchObject({ outcome: 'changed' })
    expect(await table()).toEqual(WELL)
    await server('worker-1-standby-2').kill()
    const report = await scenario.reconcile(...deactivate)
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(report.warnings.join()).toMatch(/group 1: reads through secondaries of cluster default may fail/)
    expect(await table()).toEqual(row('works', 'works', 'fails'))
    const [, group] = (await status(...deactivate)).groups
    expect(group.routes).toContainEqual(
      expect.objectContaining({
        kind: 'expand coordinator (physical standby)',
        read: { to: null, works: 'no', why: expect.stringContaining('is inactive') },
      }),
    )
    await back('worker-1-standby-2')
    expect(await scenario.reconcile(...deactivate)).toMatchObject({ outcome: 'changed' })
    expect(await table()).toEqual(WELL)
  })

  it('secondaryDown: leave moves nothing, and says what fails', async () => {
    const leave = await configured({ secondaryDown: 'leave' })
    await server('worker-1-standby').kill()
    const report = await scenario.reconcile(...leave)
    expect(report).toMatchObject({ outcome: 'converged', changes: [] })
    expect(report.warnings.join()).toMatch(
      /group 1: reads through secondaries .* may fail: .*left as they are/,
    )
    expect(await table()).toEqual(row('works', 'works', 'fails'))
    await back('worker-1-standby')
    expect(await table()).toEqual(WELL)
  })

  describe('primaryDown: secondary', () => {
    const degraded = row('works', 'fails', 'works')

    it('reads go to a live secondary until the promotion, whose own change ends it', async () => {
      const args = await configured({ primaryDown: 'secondary' })
      await server('worker-1').kill()
      expect(await table()).toEqual(row('fails', 'fails', 'works'))
      const report = await scenario.reconcile(...args)
      expect(report).toMatchObject({ outcome: 'refused', exitCode: 3 })
      expect(report.changes).toMatchObject([{ group: 1, nodeid: 2, kind: 'degraded', from: at('worker-1') }])
      expect(await table()).toEqual(degraded)
      if (!standin) expect(await writeError()).toMatch(/read-only transaction/)
      const told = await status(...args)
      expect(told.remedies.join()).toMatch(/group 1: degraded: .* is down; reads go to .*writes fail/)
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'refused', changes: [] })

      await server('worker-1-standby').promote()
      const promoted = await scenario.reconcile(...args)
      expect(promoted).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(promoted.changes[0]).toMatchObject({
        nodeid: 2,
        kind: 'primary-moved',
        to: at('worker-1-standby'),
      })
      expect(await table()).toEqual(WELL)
      expect((await status(...args)).remedies.join()).not.toContain('degraded')
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'converged', changes: [] })
    })

    it('ends when the primary itself is back', async () => {
      const args = await configured({ primaryDown: 'secondary' })
      await server('worker-1').kill()
      await scenario.reconcile(...args)
      expect(await table()).toEqual(degraded)
      await server('worker-1').start()
      const ended = await scenario.reconcile(...args)
      expect(ended).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(ended.changes).toMatchObject([{ nodeid: 2, kind: 'degraded-ended', to: at('worker-1') }])
      expect(await table()).toEqual(WELL)
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'converged', changes: [] })
    })

    it('leave, the default: nothing is written', async () => {
      await server('worker-1').kill()
      const before = await scenario.footprint()
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'refused', changes: [] })
      expect(await scenario.footprint()).toEqual(before)
    })

    it('watch degrades once the absence is confirmed, and the promotion after it is acted upon at once', async () => {
      const detect = { interval: '300ms', timeout: '600ms', cooldown: '60s', confirm: 2 }
      watching = await Watching.start(scenario, { detect, routing: { primaryDown: 'secondary' } })
      await server('worker-1').kill()
      await watching.changed(1)
      expect(watching.changes[0]?.changes).toMatchObject([{ kind: 'degraded' }])
      expect(await table()).toEqual(degraded)
      await server('worker-1-standby').promote()
      await watching.changed(2)
      expect(await table()).toEqual(WELL)
    })

    it.skipIf(standin)('Citus’s records of two-phase commits outlive it', async () => {
      const args = await configured({ primaryDown: 'secondary' })
      const { coordinator, database } = scenario.cluster
      const records = async () =>
        (
          await coordinator.query<{ gid: string }>(
            'SELECT gid FROM pg_dist_transaction WHERE groupid = 1 ORDER BY gid',
            [],
            { database },
          )
        ).map(({ gid }) => gid)
      await server('worker-1').kill()
      const before = ['citus_0_4711_98_1', 'citus_0_4711_99_1']
      await coordinator.query(
        `INSERT INTO pg_dist_transaction (groupid, gid) SELECT 1, unnest($1::text[])`,
        [before],
        {
          database,
        },
      )
      await scenario.reconcile(...args)
      // Citus finds none of them prepared on the standby, believes that they are done with, and is told otherwise.
      const recover = () => coordinator.query('SELECT recover_prepared_transactions()', [], { database })
      await recover()
      expect(await records()).not.toEqual(expect.arrayContaining(before))
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'refused', changes: [] })
      expect(await records()).toEqual(expect.arrayContaining(before))
      await recover()
      await server('worker-1').start()
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'changed' })
      // The change asked for Citus's recovery. One that had begun before has the standby in mind: they come back once more.
      expect(await scenario.reconcile(...args)).toMatchObject({ outcome: 'converged' })
      expect(await records()).toEqual(expect.arrayContaining(before))
    })

    it.skipIf(standin)(
      'what was prepared on a primary that is back is committed, not rolled back',
      async () => {
        const args = await configured({ primaryDown: 'secondary' })
        const { coordinator, database } = scenario.cluster
        const inApp = { database }
        // Decided by the coordinator, prepared on the worker, and its standby never hears of it.
        await server('worker-1-standby').query('SELECT pg_wal_replay_pause()')
        await server('worker-1-standby-2').query('SELECT pg_wal_replay_pause()')
        const gid = 'citus_0_4711_99_1'
        const id = await oldKeyOf(scenario.cluster, 1)
        const [shard] = await coordinator.query<{ name: string }>(
          `SELECT shard_name('items', get_shard_id_for_distribution_column('items', $1::int)) AS name`,
          [id],
          inApp,
        )
        // No recovery of Citus's comes between: it would find the one without the other.
        const decider = await client(coordinator, database)
        await decider.query('BEGIN; LOCK TABLE pg_dist_transaction IN SHARE ROW EXCLUSIVE MODE')
        await decider.query('INSERT INTO pg_dist_transaction (groupid, gid) VALUES (1, $1)', [gid])
        const session = await client(server('worker-1'), database)
        await session.query('BEGIN')
        await session.query(`UPDATE ${shard?.name} SET note = 'decided' WHERE id = ${id}`)
        await session.query(`PREPARE TRANSACTION '${gid}'`)
        await session.end()
        await server('worker-1').kill()
        await decider.query('COMMIT')
        await decider.end()
        await scenario.reconcile(...args)
        await coordinator.query('SELECT recover_prepared_transactions()', [], inApp)
        await server('worker-1').start()
        await scenario.reconcile(...args)
        await coordinator.query('SELECT recover_prepared_transactions()', [], inApp)
        expect(await coordinator.query('SELECT note FROM items WHERE id = $1', [id], inApp)).toEqual([
          { note: 'decided' },
        ])
      },
    )
  })

  async function lagOf(name: string): Promise<number> {
    const { groups } = await status()
    const nodes = groups.flatMap(
      (group: { nodes: { address: string; lagBytes: number | null }[] }) => group.nodes,
    )
    return nodes.find((node: { address: string }) => node.address === at(name))?.lagBytes ?? 0
  }

  async function writeError(): Promise<string> {
    const connection = await client(server('coordinator'), scenario.cluster.database)
    try {
      await connection.query(`UPDATE items SET note = 'x'`)
      return 'none'
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    } finally {
      await connection.end()
    }
  }
})
