import type pg from 'pg'
import type { Server } from '../../src/demo/server.ts'
import { openTransaction } from './clients.ts'
import { putInHba } from './hba.ts'
import type { Scenario } from './scenario.ts'

/** Where the node stands that ails, beside a group 1 whose primary fails over. */
export type Place =
  | 'other worker'
  | "other worker's standby"
  | 'other standby of the group'
  | 'standby coordinator'
  | 'expand coordinator'

export const SERVER_AT: Readonly<Record<Place, string>> = {
  'other worker': 'worker-2',
  "other worker's standby": 'worker-2-standby',
  'other standby of the group': 'worker-1-standby-2',
  'standby coordinator': 'coordinator-standby',
  'expand coordinator': 'coordinator-expand',
}

/** A way in which one node ails. A line of this table is a row of the matrix. */
export interface NodeAilment {
  readonly name: string
  /** Makes it ail. @returns what ends it */
  readonly inflict: (given: { scenario: Scenario; server: Server }) => Promise<() => unknown>
  /** Needs a server that takes writes: a standby can't have it. */
  readonly writable?: boolean
  /** The copy can be written all the same, and is. */
  readonly harmless?: boolean
  /** What the line about the node says, beside its address. */
  readonly says?: RegExp
}

const sql = async (scenario: Scenario, server: Server, text: string) =>
  await server.query(text, [], { database: scenario.cluster.database })

/** A session that sits in a transaction. */
const sitting = async (scenario: Scenario, server: Server, text: string): Promise<() => Promise<void>> => {
  const session: pg.Client = await openTransaction(server, scenario.cluster.database, text)
  return async () => await session.end().catch(() => undefined)
}

const setting =
  (name: string, value: string): NodeAilment['inflict'] =>
  async ({ server }) => {
    await server.configure({ [name]: value })
    return async () => await server.configure({ [name]: null })
  }

export const NODE_AILMENTS: readonly NodeAilment[] = [
  {
    name: 'killed',
    inflict: async ({ server }) => {
      await server.kill()
      return () => server.start()
    },
  },
  {
    name: 'frozen',
    inflict: async ({ server }) => {
      server.freeze()
      return () => server.thaw()
    },
  },
  {
    name: 'refuses by pg_hba',
    inflict: async ({ server }) => await putInHba(server, ['host all citus_ha 0.0.0.0/0 reject']),
  },
  {
    name: 'asks for a password',
    inflict: async ({ server }) => await putInHba(server, ['host all citus_ha 0.0.0.0/0 scram-sha-256']),
  },
  {
    name: 'no role',
    writable: true,
    inflict: async ({ scenario, server }) => {
      await sql(scenario, server, 'ALTER ROLE citus_ha NOLOGIN')
      return () => sql(scenario, server, 'ALTER ROLE citus_ha LOGIN')
    },
  },
  {
    name: 'no schema',
    writable: true,
    says: /citus-ha install/,
    inflict: async ({ scenario, server }) => {
      await sql(scenario, server, 'ALTER SCHEMA citus_ha RENAME TO away')
      return () => sql(scenario, server, 'ALTER SCHEMA away RENAME TO citus_ha')
    },
  },
  {
    name: 'read-only by default',
    writable: true,
    harmless: true,
    inflict: setting('default_transaction_read_only', 'on'),
  },
  {
    name: 'slots of prepared transactions full',
    writable: true,
    says: /53200|pg_prepared_xacts/,
    inflict: async ({ scenario, server }) => {
      const [row] = await sql(scenario, server, 'SHOW max_prepared_transactions')
      const slots = Number(row?.max_prepared_transactions)
      for (let n = 0; n < slots; n++)
        await sql(scenario, server, `BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'full ${n}'`)
      return async () => {
        for (let n = 0; n < slots; n++) await sql(scenario, server, `ROLLBACK PREPARED 'full ${n}'`)
      }
    },
  },
  {
    name: 'pg_dist_node locked by an idle transaction',
    writable: true,
    says: /55P03/,
    inflict: ({ scenario, server }) =>
      sitting(scenario, server, 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'),
  },
  {
    name: 'pg_dist_node locked by a prepared transaction',
    writable: true,
    says: /55P03/,
    inflict: async ({ scenario, server }) => {
      const lock = 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'
      await sql(scenario, server, `BEGIN; ${lock}; PREPARE TRANSACTION 'somebody’s'`)
      return () => sql(scenario, server, `ROLLBACK PREPARED 'somebody’s'`)
    },
  },
  {
    name: 'a trigger on pg_dist_node raises',
    writable: true,
    says: /P0001/,
    inflict: async ({ scenario, server }) => {
      const none = 'SET citus.enable_ddl_propagation = off'
      await sql(
        scenario,
        server,
        `${none}; CREATE FUNCTION public.raises() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$not here$$; END';
         SET allow_system_table_mods = on;
         CREATE TRIGGER raises BEFORE UPDATE ON pg_catalog.pg_dist_node FOR EACH ROW EXECUTE FUNCTION public.raises()`,
      )
      return () =>
        sql(
          scenario,
          server,
          `${none}; SET allow_system_table_mods = on; DROP FUNCTION public.raises() CASCADE`,
        )
    },
  },
]
