import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { routesOf } from '../support/routes.ts'
import { Scenario } from '../support/scenario.ts'

interface RouteShown {
  readonly kind: string
  readonly nodes: readonly string[]
  readonly stale: boolean
  readonly read: { readonly to: string | null; readonly works: string; readonly why: string | null }
  readonly write: { readonly to: string | null; readonly works: string; readonly why: string | null }
}

/** Every form that a coordinator takes, at once. */
describe('kinds, found and shown by what a node is', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const READERS = ['coordinator-expand', 'worker-3']

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }, { kind: 'expand' }],
      workers: [{ standbys: [{}] }, { standbys: [{}] }, { standbys: [{}] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
    // A metadata worker that reads through secondaries, and a copy of the coordinator's that can be written.
    await server('worker-3').configure({ 'citus.use_secondary_nodes': 'always' })
    await server('worker-3').restart()
    await server('coordinator-expand-2').configure({ 'citus.recover_2pc_interval': '-1' })
    await server('coordinator-expand-2').reload()
    await server('coordinator-expand-2').promote()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function shown(group: number): Promise<{ routes: RouteShown[]; document: { warnings: string[] } }> {
    const ran = await scenario.run('status', '--json')
    const document = JSON.parse(ran.stdout)
    const found = document.groups.find((each: { group: number }) => each.group === group)
    return { routes: found.routes, document }
  }

  const goesTo = (to: string) => ({ to, works: 'yes', why: null })

  it('are told apart, with where each sends a read and a write, before and after a failover', async () => {
    const before = await shown(1)
    const { document } = before
    const byNode = (routes: readonly RouteShown[], name: string) =>
      routes.find(({ nodes }) => nodes.includes(at(name)))
    expect(
      [
        'coordinator',
        'coordinator-standby',
        'coordinator-expand',
        'worker-3',
        'coordinator-expand-2',
        'worker-2',
      ].map((name) => byNode(before.routes, name)?.kind),
    ).toEqual([
      'coordinator',
      'standby coordinator',
      'expand coordinator (physical standby)',
      'expand coordinator (metadata node)',
      'expand coordinator (writable copy of its own)',
      'metadata worker',
    ])
    expect(byNode(before.routes, 'worker-2')).toMatchObject({
      read: goesTo(at('worker-1')),
      write: goesTo(at('worker-1')),
    })
    expect(byNode(before.routes, 'coordinator-standby')).toMatchObject({
      read: goesTo(at('worker-1')),
      write: { to: null, works: 'no', why: 'it is in recovery' },
    })
    for (const name of READERS) {
      expect(byNode(before.routes, name), name).toMatchObject({
        read: goesTo(at('worker-1-standby')),
        write: { to: null, works: 'no', why: 'it reads secondaries only' },
      })
    }
    expect(document.warnings.join()).toMatch(
      new RegExp(`${at('coordinator-expand-2')} is a writable copy of group 0: .*recover_2pc_interval = -1`),
    )

    await server('worker-1').kill()
    const during = await shown(1)
    expect(byNode(during.routes, 'worker-2')).toMatchObject({
      read: { to: at('worker-1'), works: 'no' },
      write: { to: at('worker-1'), works: 'no' },
    })
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    await scenario.settle().catch(() => undefined)
    const after = await shown(1)
    const promoted = at('worker-1-standby')
    expect(byNode(after.routes, 'worker-2')).toMatchObject({
      read: goesTo(promoted),
      write: goesTo(promoted),
    })
    for (const name of [...READERS, 'coordinator-expand-2']) {
      expect(byNode(after.routes, name)?.read.works, name).toBe('yes')
      const tried = await routesOf(scenario.cluster, server(name), [1, 2])
      expect(tried, name).toMatchObject({ 1: { read: 'works' }, 2: { read: 'works' } })
    }
    const wrote = await routesOf(scenario.cluster, server('worker-2'), [1, 2, 3])
    for (const group of [1, 2, 3]) expect(wrote[group]).toEqual({ read: 'works', write: 'works' })
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
  })

  it('are lines of `status`, one for each kind that agrees', async () => {
    const { stdout } = await scenario.run('status', '-o', 'wide')
    const group = stdout.slice(stdout.indexOf('group 1'), stdout.indexOf('group 2'))
    expect(group).toContain(`metadata worker (2)`)
    expect(group).toMatch(
      new RegExp(
        `expand coordinator \\(physical standby\\) ${at('coordinator-expand')} .*reads ${at('worker-1-standby')} .*writes refused: it reads secondaries only`,
      ),
    )
    expect(group).toMatch(
      new RegExp(`coordinator ${at('coordinator')} .*reads ${at('worker-1')} .*writes ${at('worker-1')}`),
    )
  })
})
