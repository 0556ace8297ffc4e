import type pg from 'pg'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { commit } from './clients.ts'
import type { Scenario } from './scenario.ts'
import type { Switching } from './switching.ts'

/** A database of a worker without Citus, and one with. */
export const PLAIN = 'plain'
export const SECOND = 'second'

/** A client of an old primary, in the middle of something. */
export interface Begun {
  /** Tries to bring it to its end. @returns ids in `notes` of `database` that were acknowledged */
  readonly finish: () => Promise<readonly number[]>
  readonly database: string
}

export interface Kind {
  readonly says: string
  /** What a switchover does about it. `ended`: by itself, just before the promotion. */
  readonly outcome: 'waited for' | 'ended' | 'refused'
  /** What the report or the refusals have of it. */
  readonly named: RegExp
  readonly begin: (switching: Switching) => Promise<Begun>
}

const OLD = 'worker-1'

/** On each server of the first two groups a database without Citus, with a table of its own; before `install`. */
export async function addNotes({ cluster }: Scenario): Promise<void> {
  for (const name of [OLD, 'worker-2']) {
    await cluster.server(name).query(`CREATE DATABASE ${PLAIN}`)
    await cluster.server(name).query('CREATE TABLE notes (id int PRIMARY KEY)', [], { database: PLAIN })
  }
  const { database } = cluster
  await cluster.server(OLD).query('CREATE TABLE notes (id int PRIMARY KEY)', [], { database })
  await cluster.server(OLD).query('CREATE SEQUENCE numbers', [], { database })
  await cluster.server(OLD).query(
    `CREATE PROCEDURE note_often() LANGUAGE plpgsql AS $$
       BEGIN
         FOR n IN 1 .. 400 LOOP
           INSERT INTO notes VALUES (1000 + n);
           COMMIT;
           PERFORM pg_sleep(0.05);
         END LOOP;
       END $$`,
    [],
    { database: PLAIN },
  )
}

/** A statement sent to the old primary when nothing is waited for any more. */
export interface Late {
  readonly says: string
  readonly sql: string
  /** Null: the cluster's own. */
  readonly database: string | null
  /** By a session that was idle before, or a new one. */
  readonly by: 'an idle session' | 'a new session'
  /** It is not acknowledged, or the report tells of it. */
  readonly outcome: 'not made' | 'told'
}

const LARGE_OBJECT = `SELECT lo_from_bytea(0, 'what a read-only transaction writes')`

/** Of a group of which nothing is on record there. */
const NEW_LINE = '[{"group": 1, "systemIdentifier": "1", "timeline": 1, "history": ""}]'

export const LATE: readonly Late[] = [
  ...(['an idle session', 'a new session'] as const).map(
    (by): Late => ({ says: 'a large object', sql: LARGE_OBJECT, database: null, by, outcome: 'not made' }),
  ),
  {
    says: 'a number of a sequence',
    sql: `BEGIN READ WRITE; SELECT nextval('numbers'); COMMIT`,
    database: null,
    by: 'an idle session',
    outcome: 'told',
  },
  {
    says: 'a table that is new',
    sql: 'BEGIN READ WRITE; CREATE TABLE added (id int); COMMIT',
    database: null,
    by: 'a new session',
    outcome: 'told',
  },
  {
    says: 'a row of a database without Citus',
    sql: 'BEGIN READ WRITE; INSERT INTO notes VALUES (9); COMMIT',
    database: PLAIN,
    by: 'a new session',
    outcome: 'told',
  },
  // A watcher that is at work meanwhile: what it writes down is no client's, and nobody is to hear of data loss for it.
  ...(
    [
      ['how far a server is', `SELECT citus_ha.record_positions('[{"group": 0}]')`],
      ['a timeline history', `SELECT citus_ha.record_lineage('${NEW_LINE}')`],
    ] as const
  ).flatMap(([says, sql]) =>
    (['an idle session', 'a new session'] as const).map(
      (by): Late => ({
        says: `${says}, as citus-ha writes it down`,
        sql: `BEGIN READ WRITE; ${sql}; COMMIT`,
        database: null,
        by,
        outcome: 'not made',
      }),
    ),
  ),
]

const acknowledged = (work: Promise<unknown>, ids: readonly number[]): Promise<readonly number[]> =>
  work.then(
    () => ids,
    () => [],
  )

async function session(switching: Switching, database: string, ...sql: string[]): Promise<pg.Client> {
  const client = switching.keep(await switching.server(OLD).connect({ database }))
  client.on('error', () => undefined)
  for (const each of sql) await client.query(each)
  return client
}

/** A transaction that has written, or only read, and writes once more at its end. */
const open = (database: string, ...sql: string[]): Kind['begin'] => {
  return async (switching) => {
    const client = await session(switching, database, ...sql)
    const finish = async () => {
      const ended = client.query('INSERT INTO notes VALUES (2)').then(() => commit(client))
      return await acknowledged(ended, [2])
    }
    return { database, finish }
  }
}

/** A session that is idle, and writes with statements of its own at its end. */
const idle = (database: string, before: readonly string[], write: string): Kind['begin'] => {
  return async (switching) => {
    const client = await session(switching, database, ...before)
    return { database, finish: () => acknowledged(client.query(write), [3]) }
  }
}

const sql = async (server: Server, database: string, text: string) => {
  await server.query(text, [], { database })
}

