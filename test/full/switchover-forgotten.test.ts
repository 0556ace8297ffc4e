import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { killedAt, sentIsDone } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'

/** What a switchover does to an old primary is known there too: the coordinator that knew may be lost with citus-ha. */
describe.skipIf(standin)('a switchover that died with the coordinator', () => {
  let scenario: Scenario
  const server = (name: string) => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }], install: 'no' })
    await scenario.install('--switchover')
    // One that was set before is to come back.
    await server('worker-1').query(`ALTER SYSTEM SET citus.recover_2pc_interval = '50s'`)
    await server('worker-1').reload()
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is undone by a later run on the coordinator’s standby, which was never told of it', async () => {
    const { database } = scenario.cluster
    await server('coordinator-standby').configure({ primary_conninfo: 'host=127.0.0.1 port=1' })
    await waitUntil('it is cut off', async () => {
      const rows = await server('coordinator').query('SELECT FROM pg_stat_replication')
      return rows.length === 0
    })
    expect(await killedAt('quiesce', ['switchover', ...scenario.options, '--group', '1', '--yes'])).toBe(
      'SIGKILL',
    )
    await sentIsDone(scenario)
    await server('coordinator').kill()
    await server('coordinator-standby').promote()
    expect(
      await server('coordinator-standby').query('SELECT FROM citus_ha.intent', [], { database }),
    ).toEqual([])

    const before = JSON.parse((await scenario.run('status', '--json')).stdout)
    expect(before.groups[1]).toMatchObject({ group: 1, code: 'read-only', rule: 'D048' })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const own = `SELECT current_setting('default_transaction_read_only') AS read_only,
      current_setting('citus.recover_2pc_interval') AS recovery, (SELECT count(*)::int FROM citus_ha.intent) AS intents`
    expect(await server('worker-1').query(own, [], { database })).toEqual([
      { read_only: 'off', recovery: '50s', intents: 0 },
    ])
    const after = JSON.parse((await scenario.run('status', '--json')).stdout)
    expect(after.groups[1]).toMatchObject({ group: 1, code: 'healthy' })
  })
})
