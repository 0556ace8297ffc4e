import { putInHba } from './hba.ts'
import { type Mending, type Patient, placesOf } from './mends.ts'

const directory = ({ server }: Patient, name: string) => ({
  fill: placesOf(server(name)),
})

/** Groups, and the names of nodes. */
export const GROUP_MENDINGS: readonly Mending[] = [
  {
    id: 'H010',
    name: 'two coordinators, and no row of group 0',
    word: 'mend',
    inflict: async (patient) => {
      await patient.everywhere('DELETE FROM pg_dist_node WHERE groupid = 0')
      await patient.scenario.settle()
      await patient.server('coordinator-standby').promote()
      return directory(patient, 'coordinator-standby')
    },
  },
  {
    id: 'H020',
    name: 'a writable expand coordinator whose daemon recovers',
    word: 'mend',
    inflict: async ({ server }) => {
      await server('coordinator-standby').configure({ 'citus.use_secondary_nodes': 'always' })
      await server('coordinator-standby').promote()
      return undefined
    },
  },
  {
    id: 'H020',
    name: 'an old coordinator beside the promoted one',
    word: 'mend',
    inflict: async (patient) => {
      await patient.server('coordinator-standby').promote()
      return directory(patient, 'coordinator')
    },
  },
  {
    id: 'H021',
    name: 'a writable expand coordinator with nodes to sync',
    word: 'mend',
    inflict: async ({ server, sql }) => {
      await server('coordinator-standby').configure({ 'citus.use_secondary_nodes': 'always' })
      await server('coordinator-standby').promote()
      await sql('coordinator-standby', 'UPDATE pg_dist_node SET metadatasynced = false WHERE nodeid = 2')
      return undefined
    },
  },
  {
    id: 'H030',
    name: 'a primary that is down',
    word: 'mend',
    starts: 'worker-1',
    inflict: async (patient) => {
      await patient.server('worker-1').kill()
      return directory(patient, 'worker-1')
    },
  },
  {
    id: 'H030',
    name: 'split brain',
    word: 'mend',
    inflict: async (patient) => {
      await patient.server('worker-1-standby').promote()
      return directory(patient, 'worker-1-standby')
    },
  },
  {
    id: 'H030',
    name: 'a primary that is cut off from us alone',
    word: 'look',
    exitCode: 2,
    inflict: async ({ scenario, server, at }) => {
      const addresses = { [at('worker-1')]: { connect: '127.0.0.1:1' } }
      await putInHba(server('worker-1'), ['host app citus_ha 127.0.0.1/32 reject'])
      return { options: [...scenario.options, '--config', await scenario.configFile({ addresses })] }
    },
  },
  {
    id: 'H031',
    name: 'a promotion that the metadata does not know',
    word: 'mend',
    inflict: async ({ server }) => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      return undefined
    },
  },
  {
    id: 'H040',
    name: 'a primary that does not answer',
    word: 'look',
    exitCode: 2,
    inflict: async ({ server }) => {
      await server('worker-1').kill()
      return undefined
    },
  },
  {
    id: 'H041',
    name: 'the only standby is down',
    word: 'mend',
    starts: 'worker-1-standby',
    inflict: async (patient) => {
      await patient.server('worker-1-standby').kill()
      return directory(patient, 'worker-1-standby')
    },
  },
  {
    id: 'H041',
    name: 'the only standby does not stream',
    word: 'look',
    inflict: async ({ server }) => {
      await server('worker-1-standby').configure({ primary_conninfo: 'host=127.0.0.1 port=1' })
      return undefined
    },
  },
  {
    id: 'H042',
    name: 'one of two standbys is down',
    word: 'mend',
    starts: 'worker-1-second',
    inflict: async (patient) => {
      const { scenario, server } = patient
      await scenario.cluster.addStandby(server('worker-1'), 'worker-1-second')
      await server('worker-1-second').kill()
      return directory(patient, 'worker-1-second')
    },
  },
  {
    id: 'H043',
    name: 'a candidate that does not answer',
    word: 'look',
    exitCode: 2,
    inflict: async ({ scenario }) => {
      const standbys = [{ group: 1, address: '127.0.0.1:1' }]
      return { options: [...scenario.options, '--config', await scenario.configFile({ standbys })] }
    },
  },
  {
    id: 'H044',
    name: 'a group of one',
    word: 'mend',
    inflict: async ({ sql, server, machine }) => {
      const gone = server('worker-2-standby')
      await gone.stop()
      await sql('coordinator', `SELECT citus_remove_node('127.0.0.1', ${gone.port})`)
      const made = machine.directoryFor(gone, 'made-anew')
      return { fill: { DATA_DIRECTORY: made, CONFIG_FILE: `${made}/postgresql.conf` } }
    },
  },
  {
    id: 'H045',
    name: 'a standby whose replay is paused',
    word: 'look',
    inflict: async ({ scenario, sql }) => {
      await sql('worker-1-standby', 'SELECT pg_wal_replay_pause()')
      await sql('worker-1', 'SET citus.enable_ddl_propagation = off; CREATE TABLE more (a int)')
      const routing = { maxLag: '1B' }
      return { options: [...scenario.options, '--config', await scenario.configFile({ routing })] }
    },
  },
  {
    id: 'H050',
    name: 'a pause',
    word: 'mend',
    inflict: async ({ scenario }) => {
      await scenario.run('pause', '--group', '1')
      return undefined
    },
  },
  {
    id: 'H060',
    name: 'the coordinator’s name means each node itself',
    word: 'mend',
    inflict: async ({ everywhere, server, scenario }) => {
      await everywhere(
        `INSERT INTO pg_dist_node (nodeid, groupid, nodename, nodeport, noderole, isactive)
         VALUES (9, 1, 'elsewhere.invalid', ${server('coordinator').port}, 'secondary', false)`,
      )
      await scenario.settle()
      return { fill: { NAME: '::ffff:127.0.0.1' } }
    },
  },
  {
    id: 'H061',
    name: 'no row of group 0',
    word: 'mend',
    inflict: async ({ everywhere, scenario }) => {
      await everywhere('DELETE FROM pg_dist_node WHERE groupid = 0')
      await scenario.settle()
      return undefined
    },
  },
  {
    id: 'H062',
    name: 'a name that only we resolve',
    word: 'look',
    exitCode: 2,
    inflict: async ({ everywhere, scenario, server, at }) => {
      const { port } = server('worker-1-standby')
      await everywhere(`UPDATE pg_dist_node SET nodename = 'w1b.invalid' WHERE nodeid = 4`)
      await scenario.settle()
      const addresses = { [`w1b.invalid:${port}`]: { connect: at('worker-1-standby') } }
      return { options: [...scenario.options, '--config', await scenario.configFile({ addresses })] }
    },
  },
  ...(['worker-2', 'worker-2-standby'] as const).map(
    (asked): Mending => ({
      id: 'H063',
      name: `${asked} has no password for the other nodes`,
      word: 'mend',
      inflict: async ({ everywhere, scenario, server, at }) => {
        const here = 'SET citus.enable_ddl_propagation = off'
        await everywhere(`${here}; ALTER ROLE citus_ha PASSWORD 'right'`)
        await scenario.settle()
        for (const each of scenario.cluster.servers)
          await putInHba(server(each.name), ['host app citus_ha 127.0.0.1/32 scram-sha-256'])
        return { node: at(asked), fill: { PASSWORD: 'right' }, env: { PGPASSWORD: 'right' } }
      },
    }),
  ),
  {
    id: 'H064',
    name: 'an address that was not allowed by the last install',
    word: 'mend',
    inflict: async ({ sql }) => {
      await sql('coordinator', 'DELETE FROM citus_ha.allowed_address')
      return undefined
    },
  },
  {
    id: 'H180',
    name: 'an old primary after a switchover',
    word: 'mend',
    starts: 'worker-1',
    inflict: async (patient) => {
      await patient.scenario.install('--switchover')
      const ran = await patient.scenario.run('switchover', '--group', '1', '--yes')
      if (ran.exitCode !== 0) throw new Error(ran.stdout + ran.stderr)
      return directory(patient, 'worker-1')
    },
  },
  {
    id: 'H182',
    name: 'an old primary that is retired and takes writes',
    word: 'mend',
    starts: 'worker-1',
    inflict: async (patient) => {
      await patient.server('worker-1-standby').promote()
      const ran = await patient.scenario.run('reconcile', '--promoted', patient.at('worker-1-standby'))
      if (ran.exitCode !== 0) throw new Error(ran.stdout + ran.stderr)
      return directory(patient, 'worker-1')
    },
  },
  {
    id: 'H181',
    name: 'a standby that was an old primary',
    word: 'mend',
    inflict: async ({ server }) => {
      await server('worker-1-standby').configure({ 'citus.recover_2pc_interval': '-1' })
      return undefined
    },
  },
]
