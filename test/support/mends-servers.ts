import { formatGid } from '../../src/model/gid.ts'
import { type Mending, type Patient, placesOf } from './mends.ts'

/** Statements on a worker by itself: Citus tells no other node. */
const HERE = 'SET citus.enable_ddl_propagation = off'

const directory = ({ server }: Patient, name: string) => ({
  fill: placesOf(server(name)),
})

const prepare = ({ sql }: Patient, name: string, gid: string, work: string) =>
  sql(name, `BEGIN; ${work}; PREPARE TRANSACTION '${gid}'`)

async function gidOfOurs({ server }: Patient, timeline: number): Promise<string> {
  const [row] = await server('coordinator').query<{ id: string }>(
    'SELECT system_identifier::text AS id FROM pg_control_system()',
  )
  const cluster = `c${BigInt(row?.id ?? 0).toString(36)}`
  return formatGid({ cluster, database: 'app', timeline, epoch: 7, random: 'deadbeef', participant: 1 })
}

/** The metadata, transactions, and what each server allows. */
export const SERVER_MENDINGS: readonly Mending[] = [
  {
    id: 'H070',
    name: 'a metadata worker that is not synced',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql('coordinator', 'UPDATE pg_dist_node SET metadatasynced = false WHERE nodeid = 2')
      return undefined
    },
  },
  {
    id: 'H071',
    name: 'a copy that differs',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql('worker-2', `UPDATE pg_dist_node SET noderack = 'elsewhere' WHERE nodeid = 3`)
      return undefined
    },
  },
  {
    id: 'H072',
    name: 'a session that is named as those of Patroni’s Citus mode',
    word: 'look',
    inflict: async ({ scenario, server }) => {
      // It ends with the server.
      const patroni = await server('coordinator').connect({ database: scenario.cluster.database })
      await patroni.query(`SET application_name = 'Patroni citus'`)
      return undefined
    },
  },
  {
    id: 'H080',
    name: 'one more standby of a worker than is known',
    word: 'mend',
    inflict: async ({ scenario, server }) => {
      const added = await scenario.cluster.addStandby(server('worker-1'), 'worker-1-unknown', {
        registered: false,
      })
      return { fill: { STANDBY: added.host, PORT: `${added.port}` } }
    },
  },
  {
    id: 'H080',
    name: 'one more standby of the coordinator than is known',
    word: 'look',
    inflict: async ({ scenario, server }) => {
      await scenario.cluster.addStandby(server('coordinator'), 'coordinator-unknown', { registered: false })
      return undefined
    },
  },
  {
    id: 'H081',
    name: 'two rows of one server',
    word: 'mend',
    inflict: async ({ everywhere, scenario, server }) => {
      await everywhere(
        `INSERT INTO pg_dist_node (nodeid, groupid, nodename, nodeport, noderole, shouldhaveshards)
         VALUES (9, 1, 'localhost', ${server('worker-1-standby').port}, 'secondary', true)`,
      )
      await scenario.settle()
      return undefined
    },
  },
  {
    id: 'H082',
    name: 'no secondary in the cluster that is read',
    word: 'mend',
    inflict: async ({ scenario, server }) => {
      const added = await scenario.cluster.addStandby(server('worker-1'), 'worker-1-report', {
        registered: false,
      })
      const always = { 'citus.use_secondary_nodes': 'always', 'citus.cluster_name': 'reports' }
      await server('coordinator-standby').configure(always)
      return { fill: { STANDBY: added.host, PORT: `${added.port}` } }
    },
  },
  ...(
    [
      ['H090', 'a pool that leads to another node', 'mend', 3, ''],
      ['H091', 'a pool of a node that is gone', 'mend', 99, 'SET session_replication_role = replica; '],
    ] as const
  ).map(
    ([id, name, word, nodeid, first]): Mending => ({
      id,
      name,
      word,
      inflict: async ({ sql, server }) => {
        const { port } = server('worker-1')
        await sql(
          'coordinator',
          `${first}INSERT INTO pg_dist_poolinfo VALUES (${nodeid}, 'host=127.0.0.1 port=${port}')`,
        )
        return undefined
      },
    }),
  ),
  {
    id: 'H092',
    name: 'a pool on a host of its own',
    word: 'look',
    inflict: async ({ sql, server }) => {
      const { port } = server('worker-2')
      await sql('coordinator', `INSERT INTO pg_dist_poolinfo VALUES (3, 'host=localhost port=${port}')`)
      return undefined
    },
  },
  {
    id: 'H100',
    name: 'a change that was left prepared by a superuser',
    word: 'mend',
    inflict: async (patient) => {
      await prepare(
        patient,
        'worker-2',
        await gidOfOurs(patient, 1),
        'LOCK TABLE pg_dist_node IN EXCLUSIVE MODE',
      )
      return undefined
    },
  },
  {
    id: 'H100',
    name: 'a change that was left prepared by the role itself',
    word: 'mend',
    inflict: async (patient) => {
      const { server, scenario } = patient
      const sql = `BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION '${await gidOfOurs(patient, 1)}'`
      await server('worker-2').query(sql, [], { database: scenario.cluster.database, user: 'citus_ha' })
      return undefined
    },
  },
  {
    id: 'H100',
    name: 'a change of a coordinator on a newer timeline',
    word: 'mend',
    inflict: async (patient) => {
      await prepare(
        patient,
        'worker-2',
        await gidOfOurs(patient, 9),
        'LOCK TABLE pg_dist_node IN EXCLUSIVE MODE',
      )
      return undefined
    },
  },
  {
    id: 'H101',
    name: 'somebody else’s prepared transaction with a lock',
    word: 'mend',
    inflict: async (patient) => {
      await prepare(patient, 'worker-1', 'somebody’s "own"', 'LOCK TABLE pg_dist_node IN SHARE MODE')
      return undefined
    },
  },
  {
    id: 'H102',
    name: 'one that is named like ours',
    word: 'mend',
    inflict: async (patient) => {
      await prepare(patient, 'worker-1', 'citus_ha_of_another', `${HERE}; CREATE TABLE kept (a int)`)
      return undefined
    },
  },
  {
    id: 'H111',
    name: 'all slots of prepared transactions taken',
    word: 'mend',
    inflict: async (patient) => {
      const { server } = patient
      await server('worker-2').configure({ max_prepared_transactions: '1' })
      await server('worker-2').restart()
      await prepare(patient, 'worker-2', 'the only one', `${HERE}; CREATE TABLE kept (a int)`)
      return directory(patient, 'worker-2')
    },
  },
  {
    id: 'H120',
    name: 'commits that wait for a standby that is not there',
    word: 'mend',
    inflict: async ({ server }) => {
      await server('worker-1').configure({ synchronous_standby_names: 'nobody' })
      return undefined
    },
  },
  {
    id: 'H121',
    name: 'a standby that would wait for others',
    word: 'mend',
    inflict: async ({ server }) => {
      await server('worker-1-standby').configure({ synchronous_standby_names: '*' })
      return undefined
    },
  },
  {
    id: 'H140',
    name: 'the schema is missing',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql('worker-2', 'DROP SCHEMA citus_ha CASCADE')
      return undefined
    },
  },
  {
    id: 'H140',
    name: 'the schema may not be used by the role of doctor',
    word: 'mend',
    inflict: async ({ everywhere, scenario, server, at }) => {
      await everywhere(`${HERE}; CREATE ROLE plain LOGIN`)
      await scenario.settle()
      const url = server('coordinator').url(scenario.cluster.database, 'plain')
      return { options: ['--coordinator', url], node: at('coordinator') }
    },
  },
  {
    id: 'H140',
    name: 'the schema is somebody else’s',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql(
        'worker-2',
        `${HERE}; CREATE ROLE stranger; CREATE FUNCTION citus_ha.trap() RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER FUNCTION citus_ha.trap() OWNER TO stranger`,
      )
      return undefined
    },
  },
  {
    id: 'H140',
    name: 'the schema is newer',
    word: 'look',
    inflict: async ({ sql }) => {
      await sql('worker-2', `INSERT INTO citus_ha.migration (number, name) VALUES (99, 'newer')`)
      return undefined
    },
  },
  {
    id: 'H141',
    name: 'a function that the role may not execute',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql('worker-1', 'REVOKE EXECUTE ON FUNCTION citus_ha.lock_shards() FROM citus_ha')
      return undefined
    },
  },
  {
    id: 'H142',
    name: 'a superuser',
    word: 'look',
    inflict: async ({ server, scenario }) => ({
      options: ['--coordinator', server('coordinator').url(scenario.cluster.database)],
    }),
  },
  {
    id: 'H143',
    name: 'rights of a switchover, some of which are missing',
    word: 'mend',
    inflict: async ({ scenario, sql }) => {
      await scenario.install('--switchover')
      await sql(
        'worker-1',
        `${HERE}; REVOKE ALTER SYSTEM ON PARAMETER citus.recover_2pc_interval FROM citus_ha`,
      )
      return undefined
    },
  },
  ...(
    [
      ['the role', 'ALTER ROLE citus_ha SET default_transaction_read_only = on'],
      ['the database', 'ALTER DATABASE app SET default_transaction_read_only = on'],
      [
        'the role in the database',
        'ALTER ROLE citus_ha IN DATABASE app SET default_transaction_read_only = on',
      ],
    ] as const
  ).map(
    ([whose, text]): Mending => ({
      id: 'H150',
      name: `read-only by default: ${whose}`,
      word: 'mend',
      inflict: async ({ sql }) => {
        await sql('worker-1', `${HERE}; ${text}`)
        return undefined
      },
    }),
  ),
  ...(['worker-1', 'worker-1-standby'] as const).map(
    (name): Mending => ({
      id: 'H150',
      name: `read-only by default: the file of ${name}`,
      word: 'mend',
      inflict: async ({ server, at }) => {
        await server(name).configure({ default_transaction_read_only: 'on' })
        return { node: at(name) }
      },
    }),
  ),
  {
    id: 'H190',
    name: 'a logical slot that the standby does not have',
    word: 'look',
    inflict: async ({ sql }) => {
      await sql('worker-1', `SELECT pg_create_logical_replication_slot('feed', 'pgoutput')`)
      return undefined
    },
  },
  {
    id: 'H900',
    name: 'what the role may not see',
    word: 'look',
    exitCode: 3,
    inflict: async ({ sql }) => {
      await sql('worker-2', `${HERE}; REVOKE pg_read_all_stats FROM citus_ha`)
      return undefined
    },
  },
  {
    id: 'H130',
    name: 'a daemon that waits for a node that hangs',
    word: 'look',
    inflict: async ({ server }) => {
      server('worker-2').freeze()
      return undefined
    },
  },
]
