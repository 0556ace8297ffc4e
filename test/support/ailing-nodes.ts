import type pg from 'pg'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { daemonRuns, openTransaction } from './clients.ts'
import { putInHba } from './hba.ts'
import {
  fillWal,
  makeAnew,
  makeForeign,
  noFakeTime,
  noMount,
  noTranslation,
  putInRecovery,
  setClock,
  translate,
} from './other-servers.ts'
import { BlackHole, SynHole, Valve } from './proxy.ts'
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

export interface Given {
  readonly scenario: Scenario
  readonly server: Server
  /** Options that the command gets besides. */
  readonly options: string[]
}

/** A way in which one node ails. A line of this table is a row of the matrix. */
export interface NodeAilment {
  readonly name: string
  /** Makes it ail. @returns what ends it */
  readonly inflict: (given: Given) => Promise<() => unknown>
  /**
   * As `inflict`, for a program that runs already and has to be started with something for it: done before that.
   * @returns what makes it ail
   */
  readonly prepare?: (given: Given) => Promise<NodeAilment['inflict']>
  /** Where it makes sense; everywhere by default. A standby has what its primary has, and can't be written. */
  readonly places?: readonly Place[]
  /** The copy can be written all the same, and is; a standby follows all the same. */
  readonly harmless?: boolean
  /** It gives no answer, or no lock, so that others wait: for as long as a probe's limit is, or a lock's and then its report. */
  readonly hangs?: boolean
  /** Its copy is left to Citus's own sync, which is waited for after the change: it tries again every 5 s. */
  readonly isSynced?: boolean
  /** Of the group that is changed: a switchover waits for that as for any writer, until its deadline. */
  readonly holdsShards?: boolean
  /** It hangs for whoever asks it anything at all. */
  readonly isSilent?: boolean
  /** What the line about the node says, beside its address. */
  readonly says?: RegExp
  /** Why it can't be had on this machine; null: it can. */
  readonly missing?: (scenario: Scenario) => string | null
}

const PRIMARY: readonly Place[] = ['other worker']
const SECONDARIES: readonly Place[] = ["other worker's standby", 'other standby of the group']

const sql = async (scenario: Scenario, server: Server, text: string) =>
  await server.query(text, [], { database: scenario.cluster.database })

/** A session that sits in a transaction. */
const sitting = async (scenario: Scenario, server: Server, text: string): Promise<() => Promise<void>> => {
  const session: pg.Client = await openTransaction(server, scenario.cluster.database, text)
  return async () => await session.end().catch(() => undefined)
}

/** After its restart whoever follows it streams again, and Citus's daemon is there: as with a node that was left alone. */
async function settled({ cluster }: Scenario, server: Server): Promise<void> {
  if (await server.isInRecovery()) {
    const upstream = upstreamOf(cluster, server)
    return upstream.isRunning ? await cluster.waitForReplay(server, upstream) : undefined
  }
  await daemonRuns(server, cluster.database)
  const followers = cluster.servers.filter((each) => each !== server && upstreamOf(cluster, each) === server)
  for (const each of followers) await cluster.waitForReplay(each, server)
}

function upstreamOf(cluster: Scenario['cluster'], server: Server): Server {
  return cluster.workers.find(({ standbys }) => standbys.includes(server))?.primary ?? cluster.coordinator
}

const setting =
  (name: string, value: string): NodeAilment['inflict'] =>
  async ({ server }) => {
    await server.configure({ [name]: value })
    return async () => await server.configure({ [name]: null })
  }

/** Takes what is left of the slots that are for everybody: who is let in stays. */
async function fillSlots(server: Server): Promise<() => Promise<void>> {
  const sessions: pg.Client[] = []
  const isFull = async () => {
    const session = await server.connect({ user: 'citus_ha' }).catch((error: { code?: string }) => error.code)
    if (typeof session === 'object') sessions.push(session)
    return session === '53300'
  }
  await waitUntil('its slots are full', isFull)
  return async () => {
    await Promise.all(sessions.map((session) => session.end().catch(() => undefined)))
  }
}

