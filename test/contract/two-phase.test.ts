import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { has, need, pauseNode } from '../support/capabilities.ts'
import { backends, refusal, START_LIMIT_MS, World } from './world.ts'

const MOVE = 'select citus_update_node($1, $2, $3)'
const WITNESS_MS = 1_000

describe.each(backends)('one two-phase commit over all copies of $name', (backend) => {
  let world: World
  let copies: readonly Server[]
  beforeAll(async () => {
    world = await World.start(backend)
    copies = [world.coordinator, world.worker(1), world.worker(2)]
    for (const server of copies) {
      await server.query(
        `set citus.enable_ddl_propagation = off; create role bare login; create role mover login;
         grant execute on function citus_update_node to mover`,
      )
      if (await has(server, 'pause'))
        await server.query('grant execute on function citus_pause_node_within_txn to mover')
    }
  }, START_LIMIT_MS)
  afterEach(() => world.tidy())
  afterAll(() => world?.cluster.stop())

  const followsWithin = (limitMs: number) =>
    world.synced(limitMs).then(
      () => true,
      () => false,
    )

  /** Fences group 1 and moves it to another name of the same address. */
  async function change(session: pg.Client, host = 'localhost'): Promise<void> {
    await session.query('begin isolation level read committed')
    await session.query(pauseNode(world.primaryId(1)))
    await session.query(MOVE, [world.primaryId(1), 'parking.invalid', 1])
    await session.query(MOVE, [world.primaryId(1), host, world.worker(1).port])
  }

  // First of all: some seconds after each sync Citus's daemon looks once more, and would find what this leaves.
  it('wakes nobody when another session commits, and no later update does either', async () => {
    const session = await world.open(world.coordinator)
    await change(session)
    await session.query(`prepare transaction 'change'`)
    await world.coordinator.query(`commit prepared 'change'`)
    expect(await followsWithin(WITNESS_MS)).toBe(false)
    // All workers are marked already: citus_update_node wakes the daemon only when it marks one.
    await world.coordinator.query(MOVE, [world.primaryId(2), 'localhost', world.worker(2).port])
    expect(await followsWithin(WITNESS_MS)).toBe(false)
    await world.coordinator.query('update pg_dist_node set metadatasynced = true where groupid = 2')
    await world.coordinator.query(MOVE, [world.primaryId(2), '127.0.0.1', world.worker(2).port])
    await world.synced()
  })

  it('pauses, moves, prepares and commits on every copy, worker copies too', async () => {
    for (const server of copies) {
      const session = await world.open(server)
      await change(session)
      await session.query('update pg_dist_node set metadatasynced = true where hasmetadata')
      await session.query(`prepare transaction 'change'`)
      expect((await world.rows(server))[1]?.nodename).toBe('127.0.0.1')
    }
    for (const server of copies) await server.query(`commit prepared 'change'`)
    expect(await world.areCopiesEqual()).toBe(true)
    expect((await world.rows(world.worker(2)))[1]).toMatchObject({
      nodename: 'localhost',
      metadatasynced: true,
    })
  })

  it('leaves the daemon nothing to do when metadatasynced is restored', async () => {
    for (const server of copies) {
      const session = await world.open(server)
      await change(session)
      await session.query('update pg_dist_node set metadatasynced = true where hasmetadata')
      await session.query(`prepare transaction 'change'`)
    }
    for (const server of copies) await server.query(`commit prepared 'change'`)
    const versions = 'select nodeid, xmin::text as writer from pg_dist_node order by 1'
    const written = await world.worker(2).query(versions)
    await world.coordinator.query('create table at_once (id bigint primary key)')
    await world.coordinator.query(`select create_distributed_table('at_once', 'id', shard_count := 2)`)
    const ask = 'select bool_and(result) as healthy from citus_check_cluster_node_health()'
    expect(await world.coordinator.query(ask)).toEqual([{ healthy: true }])
    expect(await world.worker(2).query(versions), 'rewritten by a sync').toEqual(written)
    expect(await world.areCopiesEqual()).toBe(true)
  })

  it('wakes the daemon when the session that prepared commits', async () => {
    const session = await world.open(world.coordinator)
    await change(session)
    await session.query(`prepare transaction 'change'`)
    await session.query(`commit prepared 'change'`)
    await world.synced()
  })

  it('wakes no daemon by a transaction that was rolled back', async () => {
    const session = await world.open(world.coordinator)
    await change(session)
    await session.query('rollback')
    expect(await world.areCopiesEqual()).toBe(true)
    expect((await world.rows())[1]?.nodename).toBe('127.0.0.1')
  })

  it('cannot prepare what was already sent to the workers', async () => {
    const session = await world.open(world.coordinator)
    const add = `select citus_add_secondary_node('standby', 1, '127.0.0.1', $1)`
    await session.query('begin')
    await session.query(add, [world.worker(1).port])
    expect(await refusal(session.query(`prepare transaction 'change'`))).toMatchObject({
      code: '0A000',
      message: 'cannot use 2PC in transactions involving multiple servers',
    })
  })

  it('can, with citus.enable_metadata_sync off', async () => {
    const session = await world.open(world.coordinator)
    await session.query('begin')
    await session.query('set local citus.enable_metadata_sync = off')
    await session.query(`select citus_add_secondary_node('standby', 1, '127.0.0.1', $1)`, [
      world.worker(1).port,
    ])
    await session.query(`prepare transaction 'change'`)
    await session.query(`commit prepared 'change'`)
    expect(await world.rows()).toHaveLength(4)
    expect(await world.rows(world.worker(1))).toHaveLength(3)
  })

  it('needs EXECUTE on the two functions and nothing more', async (context) => {
    await need(context, world.coordinator, 'pause')
    for (const server of copies) {
      const session = await world.open(server, { user: 'mover' })
      await change(session, server === world.coordinator ? 'localhost' : 'LOCALHOST')
      await session.query(`prepare transaction 'change'`)
      await session.query(`commit prepared 'change'`)
      expect((await world.rows(server))[1]?.nodename).toMatch(/^localhost$/i)
      // The sync that this woke on the coordinator would change the workers' copies under us.
      if (server === world.coordinator) await world.synced()
    }
  })

  it('is committed only by the role that prepared it, or a superuser', async (context) => {
    await need(context, world.coordinator, 'pause')
    const mover = await world.open(world.coordinator, { user: 'mover' })
    await change(mover)
    await mover.query(`prepare transaction 'change'`)
    const bare = await world.open(world.coordinator, { user: 'bare' })
    expect((await refusal(bare.query(`commit prepared 'change'`))).code).toBe('42501')
    expect((await refusal(bare.query(`rollback prepared 'change'`))).code).toBe('42501')
    await world.coordinator.query(`commit prepared 'change'`)
  })

  it('is committed only in its own database, and once', async () => {
    const session = await world.open(world.worker(1))
    await change(session)
    await session.query(`prepare transaction 'change'`)
    const elsewhere = world.worker(1).query(`commit prepared 'change'`, [], { database: 'postgres' })
    expect((await refusal(elsewhere)).code).toBe('0A000')
    await session.query(`commit prepared 'change'`)
    expect((await refusal(session.query(`commit prepared 'change'`))).code).toBe('42704')
  })

  it('takes no parameter for the gid', async () => {
    const prepared = world.coordinator.query('commit prepared $1', ['change'])
    expect((await refusal(prepared)).code).toBe('42601')
  })

  it('blocks, while it is prepared, writes to its group and changes of any group, but no read', async () => {
    const session = await world.open(world.coordinator)
    await change(session)
    await session.query(`prepare transaction 'change'`)
    const other = await world.open(world.coordinator, { settings: { lock_timeout: '50ms' } })
    expect((await refusal(world.write(other, 1))).code).toBe('55P03')
    expect((await refusal(other.query(MOVE, [world.primaryId(2), 'x', 1]))).code).toBe('55P03')
    expect(await world.read(other, 1)).toBe(`127.0.0.1:${world.worker(1).port}`)
    await world.write(other, 2)
    await session.query(`commit prepared 'change'`)
    await world.write(other, 1)
  })

  it('outlives a restart, locks included', async () => {
    const session = await world.open(world.worker(2))
    await change(session)
    await session.query(`prepare transaction 'change'`)
    await world.worker(2).restart('immediate')
    const other = await world.open(world.worker(2), { settings: { lock_timeout: '50ms' } })
    expect((await refusal(world.write(other, 1))).code).toBe('55P03')
    await other.query(`commit prepared 'change'`)
    expect((await world.rows(world.worker(2)))[1]?.nodename).toBe('localhost')
    await waitUntil('a write', async () => world.write(other, 1).then(() => true))
  })
})
