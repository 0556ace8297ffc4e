import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { need, pauseNode } from '../support/capabilities.ts'
import { backends, refusal, START_LIMIT_MS, World } from './world.ts'

const BRIEF = { lock_timeout: '50ms' }

describe.each(backends)('the locks of $name', (backend) => {
  let world: World
  beforeAll(async () => {
    world = await World.start(backend)
  }, START_LIMIT_MS)
  afterEach(() => world.tidy())
  afterAll(() => world?.cluster.stop())

  const fences = [
    ['a pause', pauseNode],
    ['an update', (id: number) => `select citus_update_node(${id}, 'elsewhere', 1)`],
  ] as const

  async function fence(
    group: number,
    sql: (nodeid: number) => string = fences[0][1],
    server = world.coordinator,
  ): Promise<pg.Client> {
    const session = await world.open(server)
    await session.query('begin')
    await session.query(sql(world.primaryId(group)))
    return session
  }

  const waiting = (session: pg.Client, count: number) =>
    waitUntil(`${count} to wait for a lock`, async () => {
      const { rowCount } = await session.query(
        `select from pg_locks where not granted and locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())`,
      )
      return rowCount === count
    })

  const tableLocks = async (session: pg.Client): Promise<string[]> => {
    const { rows } = await session.query<{ mode: string }>(
      `select mode from pg_locks where pid = pg_backend_pid() and relation = 'pg_dist_node'::regclass order by 1`,
    )
    return rows.map(({ mode }) => mode)
  }

  it.each(fences)(
    '%s keeps writes to the group waiting, lets reads and other groups pass',
    async (_, sql) => {
      const fencing = await fence(1, sql)
      const client = await world.open(world.coordinator, { settings: BRIEF })
      expect((await refusal(world.write(client, 1))).code).toBe('55P03')
      expect(await world.read(client, 1)).toBe(`127.0.0.1:${world.worker(1).port}`)
      await world.write(client, 2)

      const patient = await world.open(world.coordinator)
      const write = world.write(patient, 1)
      await waiting(client, 1)
      await fencing.query('rollback')
      await write
    },
  )

  it.each(fences)('%s waits for an open write, and 55P03 comes after lock_timeout', async (_, sql) => {
    const writer = await world.open(world.coordinator)
    await writer.query('begin')
    await world.write(writer, 1)
    const fencing = await world.open(world.coordinator, { settings: BRIEF })
    await fencing.query('begin')
    expect((await refusal(fencing.query(sql(world.primaryId(1))))).code).toBe('55P03')
    await fencing.query('rollback')
    await writer.query('commit')
    await fencing.query('begin')
    await fencing.query(sql(world.primaryId(1)))
  })

  it('a waiting fence makes later writers queue behind it, and says who blocks', async () => {
    const writer = await world.open(world.coordinator)
    await writer.query('begin')
    await world.write(writer, 1)
    const fencing = await world.open(world.coordinator)
    await fencing.query('begin')
    const pending = fencing.query(pauseNode(world.primaryId(1)))
    await waiting(writer, 1)
    const later = await world.open(world.coordinator, { settings: BRIEF })
    expect((await refusal(world.write(later, 1))).code).toBe('55P03')
    const { rows } = await later.query(
      `select pg_blocking_pids(pid) as blockers from pg_locks where not granted and locktype = 'advisory'`,
    )
    const pid = (await writer.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
    expect(rows).toEqual([{ blockers: [pid] }])
    await writer.query('commit')
    await pending
  })

  it('writers do not keep each other out', async () => {
    const sessions = [await world.open(world.coordinator), await world.open(world.worker(2))]
    for (const session of sessions) await session.query('begin')
    const [first, second] = sessions
    if (first === undefined || second === undefined) throw new Error('two sessions')
    await world.write(first, 2)
    await world.write(second, 1)
    await first.query('rollback')
    await second.query('rollback')
  })

  it('a pause leaves pg_dist_node alone, an update takes it exclusively', async () => {
    expect(await tableLocks(await fence(1))).toEqual(['AccessShareLock'])
    await world.tidy()
    const moving = await fence(1, fences[1][1])
    expect(await tableLocks(moving)).toEqual(['AccessShareLock', 'ExclusiveLock', 'RowExclusiveLock'])
    const other = await world.open(world.coordinator, { settings: BRIEF })
    const update = other.query(fences[1][1](world.primaryId(2)))
    expect((await refusal(update)).code).toBe('55P03')
    expect((await other.query('select from pg_dist_node')).rowCount).toBe(3)
  })

  it('a secondary has no fence', async () => {
    const [added] = await world.coordinator.query<{ id: number }>(
      `select citus_add_secondary_node('standby', 1, '127.0.0.1', $1) as id`,
      [world.worker(1).port],
    )
    const secondary = added?.id ?? 0
    const session = await world.open(world.coordinator)
    await session.query('begin')
    for (const [, sql] of fences) await session.query(sql(secondary))
    const { rowCount } = await session.query(
      `select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'`,
    )
    expect(rowCount).toBe(0)
  })

  it('a fence holds on the node it was taken on only', async () => {
    await fence(1)
    const elsewhere = await world.open(world.worker(2), { settings: BRIEF })
    await world.write(elsewhere, 1)
    await fence(1, fences[0][1], world.worker(2))
    expect((await refusal(world.write(elsewhere, 1))).code).toBe('55P03')
  })

  it.each([1, 2])('the fence of group %i stops every write to a reference table', async (group) => {
    await fence(group)
    const client = await world.open(world.coordinator, { settings: BRIEF })
    expect((await refusal(world.writeReference(client))).code).toBe('55P03')
  })

  it('lock_shard_metadata fences with mode 7, and knows no mode 8', async () => {
    const session = await world.open(world.coordinator)
    const lock = 'select lock_shard_metadata($1, array[$2::bigint])'
    const { code, message } = await refusal(session.query(lock, [8, world.shardOf(1)]))
    expect(`${code} ${message}`).toBe('XX000 unsupported lockmode 8')
    await session.query('begin')
    await session.query(lock, [7, world.shardOf(1)])
    const client = await world.open(world.coordinator, { settings: BRIEF })
    expect((await refusal(world.write(client, 1))).code).toBe('55P03')
    expect((await refusal(session.query('select lock_shard_metadata(7, array[]::bigint[])'))).message).toBe(
      'no locks specified',
    )
  })

  it.for([
    ['a pause', (id: number) => `select citus_pause_node_within_txn(${id}, true, 100)`],
    ['an update', (id: number) => `select citus_update_node(${id}, 'elsewhere', 1, true, 100)`],
  ] as const)('%s by force ends who is in the way', async ([name, sql], context) => {
    if (name === 'a pause') await need(context, world.coordinator, 'pause')
    const writer = await world.open(world.coordinator)
    await writer.query('begin')
    await world.write(writer, 1)
    await fence(1, sql)
    expect(await writer.query('commit').catch(() => 'gone')).toBe('gone')
  })

  it('force does not end a prepared transaction', async (context) => {
    await need(context, world.coordinator, 'pause')
    const holder = await fence(1)
    await holder.query(`prepare transaction 'change'`)
    const session = await world.open(world.coordinator, { settings: { lock_timeout: '400ms' } })
    const forced = session.query('select citus_pause_node_within_txn($1, true, 100)', [world.primaryId(1)])
    expect((await refusal(forced)).code).toBe('55P03')
  })

  it('a session that defaults to repeatable read sees the old row under the lock', async () => {
    const seen: Record<string, string | undefined> = {}
    for (const isolation of ['repeatable read', 'read committed']) {
      const [change, reader] = [await fence(1, fences[1][1]), await world.open(world.coordinator)]
      await reader.query(`set default_transaction_isolation = '${isolation}'`)
      await reader.query('begin')
      await reader.query('select 1')
      const locked = reader.query('lock table pg_dist_node in exclusive mode')
      await waitUntil('the lock', async () => {
        const open = `select from pg_locks where not granted and relation = 'pg_dist_node'::regclass`
        return (await change.query(open)).rowCount === 1
      })
      await change.query('commit')
      await locked
      const { rows } = await reader.query('select nodename from pg_dist_node where groupid = 1')
      seen[isolation] = rows[0]?.nodename
      await world.tidy()
    }
    expect(seen).toEqual({ 'repeatable read': '127.0.0.1', 'read committed': 'elsewhere' })
  })
})
