import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Scenario } from '../support/scenario.ts'

describe('witnesses that can’t log in anywhere', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{}] }, {}],
      // The role needs a password, and the nodes have none for each other.
      hba: ['host all citus_ha 127.0.0.1/32 scram-sha-256'],
    })
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      await server(name).query(`ALTER ROLE citus_ha PASSWORD 'between-us'`)
    }
    await scenario.settle()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  const url = () => {
    const { host, port } = server('coordinator')
    return `postgres://citus_ha:between-us@${host}:${port}/${scenario.cluster.database}`
  }

  it('are answered by a primary that only we have lost: it lives', async () => {
    const lost = await scenario.configFile({ addresses: { [at('worker-1')]: { connect: '127.0.0.1:1' } } })
    await server('worker-1-standby').promote()
    const report = await scenario.reconcileWith(['--coordinator', url(), '--config', lost])
    expect(report).toMatchObject({
      exitCode: 3,
      changes: [],
      refusals: [{ group: 1, reason: 'primary-alive-elsewhere' }],
    })
    const evidence = report.refusals[0]?.evidence.join('\n')
    expect(evidence).toMatch(/citus_check_connection_to_node\): alive, gets an answer from it.*no password/)
  })

  it('see that nothing listens at a dead primary’s port, which takes no password', async () => {
    await server('worker-1').kill()
    const report = await scenario.reconcileWith(['--coordinator', url()])
    expect(report, JSON.stringify(report.refusals)).toMatchObject({ exitCode: 0, outcome: 'changed' })
  })
})
