import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatGid } from '../../src/model/gid.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

const documentSchema = z.object({
  database: z.string(),
  findings: z.array(
    z.object({
      id: z.string(),
      severity: z.enum(['error', 'warning', 'info']),
      node: z.string().nullable(),
      summary: z.string(),
      evidence: z.array(z.string()),
      mend: z.string().nullable(),
      look: z.string().nullable(),
    }),
  ),
})

type Examined = z.infer<typeof documentSchema> & { readonly exitCode: number; readonly stderr: string }

describe('doctor', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const sql = (name: string, text: string) =>
    server(name).query(text, [], { database: scenario.cluster.database })
  /** On each writable copy by itself: none of Citus's functions, whose daemon comes only a moment after a start. */
  const everywhere = async (text: string) => {
    for (const name of ['coordinator', 'worker-1', 'worker-2']) await sql(name, text)
  }
  const doctorWith = async (...options: string[]): Promise<Examined> => {
    const { exitCode, stdout, stderr } = await citusHa(['doctor', '--json', ...options])
    expect(stdout, stderr).not.toBe('')
    return { ...documentSchema.parse(JSON.parse(stdout)), exitCode, stderr }
  }
  /** Only Citus has pools, a daemon that talks to other nodes and takes its time, and a value of its own for what was set to 0. */
  const isCitus = () => scenario.cluster.backend.kind === 'citus'
  const doctor = () => doctorWith(...scenario.options)
  const found = ({ findings }: Examined): string[] => findings.map(({ id, node }) => `${id} ${node}`).sort()

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, { standbys: [{}] }],
      // What is made wrong here is to stay so.
      settings: { 'citus.metadata_sync_interval': '1h' },
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('finds nothing at all in a healthy cluster, as the role without rights, and changes nothing', async () => {
    const before = await scenario.footprint()
    const examined = await doctor()
    expect(examined).toMatchObject({ exitCode: 0, findings: [], database: 'app' })
    const ran = await scenario.run('doctor')
    expect(ran).toMatchObject({ exitCode: 0 })
    expect(ran.stdout).toMatch(/^app {2}coordinator .*6 servers examined\nno problem found/)
    expect(await scenario.footprint()).toEqual(before)
  })

  it('takes nobody for Patroni or pg_auto_failover who only calls himself so', async () => {
    const { database } = scenario.cluster
    await everywhere(
      `SET citus.enable_ddl_propagation = off; CREATE ROLE pretender LOGIN REPLICATION CONNECTION LIMIT 5`,
    )
    const names = ['Patroni', 'Patroni heartbeat', 'Patroni citus', 'pgautofailover_standby_1']
    const urls = ['coordinator', 'worker-1'].flatMap((name) =>
      names.map((application) => {
        const url = new URL(server(name).url(database, 'pretender'))
        url.searchParams.set('application_name', application)
        // A WAL sender's session, where the name is one of a standby's.
        if (application.startsWith('pgauto')) url.searchParams.set('replication', 'database')
        return url.href
      }),
    )
    const sessions = urls.map((connectionString) => new pg.Client({ connectionString }))
    try {
      await Promise.all(sessions.map((session) => session.connect()))
      expect(found(await doctor()).filter((line) => /^H07[23]/.test(line))).toEqual([])
      const { stdout } = await scenario.run('status')
      expect(stdout).not.toContain('Patroni')
    } finally {
      await Promise.all(sessions.map((session) => session.end()))
      await everywhere(`SET citus.enable_ddl_propagation = off; DROP ROLE pretender`)
    }
  })

  it('finds what was done to the metadata, the role and its rights', async () => {
    const { port } = server('worker-1')
    const pool = `VALUES (3, 'host=127.0.0.1 port=${port}')`
    if (isCitus()) await sql('coordinator', `INSERT INTO pg_dist_poolinfo ${pool}`)
    const { port: standby } = server('worker-1-standby')
    await everywhere(
      `INSERT INTO pg_dist_node (nodeid, groupid, nodename, nodeport, noderole, shouldhaveshards)
       VALUES (9, 1, 'localhost', ${standby}, 'secondary', true)`,
    )
    const unsync = 'UPDATE pg_dist_node SET metadatasynced = false WHERE nodeid = 2'
    if (isCitus()) await sql('coordinator', unsync)
    await sql('worker-2', `UPDATE pg_dist_node SET noderack = 'elsewhere' WHERE nodeid = 3`)
    await sql('worker-1', `ALTER ROLE citus_ha SET default_transaction_read_only = on`)
    await sql('worker-1', 'REVOKE EXECUTE ON FUNCTION citus_ha.lock_shards() FROM citus_ha')
    // A worker of Citus 12.1 refuses what it would have to tell the others.
    const here = 'SET citus.enable_ddl_propagation = off'
    await sql('worker-2', `${here}; REVOKE pg_read_all_stats FROM citus_ha`)
    const always = { 'citus.use_secondary_nodes': 'always', 'citus.cluster_name': 'reports' }
    await server('coordinator-standby').configure(always)
    await scenario.run('pause', '--group', '1')
    await scenario.settle()
    const examined = await doctor()
    expect(examined.exitCode).toBe(3)
    expect(found(examined)).toEqual(
      [
        `H050 null`,
        ...(isCitus() ? [`H070 ${at('worker-1')}`] : []),
        `H071 ${at('worker-2')}`,
        `H081 localhost:${standby}`,
        // In each of the two groups.
        `H082 ${at('coordinator-standby')}`,
        `H082 ${at('coordinator-standby')}`,
        ...(isCitus() ? [`H090 ${at('coordinator')}`] : []),
        `H141 ${at('worker-1')}`,
        `H141 ${at('worker-2')}`,
        `H150 ${at('worker-1')}`,
        `H900 ${at('worker-2')}`,
        `H900 ${at('worker-2-standby')}`,
      ].sort(),
    )
    const drift = examined.findings.find(({ id }) => id === 'H071')
    expect(drift?.evidence).toEqual([
      expect.stringMatching(/^node 3: .*rack elsewhere.* there, .*rack default/),
    ])
    const role = examined.findings.find(({ id }) => id === 'H150')
    expect(role?.mend).toMatch(
      /-U postgres -c "BEGIN READ WRITE; .*ALTER ROLE citus_ha RESET default_transaction_read_only; COMMIT"$/,
    )
  })

  it('finds prepared transactions that were left behind, whose they are, and how old', async () => {
    const [row] = await server('coordinator').query<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    )
    const cluster = `c${BigInt(row?.id ?? 0).toString(36)}`
    const ours = formatGid({
      cluster,
      database: 'app',
      timeline: 1,
      epoch: 7,
      random: 'deadbeef',
      participant: 1,
    })
    const prepare = (name: string, gid: string, work: string) =>
      sql(name, `BEGIN; ${work}; PREPARE TRANSACTION '${gid}'`)
    await prepare('worker-2', ours, 'LOCK TABLE pg_dist_node IN EXCLUSIVE MODE')
    await prepare('worker-1', 'somebody else’s', 'LOCK TABLE pg_dist_node IN SHARE MODE')
    await prepare('worker-1', 'harmless', 'CREATE TABLE kept (a int)')
    const examined = await waitUntil('they are old enough', async () => {
      const now = await doctor()
      return now.findings.length >= 2 && now
    })
    expect(examined).toMatchObject({ exitCode: 3 })
    expect(found(examined)).toEqual([`H100 ${at('worker-2')}`, `H101 ${at('worker-1')}`].sort())
    const [change, other] = examined.findings
    expect(change?.mend).toMatch(/^citus-ha recover --coordinator postgres:\/\/postgres@\S+ {3}# as the role/)
    expect(other?.summary).toMatch(
      /somebody else’s by postgres has been prepared for \d+ s, and holds pg_dist_node$/,
    )
    expect(other?.mend).toMatch(/ROLLBACK PREPARED/)
  })

  it('finds a server that can’t prepare, a commit that would hang and a standby that nobody knows', async () => {
    await server('worker-2').configure({ max_prepared_transactions: isCitus() ? '1' : '0' })
    await server('worker-2').restart()
    await scenario.streams(server('worker-2-standby'))
    if (isCitus())
      await sql('worker-2', `BEGIN; CREATE TABLE kept (a int); PREPARE TRANSACTION 'the only one'`)
    await scenario.cluster.addStandby(server('worker-1'), 'worker-1-unknown', { registered: false })
    await server('worker-1').configure({ synchronous_standby_names: 'nobody' })
    const examined = await doctor()
    expect(found(examined)).toEqual(
      [
        `H080 ${at('worker-1')}`,
        `${isCitus() ? 'H111' : 'H110'} ${at('worker-2')}`,
        `H120 ${at('worker-1')}`,
      ].sort(),
    )
  })

  it('finds a name that only we can resolve, by asking the other nodes', async () => {
    const { port } = server('worker-1-standby')
    await everywhere(`UPDATE pg_dist_node SET nodename = 'w1b.invalid' WHERE nodeid = 4`)
    await scenario.settle()
    const connect = { connect: at('worker-1-standby') }
    const config = await scenario.configFile({ addresses: { [`w1b.invalid:${port}`]: connect } })
    const examined = await doctorWith(...scenario.options, '--config', config)
    expect(found(examined)).toEqual([`H062 w1b.invalid:${port}`])
    const [finding] = examined.findings
    expect(finding?.evidence).toHaveLength(5)
    expect(finding?.evidence[0]).toMatch(/: connection to the remote node .*w1b\.invalid.* failed/)
  })

  it('finds a frozen node in time, says what it waits for, and sees Citus’s daemon wait for it', async () => {
    server('worker-2').freeze()
    try {
      const began = performance.now()
      const first = await doctor()
      expect(performance.now() - began).toBeLessThan(15_000)
      expect(first.exitCode).toBe(3)
      expect(first.stderr).toMatch(/app: still waiting for/)
      expect(found(first)).toContain(`H040 ${at('worker-2')}`)
      if (!isCitus()) return
      await waitUntil('the daemon waits', async () =>
        found(await doctor()).includes(`H130 ${at('coordinator')}`),
      )
    } finally {
      server('worker-2').thaw()
    }
  })

  it('finds a writable copy of group 0 that would resolve the coordinator’s transactions', async ({
    skip,
  }) => {
    if (!isCitus()) skip('the stand-in has no 2PC recovery')
    const copy = server('coordinator-standby')
    await copy.configure({ 'citus.use_secondary_nodes': 'always' })
    await copy.promote()
    expect(found(await doctor())).toEqual([`H020 ${at('coordinator-standby')}`])
    await copy.configure({ 'citus.recover_2pc_interval': '-1' })
    expect(await doctor()).toMatchObject({ exitCode: 0, findings: [] })
  })

  it('finds an old coordinator that was left running beside the promoted one', async () => {
    await server('coordinator-standby').promote()
    const examined = await doctor()
    expect(found(examined)).toEqual([`H020 ${at('coordinator')}`, `H031 ${at('coordinator-standby')}`])
  })

  it('finds a node on which the schema is missing', async () => {
    await sql('worker-2', 'DROP SCHEMA citus_ha CASCADE')
    expect(found(await doctor())).toEqual([`H140 ${at('worker-2')}`])
  })
})