export const KINDS: readonly Kind[] = [
  {
    says: 'a transaction of a database without Citus that has written',
    outcome: 'waited for',
    named: /plain/,
    begin: open(PLAIN, 'BEGIN', 'INSERT INTO notes VALUES (1)'),
  },
  {
    says: 'one that has only read',
    outcome: 'waited for',
    named: /plain/,
    begin: open(PLAIN, 'BEGIN', 'SELECT FROM notes'),
  },
  {
    says: 'one that has only read, of a session that does not say since when',
    outcome: 'waited for',
    named: /plain/,
    begin: open(PLAIN, 'SET track_activities = off', 'BEGIN', 'SELECT FROM notes'),
  },
  {
    says: 'one that calls itself as citus-ha does',
    outcome: 'waited for',
    named: /citus-ha/,
    begin: open(PLAIN, `SET application_name = 'citus-ha'`, 'BEGIN', 'INSERT INTO notes VALUES (1)'),
  },
  {
    says: 'a procedure that commits as it goes',
    outcome: 'waited for',
    named: /note_often/,
    begin: async (switching) => {
      const client = await session(switching, PLAIN)
      const called = client.query('CALL note_often()').then(
        () => true,
        () => false,
      )
      await waitUntil('it has begun', async () => {
        const rows = await switching.server(OLD).query('SELECT FROM notes', [], { database: PLAIN })
        return rows.length > 2
      })
      const finish = async () => ((await called) ? Array.from({ length: 400 }, (_, n) => 1001 + n) : [])
      return { database: PLAIN, finish }
    },
  },
  {
    says: 'a session that sets itself read-write, of a database without Citus',
    outcome: 'ended',
    named: /plain/,
    begin: idle(PLAIN, ['SET default_transaction_read_only = off'], 'INSERT INTO notes VALUES (3)'),
  },
  {
    says: 'a session that says so with its transaction',
    outcome: 'ended',
    named: /plain/,
    begin: idle(PLAIN, [], 'BEGIN READ WRITE; INSERT INTO notes VALUES (3); COMMIT'),
  },
  {
    says: 'the same in the cluster’s own database, of a table that is not distributed',
    outcome: 'ended',
    named: /the own one/,
    begin: async (switching) => {
      const { database } = switching.scenario.cluster
      const client = await session(switching, database, `SET application_name = 'the own one'`)
      const finish = () =>
        acknowledged(client.query('BEGIN READ WRITE; INSERT INTO notes VALUES (3); COMMIT'), [3])
      return { database, finish }
    },
  },
  {
    says: 'a transaction that a client has prepared',
    outcome: 'refused',
    named: /has prepared 'of a client'/,
    begin: async (switching) => {
      const text = `BEGIN; INSERT INTO notes VALUES (4); PREPARE TRANSACTION 'of a client'`
      await sql(switching.server(OLD), PLAIN, text)
      const finish = () =>
        acknowledged(sql(switching.server(OLD), PLAIN, `COMMIT PREPARED 'of a client'`), [4])
      return { database: PLAIN, finish }
    },
  },
  {
    says: 'a second database with Citus that this role may not enter',
    outcome: 'refused',
    named: /database second also has Citus/,
    begin: async (switching) => {
      const server = switching.server(OLD)
      await server.query(`CREATE DATABASE ${SECOND}`)
      await sql(server, SECOND, 'CREATE EXTENSION citus')
      await sql(server, SECOND, 'CREATE TABLE notes (id int PRIMARY KEY)')
      await server.query(`REVOKE CONNECT ON DATABASE ${SECOND} FROM PUBLIC`)
      const client = await session(switching, SECOND, 'BEGIN', 'INSERT INTO notes VALUES (8)')
      return { database: SECOND, finish: () => acknowledged(commit(client), [8]) }
    },
  },
  {
    says: 'a role that is read-write by its own setting',
    outcome: 'refused',
    named: /ALTER ROLE "writer" RESET/,
    begin: async (switching) => {
      await sql(switching.server(OLD), PLAIN, 'CREATE ROLE writer LOGIN')
      await sql(switching.server(OLD), PLAIN, 'GRANT INSERT ON notes TO writer')
      await sql(switching.server(OLD), PLAIN, 'ALTER ROLE writer SET default_transaction_read_only = off')
      const late = async () => {
        const server = switching.server(OLD)
        await server.query('INSERT INTO notes VALUES (5)', [], { database: PLAIN, user: 'writer' })
      }
      return { database: PLAIN, finish: () => acknowledged(late(), [5]) }
    },
  },
  {
    says: 'a database that is read-write by its own setting',
    outcome: 'refused',
    named: /ALTER DATABASE "plain" RESET/,
    begin: async (switching) => {
      const server = switching.server(OLD)
      await sql(server, PLAIN, `ALTER DATABASE ${PLAIN} SET default_transaction_read_only = off`)
      return {
        database: PLAIN,
        finish: () => acknowledged(sql(server, PLAIN, 'INSERT INTO notes VALUES (5)'), [5]),
      }
    },
  },
  {
    says: 'a subscription, whose worker writes whatever is read-only',
    outcome: 'refused',
    named: /subscription.*fed/,
    begin: async (switching) => {
      const [source, server] = [switching.server('worker-2'), switching.server(OLD)]
      await sql(source, PLAIN, 'CREATE PUBLICATION fed FOR TABLE notes')
      const from = `host=${source.host} port=${source.port} dbname=${PLAIN} user=postgres`
      await sql(server, PLAIN, `CREATE SUBSCRIPTION fed CONNECTION '${from}' PUBLICATION fed`)
      const has = async (id: number) => {
        const rows = await server.query('SELECT FROM notes WHERE id = $1', [id], { database: PLAIN })
        return rows.length > 0
      }
      await sql(source, PLAIN, 'INSERT INTO notes VALUES (6)')
      await waitUntil('it has come', () => has(6))
      const finish = async () => {
        await sql(source, PLAIN, 'INSERT INTO notes VALUES (7)')
        await waitUntil('it has come', () => has(7))
        return [7]
      }
      return { database: PLAIN, finish }
    },
  },
]
