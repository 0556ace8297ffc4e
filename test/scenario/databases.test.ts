import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

describe('a cluster with two databases', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [],
      extraDatabases: ['se"cond'],
      workers: [{ standbys: [{}] }, {}],
    })
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is examined whole, and one database that fails takes nothing from the other', async () => {
    const ran = await citusHa(['doctor', '--json', ...scenario.options])
    expect(ran).toMatchObject({ exitCode: 0 })
    const { databases } = JSON.parse(ran.stdout)
    expect(databases.map((each: { database: string }) => each.database)).toEqual(['app', 'se"cond'])
    const config = await scenario.configFile({ databases: ['app', 'nosuch'] })
    const partly = await citusHa(['doctor', ...scenario.options, '--config', config])
    expect(partly.stdout).toMatch(/^app {2}coordinator /)
    expect(partly).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/database nosuch/) })
  })

  it('is reconciled, recovered and shown, though one database fails', async () => {
    const config = await scenario.configFile({ databases: ['nosuch', 'app', 'se"cond'] })
    const args = [...scenario.options, '--config', config]
    const reconciled = await citusHa(['reconcile', '--json', ...args])
    expect(reconciled).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/^citus-ha: database nosuch: .*database "nosuch" does not exist\n$/),
    })
    expect(JSON.parse(reconciled.stdout)).toMatchObject({
      exitCode: 2,
      databases: [
        { database: 'app', outcome: 'converged' },
        { database: 'se"cond', outcome: 'converged' },
        { database: 'nosuch', exitCode: 2 },
      ],
    })
    const shown = await citusHa(['status', '--json', ...args])
    expect(shown.exitCode).toBe(2)
    expect(JSON.parse(shown.stdout).databases).toMatchObject([{ database: 'app' }, { database: 'se"cond' }])
    expect(await citusHa(['watch', '--once', ...args])).toMatchObject({ exitCode: 2 })
    expect(await citusHa(['recover', ...args])).toMatchObject({
      exitCode: 2,
      stdout: 'nothing is in doubt\n',
    })
  })

  it('is installed, reconciled and shown whole from one URL', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const ran = await citusHa(['reconcile', '--json', ...scenario.options])
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    const { databases } = JSON.parse(ran.stdout)
    expect(databases).toMatchObject([
      { database: 'app', outcome: 'changed', epoch: 1 },
      { database: 'se"cond', outcome: 'changed', epoch: 1 },
    ])
    const promoted = formatAddress(server('worker-1-standby'))
    for (const name of ['coordinator', 'worker-2', 'worker-1-standby']) {
      for (const database of ['app', 'se"cond']) {
        const rows = await server(name).query(
          `SELECT nodename || ':' || nodeport AS at FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary'`,
          [],
          { database },
        )
        expect(rows, `${name} ${database}`).toEqual([{ at: promoted }])
      }
    }
    const history = await scenario.run('history', '--json')
    expect(JSON.parse(history.stdout).changes).toHaveLength(2)
  })
})
