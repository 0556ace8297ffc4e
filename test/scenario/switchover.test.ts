import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Scenario } from '../support/scenario.ts'

describe('switchover', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('swaps a primary and its standby', async () => {
    const ran = await scenario.run('switchover', '--group', '1', '--yes', '--json')
    console.log(ran.stdout, ran.stderr)
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
  })
})
