import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { need } from '../support/capabilities.ts'
import { backends, refusal, START_LIMIT_MS, World } from './world.ts'

const MOVE = 'select citus_update_node($1, $2, $3)'

describe.each(backends)('citus_update_node of $name', (backend) => {
  let world: World
  beforeAll(async () => {
    world = await World.start(backend)
  }, START_LIMIT_MS)
  afterEach(() => world.tidy())
  afterAll(() => world?.cluster.stop())

  const unsynced = async (server = world.coordinator) =>
    (await world.rows(server))
      .filter((row) => row.hasmetadata && !row.metadatasynced)
      .map((row) => row.groupid)

  it('does nothing, and locks nothing, for the address the node has', async () => {
    const session = await world.open(world.coordinator)
    await session.query('begin')
    await session.query(MOVE, [world.primaryId(1), '127.0.0.1', world.worker(1).port])
    const { rows } = await session.query(
      `select count(*)::int as held from pg_locks
        where pid = pg_backend_pid() and (locktype in ('advisory', 'transactionid')
           or relation = 'pg_dist_node'::regclass and mode <> 'AccessShareLock')`,
    )
    expect(rows).toEqual([{ held: 0 }])
    await session.query('commit')
    expect(await unsynced()).toEqual([])
  })

  it('refuses the address of another row, whatever its role', async () => {
    await world.coordinator.query(`select citus_add_secondary_node('standby', 5432, '127.0.0.1', $1)`, [
      world.worker(2).port,
    ])
    for (const [host, port] of [
      ['127.0.0.1', world.worker(2).port],
      ['standby', 5432],
    ]) {
      const error = await refusal(world.coordinator.query(MOVE, [world.primaryId(1), host, port]))
      expect(error).toMatchObject({
        code: '55000',
        message: 'there is already another node with the specified hostname and port',
      })
    }
  })

  it.for([
    ['update', `select citus_update_node(77, 'x', 1)`],
    ['pause', 'select citus_pause_node_within_txn(77)'],
  ] as const)('%s: P0002 for an unknown node', async ([name, sql], context) => {
    if (name === 'pause') await need(context, world.coordinator, 'pause')
    expect(await refusal(world.coordinator.query(sql))).toMatchObject({
      code: 'P0002',
      message: 'node 77 not found',
    })
  })

  it('moves the address, leaves the rest of the row, and marks every metadata worker as behind', async () => {
    await world.coordinator.query(`update pg_dist_node set noderack = 'r1' where groupid = 1`)
    const session = await world.open(world.coordinator)
    await session.query('begin')
    await session.query(MOVE, [world.primaryId(1), 'elsewhere', 1])
    const { rows } = await session.query(
      'select nodename, nodeport, noderack, metadatasynced from pg_dist_node order by groupid',
    )
    expect(rows).toEqual([
      { nodename: '127.0.0.1', nodeport: world.coordinator.port, noderack: 'default', metadatasynced: true },
      { nodename: 'elsewhere', nodeport: 1, noderack: 'r1', metadatasynced: false },
      { nodename: '127.0.0.1', nodeport: world.worker(2).port, noderack: 'default', metadatasynced: false },
    ])
  })

  it('swaps two rows in three steps through a placeholder', async () => {
    const add = `select citus_add_secondary_node('localhost', $1::int, '127.0.0.1', $1) as id`
    const [added] = await world.coordinator.query<{ id: number }>(add, [world.worker(1).port])
    const session = await world.open(world.coordinator)
    await session.query('begin')
    await session.query(MOVE, [world.primaryId(1), 'parking.invalid', 1])
    await session.query(MOVE, [added?.id, '127.0.0.1', world.worker(1).port])
    await session.query(MOVE, [world.primaryId(1), 'localhost', world.worker(1).port])
    await session.query('commit')
    await world.synced()
    const addresses = (await world.rows(world.worker(2))).filter(({ groupid }) => groupid === 1)
    expect(addresses.map(({ nodename, noderole }) => [nodename, noderole])).toEqual([
      ['localhost', 'primary'],
      ['127.0.0.1', 'secondary'],
    ])
  })

  it('reaches the workers by itself after a plain COMMIT', async () => {
    const before = await world.rows(world.worker(1))
    await world.coordinator.query(MOVE, [world.primaryId(2), 'localhost', world.worker(2).port])
    await world.synced()
    expect(await world.rows(world.worker(1))).toEqual(
      before.map((row) => (row.groupid === 2 ? { ...row, nodename: 'localhost' } : row)),
    )
    const groups = await world.worker(1).query('select groupid from pg_dist_local_group')
    expect(groups).toEqual([{ groupid: 1 }])
  })

  it('replaces a whole copy, also rows that only that copy had', async () => {
    await world
      .worker(1)
      .query(
        `insert into pg_dist_node (nodeid, groupid, nodename, noderole) values (99, 9, 'stray', 'secondary')`,
      )
    await world.coordinator.query(MOVE, [world.primaryId(2), 'localhost', world.worker(2).port])
    await world.synced()
  })

  it('goes on for the others when one worker cannot be reached, and comes back to it', async () => {
    await world.coordinator.query(MOVE, [world.primaryId(2), '127.0.0.1', 1])
    await waitUntil('worker 1 to follow alone', async () => {
      const copy = await world.rows(world.worker(1))
      return copy.some((row) => row.nodeport === 1) && (await unsynced()).join() === '2'
    })
    // The daemon tries again at short intervals meanwhile, and holds pg_dist_node only while it does.
    await world.coordinator.query(MOVE, [world.primaryId(2), '127.0.0.1', world.worker(2).port])
    await world.synced(15_000)
  })

  it('hangs with a worker that hangs, all others stale, until the sync daemon is cancelled', async () => {
    const [other, session] = [
      await world.open(world.coordinator, { settings: { lock_timeout: '50ms' } }),
      await world.open(world.coordinator),
    ]
    const syncing = `select a.pid from pg_stat_activity a join pg_locks l using (pid)
                      where a.application_name = 'Citus Metadata Sync Daemon' and a.datname = current_database()
                        and l.relation = 'pg_dist_node'::regclass and l.mode = 'RowExclusiveLock' and l.granted`
    world.worker(2).freeze()
    try {
      await session.query(MOVE, [world.primaryId(1), 'localhost', world.worker(1).port])
      await waitUntil('the sync to hold the table', async () => (await session.query(syncing)).rowCount === 1)
      expect(
        (await refusal(other.query('lock table pg_dist_node in exclusive mode nowait; rollback'))).code,
      ).toBe('55P03')
      expect((await refusal(other.query(MOVE, [world.primaryId(2), 'x', 1]))).code).toBe('55P03')
      expect((await world.rows(world.worker(1)))[1]?.nodename).toBe('127.0.0.1')
      await session.query('begin')
      await session.query(`select pg_cancel_backend(pid) from (${syncing}) d`)
      await session.query('lock table pg_dist_node in exclusive mode')
      expect(await unsynced()).toEqual([1, 2])
    } finally {
      world.worker(2).thaw()
    }
    await session.query('commit')
    await world.synced(15_000)
  }, 20_000)

  it("works on a worker's own copy, where nobody carries it on", async () => {
    await world.worker(1).query(MOVE, [world.primaryId(2), 'localhost', world.worker(2).port])
    expect(await unsynced(world.worker(1))).toEqual([1, 2])
    const named = async (server = world.coordinator) =>
      (await world.rows(server)).find(({ groupid }) => groupid === 2)?.nodename
    expect(await named(world.worker(1))).toBe('localhost')
    expect(await named()).toBe('127.0.0.1')
    expect(await named(world.worker(2))).toBe('127.0.0.1')
    expect(await unsynced()).toEqual([])
  })

  it('compares with nothing: of two callers the last one wins', async () => {
    const [first, second] = [await world.open(world.coordinator), await world.open(world.coordinator)]
    await first.query('begin')
    await first.query(MOVE, [world.primaryId(1), 'first', 1])
    const later = second.query(MOVE, [world.primaryId(1), 'second', 1])
    await waitUntil('the second caller to wait', async () => {
      // Not pg_stat_activity: a transaction sees it as it was at its first look.
      const waiting = `select from pg_locks where not granted and locktype = 'advisory'
                          and database = (select oid from pg_database where datname = current_database())`
      return (await first.query(waiting)).rowCount === 1
    })
    await first.query('commit')
    await later
    expect((await world.rows()).find(({ groupid }) => groupid === 1)?.nodename).toBe('second')
  })

  it('keeps new distributed tables out while a metadata node is behind', async () => {
    const session = await world.open(world.coordinator)
    await session.query('begin')
    await session.query('create table later (id bigint primary key)')
    await session.query(MOVE, [world.primaryId(1), 'localhost', world.worker(1).port])
    const { code, message } = await refusal(session.query(`select create_distributed_table('later', 'id')`))
    expect(`${code} ${message}`).toMatch(/^55000 \S+ is a metadata node, but is out of sync$/)
  })

  it('ships rows that plain SQL changed only when something else wakes the daemon', async () => {
    await world.coordinator.query(`update pg_dist_node set noderack = 'r9' where groupid = 1`)
    const rack = async () =>
      (await world.rows(world.worker(2))).find(({ groupid }) => groupid === 1)?.noderack
    expect(await rack()).toBe('default')
    await world.coordinator.query(MOVE, [world.primaryId(2), 'localhost', world.worker(2).port])
    await world.synced()
    expect(await rack()).toBe('r9')
  })
})
