import { existsSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster, type Worker } from '../../src/demo/cluster.ts'
import { isAlive } from '../../src/demo/processes.ts'
import type { Server } from '../../src/demo/server.ts'

interface Row {
  groupid: number
  nodeport: number
  noderole: string
  nodecluster: string
  hasmetadata: boolean
  metadatasynced: boolean
}

const NODES = `select groupid, nodeport, noderole::text, nodecluster::text, hasmetadata, metadatasynced
                 from pg_dist_node order by groupid, noderole, nodeid`

let cluster: Cluster
let worker: Worker
let standby: Server

beforeAll(async () => {
  cluster = await startCluster({
    extraDatabases: ['billing'],
    workers: [
      { standbys: [{}, { registered: false }] },
      { standbys: [{ nodecluster: 'reports' }], metadata: false },
    ],
    coordinatorStandbys: [
      { kind: 'standby', registered: true },
      { kind: 'expand', clusterName: 'reports' },
    ],
    settings: { work_mem: '5MB' },
    hba: ['host all nosuch 127.0.0.1/32 reject'],
  })
  const [first] = cluster.workers
  const [firstStandby] = first?.standbys ?? []
  if (first === undefined || firstStandby === undefined) throw new Error('no first worker with a standby')
  worker = first
  standby = firstStandby
  await cluster.coordinator.query('create table t(a int)')
  await cluster.snapshot()
}, 120_000)

afterEach(async () => {
  await cluster.restore()
}, 60_000)

afterAll(async () => {
  await cluster?.stop()
})

describe('a cluster as it was asked for', () => {
  test.each(['app', 'billing'])('has its nodes in pg_dist_node of %s', async (database) => {
    const [second] = cluster.workers.slice(1)
    const rows = await cluster.coordinator.query<Row>(NODES, [], { database })
    const primary = { noderole: 'primary', nodecluster: 'default' }
    const synced = { hasmetadata: true, metadatasynced: true }
    const unsynced = { hasmetadata: false, metadatasynced: false }
    expect(rows).toEqual([
      { groupid: 0, nodeport: cluster.coordinator.port, ...primary, ...synced },
      { ...rows[1], groupid: 0, nodeport: cluster.coordinatorStandbys[0]?.port, noderole: 'secondary' },
      { groupid: 1, nodeport: worker.primary.port, ...primary, ...synced },
      { ...rows[3], groupid: 1, nodeport: standby.port, noderole: 'secondary', nodecluster: 'default' },
      { groupid: 2, nodeport: second?.primary.port, ...primary, ...unsynced },
      { ...rows[5], groupid: 2, nodeport: second?.standbys[0]?.port, nodecluster: 'reports' },
    ])
  })

  test('has the same nodes on a metadata worker and on every standby of the coordinator', async () => {
    const expected = await cluster.coordinator.query<Row>(NODES)
    for (const server of [worker.primary, standby, ...cluster.coordinatorStandbys]) {
      expect(await server.query<Row>(NODES), server.name).toEqual(expected)
    }
  })

  test('streams, one system identifier a group', async () => {
    const identifiers = await Promise.all(
      cluster.workers.map(async ({ primary, standbys }) => {
        const sql = 'select system_identifier::text as id from pg_control_system()'
        const ids = await Promise.all(
          [primary, ...standbys].map((server) => server.query<{ id: string }>(sql)),
        )
        return new Set(ids.map(([row]) => row?.id))
      }),
    )
    expect(identifiers.map((ids) => ids.size)).toEqual([1, 1])
    expect(identifiers[0]).not.toEqual(identifiers[1])
    const senders = 'select application_name as name from pg_stat_replication order by 1'
    expect(await worker.primary.query(senders)).toEqual([
      { name: 'worker-1-standby' },
      { name: 'worker-1-standby-2' },
    ])
  })

  test('passes on settings, and the expand coordinator reads through secondaries', async () => {
    const settings = `select current_setting('work_mem') as memory, current_setting('citus.use_secondary_nodes') as use,
                             current_setting('citus.cluster_name') as cluster`
    expect(await cluster.expand.query(settings)).toEqual([
      { memory: '5MB', use: 'always', cluster: 'reports' },
    ])
  })

  test('turns away whom a pg_hba.conf line rejects', async () => {
    await expect(worker.primary.query('select 1', [], { user: 'nosuch' })).rejects.toMatchObject({
      code: '28000',
    })
  })

  test('says what it runs on', () => {
    expect(cluster.describe()).toMatch(/^(real Citus \d+\.\d+\.\d+|the stand-in) on PostgreSQL \d+\.\d+$/)
  })
})

