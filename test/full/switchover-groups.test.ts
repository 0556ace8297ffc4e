import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openTransaction, standin } from '../support/clients.ts'
import { citusHa } from '../support/scenario.ts'
import { restoredBeforeEach, Switching } from '../support/switching.ts'

describe.skipIf(standin)('a switchover of several groups', () => {
  let switching: Switching
  restoredBeforeEach((made) => {
    switching = made
  })

  it('both workers at once: one fence, one change', async () => {
    const running = await switching.clients(['coordinator'])
    const { exitCode, report, stderr } = await switching.switchover('--group', '1,2')
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(report.moves).toHaveLength(2)
    expect(report.reports[0]).toMatchObject({ epoch: 1 })
    await switching.expectAll(running)
    const rows = await switching.scenario.rows(switching.server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${switching.at('worker-1-standby')}`)
    expect(rows).toContain(`3 group 2 primary ${switching.at('worker-2-standby')}`)
  })

  it('promotes what it can: a group whose promotion is refused stays as it was, and is told', async () => {
    const running = await switching.clients(['coordinator'])
    const standby = switching.server('worker-1-standby')
    const promote = `if test $CITUS_HA_GROUP = 2; then echo no quorum; exit 3; fi; touch ${standby.directory}/promote && kill -USR1 ${standby.pid}`
    const { exitCode, report } = await switching.switchover('--group', '1,2', '--promote-command', promote)
    expect(report.why).toMatch(/group 2: .*exit code 3: no quorum/)
    expect(report.moves).toEqual([
      { group: 1, from: switching.at('worker-1'), to: switching.at('worker-1-standby') },
    ])
    expect(exitCode, JSON.stringify(report)).toBe(5)
    await switching.expectAll(running)
    await switching.expectPrimary(2, 'worker-1-standby')
    await switching.expectUntouched('worker-2')
    await expect(switching.server('worker-1').query('CREATE TABLE late ()')).rejects.toThrow('read-only')
    expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await switching.scenario.cluster.rejoin(switching.server('worker-1'), standby)
    expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await switching.switched('--group', '2')
    await switching.expectPrimary(3, 'worker-2-standby', { copies: ['worker-1-standby'] })
  })

  it('loses no pause that is asked for meanwhile: it is there afterwards, or was refused', async () => {
    const { scenario } = switching
    const { database } = scenario.cluster
    const pause = `BEGIN READ WRITE; SELECT citus_ha.pause_changes(NULL, 'a test', 'disks are moved'); COMMIT`
    const asked: Promise<string>[] = []
    const reached = async (step: string) => {
      if (step !== 'promoting') return
      const answer = switching.server('coordinator').query(pause, [], { database })
      asked.push(answer.then(() => 'made', String))
    }
    const ran = await scenario.runWith({ reached }, 'switchover', '--yes', '--json', '--group', '0')
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
    expect(await Promise.all(asked)).toEqual([expect.stringMatching(/terminating|is no coordinator/)])
  })

  it('notes at the new coordinator what was refused beside it: nobody promotes that later', async () => {
    const standby = switching.server('coordinator-standby')
    const promote = `if test $CITUS_HA_GROUP = 1; then exit 3; fi; touch ${standby.directory}/promote && kill -USR1 ${standby.pid}`
    const to = switching.at('coordinator-standby')
    const { exitCode, report } = await switching.switchover('--group', '0,1', '--promote-command', promote)
    expect(exitCode, JSON.stringify(report)).toBe(5)
    expect(report).toMatchObject({ outcome: 'partly', left: [] })
    const rows = await switching.scenario.rows(standby)
    expect(rows).toContain(`1 group 0 primary ${to}`)
    expect(rows).toContain(`2 group 1 primary ${switching.at('worker-1')}`)
    const { database } = switching.scenario.cluster
    expect(await standby.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    await switching.expectWritable('worker-1')
    expect(await switching.server('worker-1-standby').isInRecovery()).toBe(true)
  })
})

describe.skipIf(standin)('a switchover of a cluster with several databases', () => {
  const SECOND = 'se"cond'
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({ extraDatabases: [SECOND] })
    const { coordinator } = switching.scenario.cluster
    await coordinator.query('CREATE TABLE items (id int PRIMARY KEY, note text)', [], { database: SECOND })
    await coordinator.query(`SELECT create_distributed_table('items', 'id')`, [], { database: SECOND })
    const rows = `INSERT INTO items SELECT i, 'before' FROM generate_series(1, 200) i`
    await coordinator.query(rows, [], { database: SECOND })
    await switching.scenario.settle()
  })
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it('keeps what the first was promised while another one is fenced in a second round', async () => {
    const { scenario } = switching
    const old = switching.server('worker-1')
    const lock = 'LOCK pg_dist_node IN ROW EXCLUSIVE MODE'
    let client: pg.Client | null = null
    let intended = 0
    const seen: unknown[] = []
    const reached = async (point: string) => {
      if (point === 'look')
        client = switching.keep(await openTransaction(switching.server('coordinator'), SECOND, lock))
      // Each of the databases in the first round, and what the second round has to do.
      if (point === 'intend' && ++intended === 3) await client?.query('COMMIT')
      if (point !== 'recheck') return
      const [held] = await old.query('SHOW citus.recover_2pc_interval')
      seen.push(held)
      for (const server of [old, switching.server('coordinator')])
        for (const database of [scenario.cluster.database, SECOND])
          seen.push(await server.query('SELECT phase FROM citus_ha.intent', [], { database }))
      throw new Error('that is all')
    }
    const ran = await scenario.runWith({ reached }, 'switchover', '--group', '1', '--yes', '--json')
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(4)
    const noted = [{ phase: 'quiescing' }]
    expect(seen, ran.stdout + ran.stderr).toEqual([
      { 'citus.recover_2pc_interval': '-1' },
      noted,
      noted,
      noted,
      noted,
    ])
    await switching.expectUntouched()
    await switching.expectNoIntent(SECOND)
  })

  it('gives up within --total-limit when another one can’t be fenced', async () => {
    const lock = 'LOCK pg_dist_node IN ROW EXCLUSIVE MODE'
    const reached = async (point: string) => {
      if (point === 'look')
        switching.keep(await openTransaction(switching.server('coordinator'), SECOND, lock))
    }
    const limits = ['--total-limit', '2s', '--timeout', '20s']
    const ran = await switching.scenario.runWith(
      { reached },
      'switchover',
      '--group',
      '1',
      '--yes',
      '--json',
      ...limits,
    )
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(4)
    expect(JSON.parse(ran.stdout).waitedFor).toMatchObject([{ application: 'the-idle-one' }])
    expect(JSON.parse(ran.stdout).pauseMs).toBeLessThan(6000)
    await switching.expectUntouched()
    await switching.expectNoIntent(SECOND)
  })

  it('is one for all of them, and no client of any sees a failure', async () => {
    const both = [await switching.clients(), await switching.clients(['coordinator', 'worker-2'], SECOND)]
    const { report } = await switching.switched(
      '--group',
      '1',
      '--demote-command',
      switching.stopping('worker-1'),
    )
    expect(report).toMatchObject({
      outcome: 'switched',
      databases: ['app', SECOND],
      warnings: [],
      cutOff: [],
    })
    expect(report.reports).toHaveLength(2)
    for (const clients of both) await switching.expectAll(clients)
    for (const database of ['app', SECOND])
      await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'], database })
  })
})

describe.skipIf(standin)('a switchover of one of two databases', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({ coordinatorStandbys: [], extraDatabases: ['second'] })
  })
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  const HIDDEN: readonly {
    what: string
    hide: (port: number) => string | null
    on: readonly string[]
    database: string
  }[] = [
    { what: 'as it is', hide: () => null, on: [], database: 'second' },
    {
      what: 'whose worker has no metadata',
      hide: (port) =>
        `SELECT stop_metadata_sync_to_node(nodename, nodeport) FROM pg_dist_node WHERE nodeport = ${port} AND noderole = 'primary'`,
      on: ['coordinator'],
      database: 'second',
    },
    {
      what: 'that is a template',
      hide: () => 'ALTER DATABASE second IS_TEMPLATE true',
      on: ['coordinator', 'worker-1', 'worker-2'],
      // Of a database without Citus: a worker’s Citus would leave it to the coordinator.
      database: 'postgres',
    },
  ]

  it.each(HIDDEN)('is refused: the other one has Citus too ($what)', async ({ hide, on, database }) => {
    const { scenario } = switching
    const sql = hide(switching.server('worker-1').port)
    for (const name of on) await switching.server(name).query(sql ?? '', [], { database })
    const config = await scenario.configFile({ databases: [scenario.cluster.database] })
    const options = [...scenario.options, '--config', config]
    const ran = await citusHa(['switchover', ...options, '--group', '1', '--dry-run', '--json'])
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(3)
    expect(JSON.parse(ran.stdout).refusals).toContainEqual(
      expect.stringContaining('database second also has Citus but would not be switched'),
    )
  })
})

describe.skipIf(standin)('a switchover of two databases, with nobody at work', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({ coordinatorStandbys: [], extraDatabases: ['second'] })
    await switching.scenario.settle()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it('takes no record of its own for a late write, and waits for no daemon that it has ended', async () => {
    const { report } = await switching.switched('--group', '1')
    expect(report).toMatchObject({ outcome: 'switched', why: null, databases: ['app', 'second'] })
    expect(report.timings.fence).toBeLessThan(900)
  })
})
