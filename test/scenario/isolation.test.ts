import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { NODE_AILMENTS, type NodeAilment } from '../support/ailing-nodes.ts'
import { restoreFailedOver } from '../support/failed-over.ts'
import { runCell } from '../support/matrix.ts'
import { Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const named = (name: string): NodeAilment => {
  const found = NODE_AILMENTS.find((each) => each.name === name)
  if (!found) throw new Error(`no ailment ${name}`)
  return found
}

describe('a copy that ails is left out, named, and made right later', () => {
  let scenario: Scenario
  let heal: () => unknown = () => undefined
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(() => {
    heal = () => undefined
  })
  afterEach(async () => {
    await heal()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  // What a standby can't have, or only Citus has, is in the whole matrix: test/full/isolation.test.ts.
  it.each(['slots of prepared transactions full', 'pg_dist_node locked by an idle transaction', 'no schema'])(
    '%s on another worker',
    async (name) => {
      const cell = await runCell(scenario, named(name), 'other worker', 'reconcile')
      heal = cell.heal
      const said = cell.ran.stdout + cell.ran.stderr
      expect(cell.wrong, said).toEqual([])
      expect(cell.line, said).toContain(at('worker-2'))
      expect(cell.line, said).toMatch(named(name).says ?? /./)
      // 0 only where it was read, and is right: Citus's own sync may have been there first.
      expect(cell.exitCode, said).toBe(/up to date after/.test(cell.line) ? 0 : 5)
      await cell.heal()
      heal = () => undefined
      if (name === 'no schema') return
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
      expect(await scenario.rows(server('worker-2'))).toEqual(await scenario.rows(server('coordinator')))
    },
  )

  it('says 5, and not 0, for as long as the copy is not right', async () => {
    const cell = await runCell(
      scenario,
      named('a trigger on pg_dist_node raises'),
      'other worker',
      'reconcile',
    )
    heal = cell.heal
    const again = await scenario.run('reconcile')
    expect([cell.exitCode, again.exitCode], cell.ran.stdout + again.stdout).toEqual([5, 5])
    expect(again.stdout).toMatch(new RegExp(`${at('worker-2')} .*P0001`))
  })

  it('is made right by a watcher by itself when it is well again, tried with growing pauses until then', async () => {
    await scenario.restore()
    const watching = await Watching.start(scenario)
    try {
      const heal = await named('a trigger on pg_dist_node raises').inflict({
        scenario,
        server: server('worker-2'),
        options: [],
      })
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      await watching.changed(1)
      expect(watching.changes[0]).toMatchObject({ outcome: 'unproved' })
      const tries = () => watching.of('acted').filter(({ failures }) => failures > 0)
      await waitUntil('it is tried again, and again', () => tries().length >= 3, { limitMs: 30_000 })
      const gaps = tries().map(({ failures }) => failures)
      expect(gaps).toEqual([1, 2, 3].slice(0, gaps.length))
      await heal()
      await waitUntil(
        'its copy is right',
        async () =>
          JSON.stringify(await scenario.rows(server('worker-2'))) ===
          JSON.stringify(await scenario.rows(server('coordinator'))),
        { limitMs: 40_000 },
      )
    } finally {
      await watching.stop()
    }
  })

  it.each(['coordinator', 'worker-1-standby', 'worker-2'])(
    'writes all the same where %s is read-only by default',
    async (name) => {
      await restoreFailedOver(scenario)
      await server(name).configure({ default_transaction_read_only: 'on' })
      const report = await scenario.reconcile()
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      if (name === 'worker-1-standby')
        expect(report.warnings.join('\n')).toMatch(/takes no writes: default_transaction_read_only/)
    },
  )
})