const NO_DDL = 'SET citus.enable_ddl_propagation = off'

/** Citus disables what has shards of no table alone. */
async function disable({ scenario: { cluster }, server }: Given): Promise<() => undefined> {
  const { coordinator, database } = cluster
  await coordinator.query('DROP TABLE items', [], { database })
  await coordinator.query('SELECT citus_disable_node($1, $2, true)', [server.host, server.port], { database })
  return () => undefined
}

/**
 * Somebody who has what a change locks second waits for what it locks first, as soon as it has that. It is the change that
 * finds the deadlock, and is ended for it.
 */
async function deadlock({ scenario, server }: Given): Promise<() => Promise<void>> {
  const { database } = scenario.cluster
  await server.configure({ deadlock_timeout: '80ms' })
  const other = await server.connect({ database })
  await other.query(`SET deadlock_timeout = '1h'`)
  const { rows } = await other.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const shards = `SELECT lock_shard_metadata(7, array_agg(shardid)) FROM pg_dist_placement WHERE groupid = 1`
  const taken = `EXISTS (SELECT FROM pg_locks WHERE relation = 'pg_dist_node'::regclass AND granted
    AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid())`
  const once = async () => {
    await other.query('BEGIN')
    await other.query(shards)
    await other.query(`DO $$ BEGIN WHILE NOT ${taken} LOOP PERFORM pg_sleep(0.001); END LOOP;
      LOCK TABLE pg_dist_node IN EXCLUSIVE MODE; END $$`)
    await other.query('ROLLBACK')
  }
  const locking = (async () => {
    for (;;) await once()
  })().catch(() => undefined)
  return async () => {
    await server.query('SELECT pg_terminate_backend($1::int)', [rows[0]?.pid])
    await locking
    await other.end().catch(() => undefined)
  }
}

