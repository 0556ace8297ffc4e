import type pg from 'pg'
import { describe, expect, it } from 'vitest'
import { commit, keysOf, oldKeyOf, standin } from '../support/clients.ts'
import { copiedIn } from '../support/copy-in.ts'
import { client } from '../support/scenario.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'
import { Traffic } from '../support/traffic.ts'

const ROUNDS = 3
const LONG_MS = 300_000

type Statement = (session: pg.Client, key: number, other: number) => Promise<unknown>

/** What a session does first on a connection that Citus has kept, and that is dead. Keys are of the group, and of another. */
const STATEMENTS: Readonly<Record<string, Statement>> = {
  'select of one row': (session, key) => session.query('SELECT note FROM items WHERE id = $1', [key]),
  'select of all shards': (session) => session.query('SELECT count(*) FROM items'),
  'select for update': (session, key) =>
    session.query('SELECT note FROM items WHERE id = $1 FOR UPDATE', [key]),
  'select with a CTE that is computed first': (session) =>
    session.query(
      'WITH a AS MATERIALIZED (SELECT id FROM items ORDER BY id LIMIT 9) SELECT count(*) FROM items JOIN a USING (id)',
    ),
  'select with a CTE that reads no shard': (session) =>
    session.query(
      'WITH a AS MATERIALIZED (SELECT i::int AS id FROM generate_series(1, 9) i) SELECT count(*) FROM items JOIN a USING (id)',
    ),
  'select of a repartition join': (session) =>
    session.query(
      `SET citus.enable_repartition_joins = on; SELECT count(*) FROM items a JOIN spare b ON a.id = b.v`,
    ),
  insert: (session, key) => session.query(`INSERT INTO items VALUES ($1, 'new')`, [key]),
  'insert of several rows': (session, key, other) =>
    session.query(`INSERT INTO items VALUES ($1, 'new'), ($2, 'new')`, [key, other]),
  'prepared insert': (session, key) =>
    session.query({ name: 'put', text: `INSERT INTO items VALUES ($1, 'new')`, values: [key] }),
  'update of one row': (session, key) => session.query(`UPDATE items SET note = 'new' WHERE id = $1`, [key]),
  'update of all shards': (session) => session.query(`UPDATE items SET note = note || '.'`),
  'transaction, the group first': async (session, key, other) => {
    await session.query('BEGIN')
    await session.query(`INSERT INTO items VALUES ($1, 'new')`, [key])
    await session.query(`INSERT INTO items VALUES ($1, 'new')`, [other])
    await commit(session)
  },
  'transaction, the group last': async (session, key, other) => {
    await session.query('BEGIN')
    await session.query(`INSERT INTO items VALUES ($1, 'new')`, [other])
    await session.query(`INSERT INTO items VALUES ($1, 'new')`, [key])
    await commit(session)
  },
  'insert from a select beside it': (session, key) =>
    session.query('INSERT INTO items SELECT id + 1000000 * $1, note FROM items WHERE id < 5', [key]),
  'insert from a select of other shards': (session) =>
    session.query(`INSERT INTO items SELECT id, note FROM items WHERE id < 150 ON CONFLICT (id) DO NOTHING`),
  'insert from a local select': (session, key) =>
    session.query('INSERT INTO items SELECT $1 + i * 1000000, md5(i::text) FROM generate_series(1, 40) i', [
      key,
    ]),
  'copy from stdin': (session, key) => copiedIn(session, key),
  'copy from a program': (session, key) =>
    session.query(`COPY items FROM PROGRAM 'echo ${key},new' WITH (FORMAT csv)`),
  'copy to': (session) => session.query('SELECT * FROM items'),
  'explain analyze': (session) => session.query('EXPLAIN ANALYZE SELECT count(*) FROM items'),
  truncate: (session) => session.query('TRUNCATE spare'),
  'alter table': (session, key) => session.query(`ALTER TABLE spare ADD COLUMN c${key} int`),
  'create and distribute a table': (session, key) =>
    session.query(`CREATE TABLE t${key} (id int); SELECT create_distributed_table('t${key}', 'id')`),
  'read of a size': (session) => session.query(`SELECT citus_table_size('items')`),
  'cluster-wide activity': (session) => session.query('SELECT count(*) FROM citus_stat_activity'),
  vacuum: (session) => session.query('VACUUM items'),
}

const ESSENTIAL = 'failure on connection marked as essential: it'

/** Those that talk to a node without the executor's look at its sockets, which opens a dead one anew. */
const FAILING: Readonly<Record<string, string>> = {
  'insert from a local select': ESSENTIAL,
  'copy from stdin': ESSENTIAL,
  'copy from a program': ESSENTIAL,
  truncate: ESSENTIAL,
  'alter table': ESSENTIAL,
  'select with a CTE that reads no shard': ESSENTIAL,
  'read of a size': 'could not connect to it to get size of relation "items"',
}

describe.skipIf(standin)('there and back sooner than Citus lets go of its connections', () => {
  let switching: Switching
  // No limit of the cached connections: Citus's own ten minutes.
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { settings: {} },
  )

  async function thereAndBack(between: () => Promise<void> = async () => undefined): Promise<void> {
    let [primary, standby] = ['worker-1', 'worker-1-standby']
    for (let n = 0; n < 2; n++) {
      await switching.switched('--group', '1', '--demote-command', switching.stopping(primary))
      await between()
      await switching.scenario.cluster.rejoin(switching.server(primary), switching.server(standby))
      expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0 })
      ;[primary, standby] = [standby, primary]
    }
  }

  it(
    'fails nothing that goes through Citus’s adaptive executor',
    async () => {
      const { cluster } = switching.scenario
      const entries = ['coordinator', 'worker-2'].map((name) => switching.server(name))
      const kinds = ['insert', 'prepared', 'across'] as const
      const running = await Traffic.start(cluster, entries, cluster.coordinatorStandbys, { kinds })
      try {
        for (let n = 0; n < ROUNDS; n++) await thereAndBack(() => running.goesOn())
        await switching.expectAll(running)
      } finally {
        await running.stop()
      }
      process.stdout.write(`${running.statements} statements\n`)
    },
    LONG_MS,
  )

  it(
    'fails exactly these once, and no more',
    async () => {
      const { cluster } = switching.scenario
      const { coordinator, database } = cluster
      const setup = `CREATE TABLE spare (id int, v int); SELECT create_distributed_table('spare', 'id')`
      await coordinator.query(setup, [], { database })
      const [keys, others] = [await keysOf(cluster, 1), await keysOf(cluster, 2)]
      const old = await oldKeyOf(cluster, 1)
      const sessions = new Map<string, pg.Client>()
      for (const name of Object.keys(STATEMENTS)) {
        const session = switching.keep(await client(coordinator, database))
        await session.query('SELECT note FROM items WHERE id = $1', [old])
        sessions.set(name, session)
      }
      await thereAndBack()
      const failed: Record<string, string> = {}
      for (const [n, [name, run]] of Object.entries(STATEMENTS).entries()) {
        const session = sessions.get(name)
        const attempt = () => run(session as pg.Client, keys[n] ?? 0, others[n] ?? 0)
        await attempt().catch(async (error: Error) => {
          failed[name] = error.message.replace(/\d+\.\d+\.\d+\.\d+:\d+/, 'it')
          await session?.query('ROLLBACK')
          await attempt()
        })
      }
      expect(failed).toEqual(FAILING)
    },
    LONG_MS,
  )
})