describe('failures', () => {
  test('a kill, a promotion, and the old primary comes back as a standby', async () => {
    await worker.primary.kill()
    expect(worker.primary.isRunning).toBe(false)
    await standby.promote()
    await standby.query('create table after_promotion(a int)')
    await cluster.rejoin(worker.primary, standby)
    expect(await worker.primary.isInRecovery()).toBe(true)
    expect(await worker.primary.query('select * from after_promotion')).toEqual([])
  })

  test('a frozen server keeps its connections and answers nobody', async () => {
    await worker.primary.withClient(async (client) => {
      worker.primary.freeze()
      let answered = false
      const query = client.query('select 1').then(() => {
        answered = true
      })
      await standby.query('select 1') // a round trip elsewhere
      expect(answered).toBe(false)
      expect(worker.primary.isRunning).toBe(true)
      worker.primary.thaw()
      await query
      expect(answered).toBe(true)
    })
  })

  test('a standby is added online while clients write', async () => {
    const writing = worker.primary.withClient(async (client) => {
      await client.query('create table ticks(a int)')
      for (let i = 0; i < 200; i++) await client.query('insert into ticks values ($1)', [i])
    })
    const added = await cluster.addStandby(worker.primary, 'late')
    await writing
    await cluster.waitForReplay(added, worker.primary)
    expect(await added.query('select count(*)::int as n from ticks')).toEqual([{ n: 200 }])
    const [row] = await cluster.coordinator.query('select groupid from pg_dist_node where nodeport = $1', [
      added.port,
    ])
    expect(row).toEqual({ groupid: 1 })
    expect(cluster.workers[0]?.standbys).toContain(added)
  })

  test('a setting takes effect without a restart', async () => {
    await worker.primary.configure({ work_mem: '7MB' })
    expect(await worker.primary.query('show work_mem')).toEqual([{ work_mem: '7MB' }])
  })

  test('a server that cannot start says why', async () => {
    await standby.stop()
    await standby.configure({ max_connections: 'many' })
    await expect(standby.start()).rejects.toThrow('invalid value for parameter "max_connections"')
  })
})

describe('restore', () => {
  test('undoes writes, promotions, kills, freezes, added servers and settings', async () => {
    const before = await cluster.coordinator.query<Row>(NODES)
    const ports = cluster.servers.map(({ port }) => port)
    await cluster.addStandby(worker.primary, 'late')
    await cluster.coordinator.query('drop table t')
    await worker.primary.configure({ work_mem: '7MB' })
    await worker.primary.kill()
    await standby.promote()
    cluster.workers[1]?.primary.freeze()
    await cluster.restore()
    expect(cluster.servers.map(({ port }) => port)).toEqual(ports)
    expect(await cluster.coordinator.query<Row>(NODES)).toEqual(before)
    expect(await cluster.coordinator.query('select * from t')).toEqual([])
    expect(await worker.primary.query('show work_mem')).toEqual([{ work_mem: '5MB' }])
    expect(await standby.isInRecovery()).toBe(true)
    expect(existsSync(`${cluster.directory}/late`)).toBe(false)
  })
})

describe('nothing is left', () => {
  const small = { workers: [], coordinatorStandbys: [] }

  test('after stop, which may be called twice', async () => {
    const other = await startCluster(small)
    const { pid } = other.coordinator
    other.coordinator.freeze()
    await Promise.all([other.stop(), other.stop()])
    expect(pid === null || isAlive(pid)).toBe(false)
    expect(existsSync(other.directory)).toBe(false)
  })

  test('after a start that failed', async () => {
    let directory = ''
    const onProgress = (step: string) => {
      directory ||= / in (\S+)$/.exec(step)?.[1] ?? ''
    }
    const starting = startCluster({ ...small, settings: { max_connections: 'many' }, onProgress })
    await expect(starting).rejects.toThrow('invalid value for parameter "max_connections"')
    expect(directory).toContain('citus-ha-')
    expect(existsSync(directory)).toBe(false)
  })
})
