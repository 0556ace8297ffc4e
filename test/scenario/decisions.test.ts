import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Scenario } from '../support/scenario.ts'

describe('what was decided, and what is somebody else’s', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function failOver(worker: string): Promise<void> {
    await server(worker).kill()
    await server(`${worker}-standby`).promote()
  }

  it('history has nothing, then every change with its evidence and rows, newest first', async () => {
    expect((await scenario.run('history')).stdout).toBe('no change has been committed yet\n')
    await failOver('worker-1')
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, epoch: 1 })
    await failOver('worker-2')
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, epoch: 2 })

    const people = (await scenario.run('history')).stdout.trimEnd().split('\n')
    expect(people).toHaveLength(2)
    expect(people[0]).toMatch(/epoch 1\/2 {2}groups 2 {2}primary-moved/)
    expect(people[1]).toMatch(/epoch 1\/1 {2}groups 1 {2}primary-moved/)

    const { changes } = JSON.parse((await scenario.run('history', '--json')).stdout)
    expect(changes.map(({ epoch }: { epoch: number }) => epoch)).toEqual([2, 1])
    const [, first] = changes
    const primary = (rows: { nodeid: number; address: { host: string; port: number } }[]) =>
      rows.filter(({ nodeid }) => nodeid === 2).map(({ address }) => formatAddress(address))
    expect(primary(first.before)).toEqual([at('worker-1')])
    expect(primary(first.after)).toEqual([at('worker-1-standby')])
    expect(first.gids).toHaveLength(2)
    expect(first.evidence.join('\n')).toContain('group 1: D')
    expect(first.madeBy).toMatch(/^citus-ha \(.+\) as citus_ha from 127\.0\.0\.1$/)
    expect((await scenario.run('history', '--limit', '1')).stdout).toContain('epoch 1/2')
  })

  it('recover and reconcile leave alone what another cluster, another database or another program prepared', async () => {
    const { database } = scenario.cluster
    const gids = [
      `citus_ha_another_${database}_1_1_0badcafe_1`,
      'citus_ha',
      'citus_ha_backup',
      'CITUS_HA_x_app_1_1_0badcafe_1',
      'somebody',
    ]
    for (const gid of gids) {
      const sql = `BEGIN; CREATE TABLE kept_${gids.indexOf(gid)} (); PREPARE TRANSACTION '${gid}'`
      await server('worker-2').query(`SET citus.enable_ddl_propagation = off; ${sql}`, [], { database })
    }
    expect(await scenario.run('recover')).toMatchObject({ exitCode: 0 })
    await failOver('worker-1')
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, outcome: 'changed' })
    const left = await server('worker-2').query<{ gid: string }>('SELECT gid FROM pg_prepared_xacts')
    expect(left.map(({ gid }) => gid).sort()).toEqual([...gids].sort())
  })
})
