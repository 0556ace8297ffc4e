import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { backends, refusal, START_LIMIT_MS, World } from './world.ts'

const ALWAYS = { 'citus.use_secondary_nodes': 'always' }

describe.each(backends)('where queries go with $name', (backend) => {
  let world: World
  beforeAll(async () => {
    world = await World.start(backend, { coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }] })
    for (const server of [world.coordinator, world.worker(1), world.worker(2)]) {
      await server.query('set citus.enable_ddl_propagation = off; create role bare login')
    }
  }, START_LIMIT_MS)
  afterEach(() => world.tidy())
  afterAll(() => world?.cluster.stop())

  const at = (host: string, group = 1) => `${host}:${world.worker(group).port}`

  /** Registers another name of the primary's address as a secondary: it answers, whoever is asked. */
  async function secondary(host: string, group = 1, cluster = 'default'): Promise<number> {
    const [row] = await world.coordinator.query<{ id: number }>(
      `select citus_add_secondary_node($1, $2, '127.0.0.1', $2, $3) as id`,
      [host, world.worker(group).port, cluster],
    )
    if (row === undefined) throw new Error('no nodeid')
    return row.id
  }

  const reader = (settings: Record<string, string> = ALWAYS) => world.open(world.coordinator, { settings })

  async function readError(session: pg.Client): Promise<string> {
    const { code, message } = await refusal(world.read(session, 1))
    return `${code} ${message}`
  }

  it('goes to the primary, with secondaries there too', async () => {
    await secondary('localhost')
    for (const server of [world.coordinator, world.worker(2)]) {
      const session = await world.open(server)
      expect(await world.read(session, 1)).toBe(at('127.0.0.1'))
      expect(await world.writeTarget(session, 1)).toBe(at('127.0.0.1'))
    }
  })

  it('follows an update at once in sessions that had looked before, on coordinator and worker', async () => {
    const sessions = [await world.open(world.coordinator), await world.open(world.worker(2))]
    for (const session of sessions) expect(await world.read(session, 1)).toBe(at('127.0.0.1'))
    const move = `update pg_dist_node set nodename = 'localhost' where groupid = 1`
    for (const server of [world.coordinator, world.worker(2)]) await server.query(move)
    for (const session of sessions) {
      expect(await world.read(session, 1)).toBe(at('localhost'))
      expect(await world.writeTarget(session, 1)).toBe(at('localhost'))
    }
  })

  it('follows it on a standby of the coordinator by replay', async () => {
    const standby = world.cluster.server('coordinator-standby')
    const session = await world.open(standby)
    expect(await world.read(session, 1)).toBe(at('127.0.0.1'))
    await world.coordinator.query(`update pg_dist_node set nodename = 'localhost' where groupid = 1`)
    await waitUntil('the standby to follow', async () => (await world.read(session, 1)) === at('localhost'))
    // The sentence is older than its SQLSTATE: Citus 11.3 says it with XX000.
    expect(await refusal(world.writeTarget(session, 1))).toMatchObject({
      code: expect.stringMatching(/^(25006|XX000)$/),
      message: 'writing to worker nodes is not currently allowed',
    })
  })

  it('reads secondaries on an expand coordinator', async () => {
    await secondary('localhost')
    const session = await world.open(world.cluster.expand)
    await waitUntil('replay', async () => (await session.query('select from pg_dist_node')).rowCount === 4)
    expect(await world.read(session, 1)).toBe(at('localhost'))
  })

  it('with use_secondary_nodes = always, reads secondaries and refuses writes, on a worker too', async () => {
    await secondary('localhost')
    for (const server of [world.coordinator, world.worker(2)]) {
      const session = await world.open(server, { settings: ALWAYS })
      expect(await world.read(session, 1)).toBe(at('localhost'))
      expect(await refusal(world.write(session, 1))).toMatchObject({
        code: 'XX000',
        message: 'writing to worker nodes is not currently allowed',
      })
    }
  })

  it('reads the secondaries of its own cluster', async () => {
    await secondary('LOCALHOST')
    await secondary('localhost', 1, 'second')
    expect(await world.read(await reader({ ...ALWAYS, 'citus.cluster_name': 'second' }), 1)).toBe(
      at('localhost'),
    )
    expect(await world.read(await reader(), 1)).toBe(at('LOCALHOST'))
    expect(await readError(await reader({ ...ALWAYS, 'citus.cluster_name': 'third' }))).toBe(
      'XX000 there is a shard placement in node group 1 but there are no nodes in that group',
    )
  })

  it('has nowhere to read without a secondary', async () => {
    expect(await readError(await reader())).toBe('XX000 node group 1 does not have a secondary node')
  })

  it('has nowhere to read or write without a primary', async () => {
    await world.coordinator.query(`update pg_dist_node set noderole = 'secondary' where groupid = 1`)
    const session = await world.open(world.coordinator)
    expect(await readError(session)).toBe('XX000 node group 1 does not have a primary node')
    expect((await refusal(world.writeTarget(session, 1))).message).toBe(
      'node group 1 does not have a primary node',
    )
  })

  it('reads nothing from an inactive secondary', async () => {
    const id = await secondary('localhost')
    await world.coordinator.query('update pg_dist_node set isactive = false where nodeid = $1', [id])
    expect(await readError(await reader())).toMatch(/^XX000 no active placements were found for shard \d+$/)
  })

  // Order is the table's physical one, and activity is looked at afterwards: an inactive row in front of an
  // active one makes reads fail. An UPDATE puts a row behind the others, where there is no room before them.
  it('takes the first row in physical order, active or not', async () => {
    const first = await secondary('localhost')
    const second = await secondary('LOCALHOST')
    const session = await reader()
    const touch = (id: number, assignment: string) =>
      world.coordinator.query(`update pg_dist_node set ${assignment} where nodeid = ${id}`)
    const order = async () =>
      (
        await world.coordinator.query<{ nodeid: number }>(
          `select nodeid from pg_dist_node where noderole = 'secondary' order by ctid`,
        )
      ).map(({ nodeid }) => nodeid)

    expect([await order(), await world.read(session, 1)]).toEqual([[first, second], at('localhost')])
    await touch(first, 'isactive = false')
    expect([await order(), await world.read(session, 1)]).toEqual([[second, first], at('LOCALHOST')])
    await touch(second, `noderack = 'touched'`)
    expect(await order()).toEqual([first, second])
    expect(await readError(session)).toMatch(/^XX000 no active placements were found for shard \d+$/)
  })

  describe('citus_check_connection_to_node', () => {
    const ask = 'select citus_check_connection_to_node($1, $2) as reached'

    it.each(['postgres', 'bare'])('tells %s who can be reached from here', async (user) => {
      for (const server of [world.coordinator, world.worker(1)]) {
        const session = await world.open(server, { user })
        const { rows } = await session.query(ask, ['127.0.0.1', world.worker(2).port])
        expect(rows).toEqual([{ reached: true }])
        expect((await session.query(ask, ['127.0.0.1', 1])).rows).toEqual([{ reached: false }])
        expect((await session.query(ask, ['no-such-host.invalid', 1])).rows).toEqual([{ reached: false }])
      }
    })

    it('answers on a standby too', async () => {
      const standby = world.cluster.server('coordinator-standby')
      expect(await standby.query(ask, ['127.0.0.1', world.worker(2).port])).toEqual([{ reached: true }])
      expect(await standby.query(ask, ['127.0.0.1', 1])).toEqual([{ reached: false }])
    })

    it('asks an address that is registered nowhere', async () => {
      const { host, port } = world.cluster.server('coordinator-standby')
      expect(await world.worker(1).query(ask, [host, port])).toEqual([{ reached: true }])
    })
  })

  it('ends up in citus_check_cluster_node_health, from everybody to everybody', async () => {
    const health = await world.coordinator.query<{ result: boolean }>(
      'select * from citus_check_cluster_node_health()',
    )
    expect(health.map(({ result }) => result)).toEqual(Array(9).fill(true))
  })
})
