import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

describe.skipIf(standin)('a switchover of several groups', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start()
  })
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
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
