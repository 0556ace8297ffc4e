import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { oldKeyOf, standin } from '../support/clients.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

/** Nobody sees them: no server has the setting. */
describe.skipIf(standin)('readers by the options of their connection', () => {
  let scenario: Scenario
  let key: number
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
    key = await oldKeyOf(scenario.cluster, 1)
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** What reads of group 1 find that enter at the coordinator and at its standby, and ask for secondaries. */
  async function reads(): Promise<string[]> {
    await scenario.settle().catch(() => undefined)
    return await Promise.all(['coordinator', 'coordinator-standby'].map(readAt))
  }
  const SERVED = ['before', 'before']

  async function readAt(name: string): Promise<string> {
    const connectionString = server(name).url(scenario.cluster.database)
    const reader = new pg.Client({ connectionString, options: '-c citus.use_secondary_nodes=always' })
    await reader.connect()
    try {
      const { rows } = await reader.query<{ note: string }>('SELECT note FROM items WHERE id = $1', [key])
      return rows.map(({ note }) => note).join()
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    } finally {
      await reader.end()
    }
  }

  const SITUATIONS = {
    'the primary dies and its standby is promoted': async () => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      return async () => {
        await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
        await scenario.streams(server('worker-1'))
      }
    },
    'the last secondary dies': async () => {
      await server('worker-1-standby').kill()
      return async () => {
        await server('worker-1-standby').start()
        await scenario.streams(server('worker-1-standby'))
      }
    },
  }

  it.each(Object.entries(SITUATIONS))('are served after: %s; and once it is back', async (_, happen) => {
    expect(await reads()).toEqual(SERVED)
    const mend = await happen()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await reads()).toEqual(SERVED)
    expect(report.warnings.join()).not.toContain('may fail')
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
    await mend()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await reads()).toEqual(SERVED)
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
  })

  it('are not sent to a name that they don’t reach: the row stays, to be read again once its node is back', async () => {
    const standby = server('worker-1-standby')
    const addresses = { [formatAddress(standby)]: { alias: `nosuch.invalid:${standby.port}` } }
    const { coordinator, database } = scenario.cluster
    const config = ['--config', await scenario.configFile({ addresses })]
    const admin = ['--coordinator', coordinator.url(database, 'postgres')]
    expect(await citusHa(['install', ...config, ...admin])).toMatchObject({ exitCode: 0 })
    await server('worker-1').kill()
    await standby.promote()
    const report = await scenario.reconcile(...config)
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(report.warnings.join()).toMatch(
      /by this name, but not by nosuch\.invalid:\d+: .*could not translate/,
    )
    expect(await scenario.rows(coordinator)).toContain(
      `4 group 1 secondary ${formatAddress(server('worker-1'))}`,
    )
    expect(await scenario.reconcile(...config)).toMatchObject({ outcome: 'converged', changes: [] })
    await scenario.cluster.rejoin(server('worker-1'), standby)
    await scenario.streams(server('worker-1'))
    expect(await reads()).toEqual(SERVED)
  })

  it('are no reason for anything where readers have to be seen', async () => {
    const seen = ['--config', await scenario.configFile({ routing: { readers: 'seen' } })]
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await scenario.reconcile(...seen)).toMatchObject({ outcome: 'changed', exitCode: 0 })
    const refused = expect.stringMatching(/onnection refused/)
    expect(await reads()).toEqual([refused, refused])
    // Told otherwise, it is mended.
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', changes: [{ kind: 'remedy' }] })
    expect(await reads()).toEqual(SERVED)
  })
})
