import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { walk } from '../../src/walk/walk.ts'
import { giveTimeBack, takeOverTime, use } from './protocol/clock.ts'
import { quietWorld, within } from './protocol/given.ts'
import { Instance } from './protocol/network.ts'
import { requestOf } from './protocol/run.ts'
import { Server } from './protocol/server.ts'
import type { World } from './protocol/world.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('./protocol/clock.ts')
  return { setTimeout: pause }
})

beforeAll(takeOverTime)
afterEach(() => use(null))
afterAll(giveTimeBack)

/** A writable expand coordinator, in whose copy each nodeid is another row's. */
function addExpandCoordinator(world: World): Server {
  const { durable } = world.get('g0a')
  const highest = Math.max(...durable.rows.map(({ nodeid }) => nodeid))
  const rows = durable.rows.map((row) => ({ ...row, nodeid: highest + 1 - row.nodeid }))
  const expand = new Server(world, 'cnx', 0, '4711', { ...durable, rows })
  expand.readsSecondaries = true
  world.servers.set(expand.name, expand)
  return expand
}

const flags = ({ durable }: Server) =>
  durable.rows.map((row) => `${row.group} ${row.role} ${row.metadatasynced}`).sort()

/** A promotion, while another worker is down: a copy that can't take part is flagged for Citus's own sync. */
function failedOver() {
  const world = quietWorld()
  use(world.clock)
  const expand = addExpandCoordinator(world)
  const instance = new Instance(world, 'ha1')
  world.instances.push(instance)
  world.promote(world.get('g1b'), 'dead')
  world.crash(world.get('g2a'), 60_000)
  const walked = (mode: 'apply' | 'dry-run') =>
    within(world, walk(instance, { ...requestOf(world, instance), mode }))
  return { world, expand, walked }
}

describe('an expand coordinator with a copy of its own', () => {
  test('follows a promotion, and keeps its flags: the nodeids of those to be unset are the coordinator’s', async () => {
    const { world, expand, walked } = failedOver()
    const before = flags(expand)
    expect(await walked('apply')).toMatchObject({ epoch: 1 })
    const moved = expand.durable.rows.find((row) => row.group === 1 && row.role === 'primary')
    expect(moved?.address.host).toBe('g1b')
    expect(flags(world.get('g0a'))).toContain('2 primary false')
    expect(flags(expand)).toEqual(before)
  })

  test('is shown so by a dry run', async () => {
    const { sql } = await failedOver().walked('dry-run')
    const flagged = sql.map(({ node, statements }) => {
      const rewrite = statements.find((each) => each.includes('citus_ha.rewrite('))
      return `${node} ${/'(\{\d*\})'::int/.exec(rewrite ?? '')?.[1]}`
    })
    expect(flagged.sort()).toEqual(['cnx:5432 {}', 'g0a:5432 {4}', 'g1b:5432 {4}'])
  })

  test('is not asked for Citus’s recovery: what the coordinator has prepared is none of its own', async () => {
    const { world, walked } = failedOver()
    await walked('apply')
    const asked = world.log.filter((line) => line.includes('recover_citus_transactions'))
    expect(asked.map((line) => /-> (\w+)/.exec(line)?.[1]).sort()).toEqual(['g0a', 'g1b'])
  })
})
