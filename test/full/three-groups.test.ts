import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { leftPrepared } from '../support/crash.ts'
import { start } from '../support/program.ts'
import { Scenario } from '../support/scenario.ts'

const GROUPS = [1, 2, 3]

describe('three groups that fail over at once, each with a process of its own', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    const workers = GROUPS.map(() => ({ standbys: [{}] }))
    scenario = await Scenario.start({ workers, coordinatorStandbys: [] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it.each([1, 2, 3])('all end, every copy is right, nothing is left prepared (%i)', async () => {
    await Promise.all(
      GROUPS.map(async (group) => {
        await server(`worker-${group}`).kill()
        await server(`worker-${group}-standby`).promote()
      }),
    )
    // Two for each group: rivals of the same group and of others.
    const programs = [...GROUPS, ...GROUPS].map((group) =>
      start('reconcile', '--json', ...scenario.options, '--group', `${group}`, '--timeout', '30s'),
    )
    const ends = await Promise.all(programs.map((program) => program.ended()))
    const told = programs.map((program) => program.stderr()).join('---\n')
    expect(
      ends.map(({ code }) => code),
      told,
    ).toEqual(programs.map(() => 0))
    expect(told).not.toMatch(/deadlock/i)
    expect(await leftPrepared(scenario)).toEqual([])

    const { coordinator, database } = scenario.cluster
    const sql = 'SELECT epoch::int, groups FROM citus_ha.change ORDER BY epoch'
    const made = await coordinator.query<{ epoch: number; groups: number[] }>(sql, [], { database })
    expect(made.map(({ epoch }) => epoch)).toEqual([1, 2, 3])
    expect(made.flatMap(({ groups }) => groups).sort()).toEqual(GROUPS)
    const truth = await scenario.rows(coordinator)
    for (const group of GROUPS) {
      const standby = server(`worker-${group}-standby`)
      expect(truth.find((row) => row.includes(`group ${group} primary`))).toContain(formatAddress(standby))
      expect(await scenario.rows(standby), standby.name).toEqual(truth)
    }
  })
})