/** Citus's daemon ships it the metadata, and waits there for a lock, with a lock of its own on the coordinator. */
async function hangingSync({ scenario, server }: Given): Promise<() => Promise<void>> {
  const { coordinator, database } = scenario.cluster
  const heal = await sitting(scenario, server, 'LOCK TABLE pg_dist_node IN SHARE ROW EXCLUSIVE MODE')
  await coordinator.configure({
    'citus.metadata_sync_interval': '100ms',
    'citus.metadata_sync_retry_interval': '100ms',
  })
  // The one that runs may sleep for a minute yet: it has computed when it comes round by what it was told before. While it is
  // there no other one is begun, and once it is gone by whoever connects.
  const [old] = await coordinator.query<{ pid: number }>(
    `SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'Citus Maintenance Daemon' AND datname = $1`,
    [database],
  )
  const isThere = 'SELECT FROM pg_stat_activity WHERE pid = $1'
  await waitUntil('it is gone', async () => (await coordinator.query(isThere, [old?.pid])).length === 0)
  await daemonRuns(coordinator, database)
  await coordinator.query(
    'UPDATE pg_dist_node SET metadatasynced = false WHERE nodeport = $1',
    [server.port],
    { database },
  )
  await waitUntil('the sync waits there', async () => {
    const waits = `SELECT FROM pg_locks WHERE relation = 'pg_dist_node'::regclass AND NOT granted`
    return (await server.query(waits, [], { database })).length > 0
  })
  return heal
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
    hangs: true,
    isSilent: true,
    inflict: async ({ server }) => {
      server.freeze()
      return () => server.thaw()
    },
  },
  {
    name: 'black-holed: packets to it are dropped',
    hangs: true,
    isSilent: true,
    inflict: async ({ server }) => {
      await server.kill()
      const hole = await SynHole.at(server)
      return async () => {
        await hole.close()
        await server.start()
      }
    },
  },
  {
    name: 'black-holed for citus-ha alone',
    hangs: true,
    isSilent: true,
    inflict: async ({ scenario, server, options }) => {
      const hole = await BlackHole.open()
      const addresses = { [formatAddress(server)]: { connect: hole.address } }
      options.push('--config', await scenario.configFile({ addresses }))
      return () => hole.close()
    },
    prepare: async ({ scenario, server, options }) => {
      const valve = await Valve.open(server)
      const addresses = { [formatAddress(server)]: { connect: valve.address } }
      options.push('--config', await scenario.configFile({ addresses }))
      return async () => {
        valve.cut()
        return () => valve.mend()
      }
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
    name: 'connection slots full',
    inflict: async ({ scenario, server }) => {
      await server.configure({ superuser_reserved_connections: '99' })
      await server.restart()
      await settled(scenario, server)
      return await fillSlots(server)
    },
  },
  {
    name: 'connection slots full, but for those reserved for the role',
    harmless: true,
    missing: ({ cluster }) =>
      cluster.binaries.major >= 16
        ? null
        : 'PostgreSQL 15 reserves slots for superusers only (reserved_connections: 16)',
    inflict: async ({ scenario, server }) => {
      const { database } = scenario.cluster
      const [row] = await server.query<{ primary: boolean }>('SELECT NOT pg_is_in_recovery() AS primary')
      if (row?.primary)
        await sql(
          scenario,
          server,
          'GRANT pg_use_reserved_connections TO citus_ha; CREATE ROLE anybody LOGIN',
        )
      await server.configure({ reserved_connections: '20', superuser_reserved_connections: '79' })
      await server.restart()
      await settled(scenario, server)
      const session = await server.connect({ user: 'anybody', database })
      return async () => await session.end().catch(() => undefined)
    },
  },
  {
    name: 'disk full of WAL',
    missing: noMount,
    places: ['other worker', 'other standby of the group', 'standby coordinator'],
    inflict: async ({ scenario: { cluster }, server }) => {
      const upstream = (await server.isInRecovery()) ? upstreamOf(cluster, server) : null
      const heal = await fillWal(server)
      if (upstream) {
        await upstream.query('SELECT pg_switch_wal()')
        await upstream.query('CREATE TABLE more ()')
        await waitUntil('it has no room', () => /No space left/.test(server.logTail(100)))
      }
      return heal
    },
  },
  {
    name: 'Citus not loaded',
    inflict: async ({ server }) => {
      await server.configure({ shared_preload_libraries: '' })
      await server.restart()
      return () => undefined
    },
  },
  {
    name: 'Citus of another release',
    places: PRIMARY,
    inflict: async ({ scenario, server }) => {
      await sql(scenario, server, `UPDATE pg_extension SET extversion = '13.0-1' WHERE extname = 'citus'`)
      return () => undefined
    },
  },
  {
    name: 'made again by initdb',
    inflict: async ({ scenario, server }) => {
      await makeAnew(scenario, server)
      return () => undefined
    },
  },
  {
    name: 'a foreign cluster’s coordinator',
    inflict: async ({ scenario, server }) => {
      await makeForeign(scenario, server)
      return () => undefined
    },
  },
  {
    name: 'in recovery',
    places: PRIMARY,
    inflict: async ({ server }) => {
      await putInRecovery(server)
      return () => undefined
    },
  },
  {
    name: 'disabled on purpose, and running',
    places: ['other worker', ...SECONDARIES],
    harmless: true,
    inflict: disable,
  },
  {
    name: 'disabled on purpose, and killed',
    places: ['other worker', ...SECONDARIES],
    harmless: true,
    inflict: async (given) => {
      await disable(given)
      await given.server.kill()
      return () => undefined
    },
  },
  {
    name: 'its clock an hour ahead',
    harmless: true,
    missing: noFakeTime,
    inflict: async ({ scenario, server }) => {
      await setClock(server, '+1h')
      await settled(scenario, server)
      return () => undefined
    },
  },
  {
    name: 'its clock an hour behind',
    harmless: true,
    missing: noFakeTime,
    inflict: async ({ scenario, server }) => {
      await setClock(server, '-1h')
      await settled(scenario, server)
      return () => undefined
    },
  },
  {
    name: 'speaks German',
    harmless: true,
    missing: noTranslation,
    inflict: async ({ scenario, server }) => {
      await translate(scenario, server)
      await settled(scenario, server)
      return () => undefined
    },
  },
  {
    name: 'speaks German, and refuses by pg_hba',
    missing: noTranslation,
    inflict: async ({ scenario, server }) => {
      await translate(scenario, server)
      return await putInHba(server, ['host all citus_ha 0.0.0.0/0 reject'])
    },
  },
  {
    name: 'no role',
    places: PRIMARY,
    inflict: async ({ scenario, server }) => {
      await sql(scenario, server, 'ALTER ROLE citus_ha NOLOGIN')
      return () => sql(scenario, server, 'ALTER ROLE citus_ha LOGIN')
    },
  },
  {
    name: 'no schema',
    places: PRIMARY,
    isSynced: true,
    says: /citus-ha install/,
    inflict: async ({ scenario, server }) => {
      await sql(scenario, server, 'ALTER SCHEMA citus_ha RENAME TO away')
      return () => sql(scenario, server, 'ALTER SCHEMA away RENAME TO citus_ha')
    },
  },
  {
    name: 'an older schema',
    places: PRIMARY,
    isSynced: true,
    says: /citus-ha install/,
    inflict: async ({ scenario, server }) => {
      await sql(
        scenario,
        server,
        `${NO_DDL}; DELETE FROM citus_ha.migration WHERE number > 2; ALTER TABLE citus_ha.lineage DROP COLUMN positions;
         ALTER TABLE citus_ha.intent DROP COLUMN run, DROP COLUMN settings;
         DROP TABLE citus_ha.retired, citus_ha.lead_lock, citus_ha.change_lock`,
      )
      return () => undefined
    },
  },
  {
    name: 'a newer schema',
    places: PRIMARY,
    isSynced: true,
    inflict: async ({ scenario, server }) => {
      await sql(
        scenario,
        server,
        `${NO_DDL}; INSERT INTO citus_ha.migration (number, name) VALUES (99, 'newer'); ALTER TABLE citus_ha.lineage ADD COLUMN newer int;
         UPDATE pg_proc SET prosrc = prosrc || ' -- newer'
          WHERE pronamespace = 'citus_ha'::regnamespace AND proname = 'rewrite'`,
      )
      return () => undefined
    },
  },
  {
    name: 'read-only by default',
    places: PRIMARY,
    harmless: true,
    inflict: setting('default_transaction_read_only', 'on'),
  },
  {
    name: 'slots of prepared transactions full',
    places: PRIMARY,
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
    hangs: true,
    places: PRIMARY,
    says: /55P03/,
    inflict: ({ scenario, server }) =>
      sitting(scenario, server, 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'),
  },
  {
    name: 'pg_dist_node locked by a prepared transaction',
    hangs: true,
    places: PRIMARY,
    says: /55P03/,
    inflict: async ({ scenario, server }) => {
      const lock = 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'
      await sql(scenario, server, `BEGIN; ${lock}; PREPARE TRANSACTION 'somebody’s'`)
      return () => sql(scenario, server, `ROLLBACK PREPARED 'somebody’s'`)
    },
  },
  {
    name: 'a deadlock there',
    hangs: true,
    holdsShards: true,
    places: PRIMARY,
    // The fence gives way to a deadlock, and begins anew until its time is over.
    says: /55P03/,
    inflict: deadlock,
  },
  {
    name: 'its metadata sync hangs',
    hangs: true,
    places: PRIMARY,
    inflict: hangingSync,
  },
  {
    name: 'a trigger on pg_dist_node raises',
    places: PRIMARY,
    says: /P0001/,
    inflict: async ({ scenario, server }) => {
      await sql(
        scenario,
        server,
        `${NO_DDL}; CREATE FUNCTION public.raises() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$not here$$; END';
         SET allow_system_table_mods = on;
         CREATE TRIGGER raises BEFORE UPDATE ON pg_catalog.pg_dist_node FOR EACH ROW EXECUTE FUNCTION public.raises()`,
      )
      return () =>
        sql(
          scenario,
          server,
          `${NO_DDL}; SET allow_system_table_mods = on; DROP FUNCTION public.raises() CASCADE`,
        )
    },
  },
]
