import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import {
  blockersOf,
  commit,
  insert,
  keysOf,
  oldKeyOf,
  openTransaction,
  shareOf,
  standin,
  type Write,
  Writer,
} from '../support/clients.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { client, Scenario } from '../support/scenario.ts'

const FUNCTION = `CREATE FUNCTION put_item(item int) RETURNS void LANGUAGE plpgsql
  AS $$ BEGIN INSERT INTO items VALUES (item, 'delegated'); END $$`

const delegated: Write = async (session, id) => {
  await session.query('SELECT put_item($1)', [id])
}

describe.skipIf(standin)('an old primary that goes on running', () => {
  let scenario: Scenario
  let open: pg.Client[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const entries = ['coordinator', 'worker-2']

  beforeAll(async () => {
    scenario = await Scenario.start()
    const { cluster } = scenario
    const run = (sql: string) => cluster.coordinator.query(sql, [], { database: cluster.database })
    await run(FUNCTION)
    await run(
      `SELECT create_distributed_function('put_item(int)', 'item', colocate_with := 'items', force_delegation := true)`,
    )
    await scenario.settle()
    await cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await Promise.all(open.map((session) => session.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function transaction(entry: string, ...sql: string[]): Promise<pg.Client> {
    const session = await openTransaction(server(entry), scenario.cluster.database, ...sql)
    open.push(session)
    return session
  }

  const promote = () => server('worker-1-standby').promote()
  const vouch = ['reconcile', '--json', '--group', '1']
  const vouched = (...args: string[]) => scenario.run(...vouch, '--promoted', at('worker-1-standby'), ...args)

  /** Which of these ids the new primary has: the truth from now on. */
  async function kept(ids: readonly number[]): Promise<number[]> {
    const { cluster } = scenario
    const sql = 'SELECT id FROM items WHERE id = ANY ($1) ORDER BY id'
    const rows = await cluster.coordinator.query<{ id: number }>(sql, [ids], { database: cluster.database })
    return rows.map(({ id }) => id)
  }

  const ordered = (ids: readonly number[]) => [...ids].sort((a, b) => a - b)

  it.each([1, 2, 3])('keeps everything that is acknowledged after the decision (%i)', async () => {
    const { cluster } = scenario
    const seen = await oldKeyOf(cluster, 1)
    const readFirst: Write = async (session, id) => {
      await session.query('BEGIN')
      await session.query('SELECT note FROM items WHERE id = $1', [seen])
      await insert(session, id)
      await commit(session)
    }
    const kinds = [
      [insert, 'one'],
      [readFirst, 'one'],
      [delegated, 'one'],
      [delegated, 'each'],
    ] as const
    const all = entries.flatMap((entry) => kinds.map((kind) => [entry, ...kind] as const))
    const keys = await keysOf(cluster, 1)
    await promote()
    const writers = all.map(
      ([entry, write, sessions], n) =>
        new Writer(server(entry), cluster.database, shareOf(keys, n, all.length), write, sessions),
    )
    await waitUntil('every writer writes', () => writers.every(({ acknowledged }) => acknowledged.length > 3))
    const probes = await Promise.all([...entries, 'worker-1'].map((name) => server(name).connect()))
    open.push(...probes)
    let decidedAt = Number.POSITIVE_INFINITY
    const hooks = {
      reached: async (point: string) => {
        // What was acknowledged before the locks has arrived here when a later question has been answered.
        if (point === 'locked') await Promise.all(probes.map((probe) => probe.query('SELECT 1')))
        if (point === 'decided') decidedAt = performance.now()
      },
    }
    const ran = await scenario.runWith(hooks, ...vouch, '--promoted', at('worker-1-standby'))
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
    await waitUntil('every writer writes again', () =>
      writers.every((writer) => writer.acknowledgedSince(decidedAt).length > 20),
    )
    await Promise.all(writers.map((writer) => writer.stop()))
    const acknowledged = writers.flatMap((writer) => writer.acknowledgedSince(decidedAt))
    expect(await kept(acknowledged)).toEqual(ordered(acknowledged))
    await expectRight(
      scenario,
      ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
      truthOf(scenario, 'coordinator'),
    )
  })

  const late: readonly (readonly [string, Write])[] = [
    ['INSERT', insert],
    ['a delegated function', delegated],
    [
      'UPDATE',
      async (session, id) =>
        void (await session.query('UPDATE items SET note = $2 WHERE id = $1', [id, 'late'])),
    ],
  ]
  it.each(
    [...entries, 'worker-1'].flatMap((entry) => late.map(([what, write]) => [what, entry, write] as const)),
  )(
    'a transaction that had only read does not write there afterwards: %s through %s',
    async (what, entry, write) => {
      const { cluster } = scenario
      const seen = await oldKeyOf(cluster, 1)
      const [fresh = 0, next = 0] = await keysOf(cluster, 1)
      const reader = await transaction(entry, `SELECT note FROM items WHERE id = ${seen}`)
      await promote()
      expect(await vouched()).toMatchObject({ exitCode: 0 })
      const acknowledged = await write(reader, what === 'UPDATE' ? seen : fresh)
        .then(() => commit(reader))
        .then(
          () => true,
          () => false,
        )
      const sql = `SELECT count(*)::int AS n FROM items WHERE id = $1 AND note <> 'before'`
      const id = what === 'UPDATE' ? seen : fresh
      const [there] = await cluster.coordinator.query(sql, [id], { database: cluster.database })
      expect(there).toEqual({ n: acknowledged ? 1 : 0 })
      // Whatever became of that one, the next writes.
      const again = await client(server(entry), cluster.database)
      open.push(again)
      const writes = write(again, what === 'UPDATE' ? seen : next)
      if (entry === 'worker-1') await expect(writes).rejects.toThrow(/retired-by-citus-ha/)
      else await expect(writes).resolves.toBeUndefined()
    },
  )

  it.each(['locked', 'all-prepared', 'decided', 'committed:1'])(
    'a transaction that had only read, and writes while the change is at “%s”, is acknowledged only if kept',
    async (point) => {
      const { cluster } = scenario
      const seen = await oldKeyOf(cluster, 1)
      const keys = await keysOf(cluster, 1)
      const readers = await Promise.all(
        entries.map((entry) => transaction(entry, `SELECT note FROM items WHERE id = ${seen}`)),
      )
      await promote()
      let writes: Promise<boolean>[] = []
      const hooks = {
        reached: async (reached: string) => {
          if (reached !== point || writes.length > 0) return
          writes = readers.map((reader, n) =>
            insert(reader, keys[n] ?? 0)
              .then(() => commit(reader))
              .then(
                () => true,
                () => false,
              ),
          )
        },
      }
      const ran = await scenario.runWith(hooks, ...vouch, '--promoted', at('worker-1-standby'))
      expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
      const acknowledged = await Promise.all(writes)
      expect(acknowledged).toHaveLength(entries.length)
      const ids = keys.slice(0, entries.length).filter((_, n) => acknowledged[n])
      expect(await kept(keys.slice(0, entries.length))).toEqual(ids)
    },
  )

  it.each(entries)(
    'waits for an open transaction that wrote through %s, and gives up at --timeout',
    async (entry) => {
      const [id = 0] = await keysOf(scenario.cluster, 1)
      const writer = await transaction(entry, `INSERT INTO items VALUES (${id}, 'open')`)
      await promote()
      const before = await scenario.footprint()
      const ran = await vouched('--timeout', '1s')
      expect(ran, ran.stderr).toMatchObject({ exitCode: 4 })
      expect(blockersOf(ran).map(({ application }) => application)).toContain('the-idle-one')
      expect(await scenario.footprint()).toEqual(before)
      await expect(commit(writer)).resolves.toBeUndefined()
      expect(await vouched()).toMatchObject({ exitCode: 0 })
    },
  )

  it.each(entries)('ends an open transaction that wrote through %s after --force-after', async (entry) => {
    const [id = 0] = await keysOf(scenario.cluster, 1)
    const writer = await transaction(entry, `INSERT INTO items VALUES (${id}, 'open')`)
    await promote()
    const ran = await vouched('--force-after', '300ms')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    await expect(commit(writer)).rejects.toThrow()
    expect(await kept([id])).toEqual([])
  })

  describe.each(entries)('a transaction whose delegated function wrote there, through %s', (entry) => {
    it('is named with the client it works for, and stops the change at --timeout', async () => {
      const [id = 0] = await keysOf(scenario.cluster, 1)
      const writer = await transaction(entry, `SELECT put_item(${id})`)
      const { rows } = await writer.query('SELECT pg_backend_pid() AS pid')
      await promote()
      const ran = await vouched('--timeout', '3s')
      expect(ran, ran.stderr).toMatchObject({ exitCode: 4 })
      const blocker = blockersOf(ran).find(({ client }) => client !== null)
      expect(blocker, ran.stdout).toMatchObject({
        node: { port: server('worker-1').port },
        state: 'idle in transaction',
        client: { node: at(entry), pid: rows[0].pid },
      })
      expect(ran.stderr).toContain(`for pid ${rows[0].pid} on ${at(entry)}`)
    })

    it('is ended by --force-after, and its COMMIT fails', async () => {
      const [id = 0] = await keysOf(scenario.cluster, 1)
      const writer = await transaction(entry, `SELECT put_item(${id})`)
      await promote()
      const ran = await vouched('--force-after', '300ms')
      expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
      await expect(commit(writer)).rejects.toThrow()
      expect(await kept([id])).toEqual([])
    })
  })
})
