import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { keysOf, shareOf, standin, type Write, Writer } from '../support/clients.ts'
import { client, Scenario } from '../support/scenario.ts'
import { SHORT_LIVED } from '../support/switching.ts'
import { EVERY_SECOND } from '../support/two-phase.ts'

const WRITERS = 6
const LOAD_MS = 30_000
const VISIT_MS = 500

/**
 * No hiccup is needed: a transaction over two groups is prepared, and not yet decided, for a moment always. Under load,
 * for half a minute, with somebody connected to the old primary all the while, whose daemon recovers every second.
 */
describe.skipIf(standin)('an old primary that runs on, under load', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    const settings = { ...SHORT_LIVED, ...EVERY_SECOND }
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }], settings, install: 'no' })
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

  it.each([
    { group: 0, old: 'coordinator' },
    { group: 1, old: 'worker-1' },
  ])(
    'loses nothing of what is acknowledged (group $group)',
    async ({ group, old }) => {
      const { cluster } = scenario
      const { database } = cluster
      const primary = server(`${old}-standby`)
      const ran = await scenario.run('switchover', '--yes', '--group', `${group}`)
      expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })

      const [ones, twos] = await Promise.all([1, 2].map((each) => keysOf(cluster, each, 1000, 300_000)))
      const partners = new Map(ones?.map((key, n) => [key, twos?.[n] ?? 0]))
      const both: Write = async (session, id) => {
        // One statement a group, in one transaction: Citus prepares, decides and commits.
        await session.query('BEGIN')
        await session.query(`INSERT INTO items VALUES ($1, 'one')`, [id])
        await session.query(`INSERT INTO items VALUES ($1, 'two')`, [partners.get(id)])
        const { command } = await session.query('COMMIT')
        if (command !== 'COMMIT') throw new Error(`COMMIT answered ${command}`)
      }
      const keys = (ones ?? []).filter((key) => (partners.get(key) ?? 0) > 0)
      const visitor = await client(server(old), database)
      const writers = Array.from(
        { length: WRITERS },
        (_, n) => new Writer(primary, database, shareOf(keys, n, WRITERS), both, 'one'),
      )
      const until = performance.now() + LOAD_MS
      while (performance.now() < until) {
        await visitor.query('SELECT count(*) FROM items WHERE id < 100')
        await pause(VISIT_MS)
      }
      await Promise.all(writers.map((writer) => writer.stop()))
      await visitor.end()
      expect(writers.flatMap(({ failures }) => failures)).toEqual([])

      const acknowledged = writers.flatMap((writer) => writer.acknowledged.map(({ id }) => id))
      const rows = await primary.query<{ id: number }>('SELECT id FROM items', [], { database })
      const there = new Set(rows.map(({ id }) => id))
      const lost = acknowledged.filter((id) => !there.has(id) || !there.has(partners.get(id) ?? 0))
      process.stdout.write(`group ${group}: ${acknowledged.length} acknowledged, ${lost.length} lost\n`)
      expect(lost).toEqual([])
    },
    LOAD_MS + 90_000,
  )
})
