import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { need } from '../support/capabilities.ts'
import { routesOf } from '../support/routes.ts'
import { lentTo, Scenario } from '../support/scenario.ts'

describe('every coordinator kind, with one standby a group', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Kind of coordinator by group: does a read, does a write work? */
  async function table() {
    const entry = {
      coordinator: 'coordinator',
      standby: 'coordinator-standby',
      expand: 'coordinator-expand',
      worker: 'worker-2',
    }
    const cells = await Promise.all(
      Object.entries(entry).map(
        async ([kind, name]) => [kind, await routesOf(scenario.cluster, server(name), [1, 2])] as const,
      ),
    )
    return Object.fromEntries(cells)
  }

  const allReadSomeWrite = (one: 'works' | 'fails') => ({
    coordinator: { 1: { read: one, write: one }, 2: { read: 'works', write: 'works' } },
    worker: { 1: { read: one, write: one }, 2: { read: 'works', write: 'works' } },
    standby: { 1: { read: one, write: 'fails' }, 2: { read: 'works', write: 'fails' } },
    expand: { 1: { read: 'works', write: 'fails' }, 2: { read: 'works', write: 'fails' } },
  })

  it('makes no cell of the table of reads and writes worse: before, promoted, after, and after the old primary is back', async () => {
    expect(await table()).toEqual(allReadSomeWrite('works'))
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await table()).toEqual(allReadSomeWrite('fails'))

    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(report.changes.map(({ kind }) => kind)).toEqual(['primary-moved', 'remedy'])
    await scenario.settle().catch(() => undefined)
    expect(await table()).toEqual(allReadSomeWrite('works'))
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })

    await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
    await scenario.streams(server('worker-1'))
    const ended = await scenario.reconcile()
    expect(ended.changes).toMatchObject([{ group: 1, nodeid: 4, kind: 'remedy-ended', to: at('worker-1') }])
    expect(await table()).toEqual(allReadSomeWrite('works'))
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
    expect(await scenario.rows(server('worker-2'))).toContain(`4 group 1 secondary ${at('worker-1')}`)
  })

  it('follows back and forth: A to B, and to A again', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await scenario.reconcile()
    await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
    await scenario.streams(server('worker-1'))
    await scenario.reconcile()
    await server('worker-1-standby').kill()
    await server('worker-1').promote()
    const back = await scenario.reconcile()
    expect(back).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await table()).toEqual(allReadSomeWrite('works'))
    expect(await scenario.rows(server('coordinator'))).toContain(`2 group 1 primary ${at('worker-1')}`)
  })
})

describe('rows that are not plain', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const sql = (text: string) => server('coordinator').query(text, [], { database: scenario.cluster.database })

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{ nodecluster: 'readers' }, { registered: false }, {}] }, { standbys: [{}] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('moves a primary to a node registered under another nodecluster; clusters stay with the rows', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    const rows = await sql(
      `SELECT format('%s %s %s %s:%s', groupid, noderole, nodecluster, nodename, nodeport) AS row FROM pg_dist_node WHERE groupid = 1 ORDER BY nodeid`,
    )
    expect(rows.map(({ row }) => row)).toEqual([
      `1 primary default ${at('worker-1-standby')}`,
      `1 secondary readers ${lentTo(server('worker-1-standby'))}`,
      `1 secondary default ${at('worker-1-standby-3')}`,
    ])
  })

  it('keeps rows inactive that were, and takes racks to the machines’ new rows', async () => {
    await sql(
      `UPDATE pg_dist_node SET isactive = false WHERE nodeport = ${server('worker-1-standby-3').port}`,
    )
    await sql(`UPDATE pg_dist_node SET noderack = 'rack-' || nodeport WHERE groupid = 1`)
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const seen = ['--config', await scenario.configFile({ routing: { readers: 'seen' } })]
    expect(await scenario.reconcile(...seen)).toMatchObject({ outcome: 'changed', exitCode: 0 })
    for (const name of ['coordinator', 'worker-2', 'worker-1-standby']) {
      const rows = await server(name).query(
        `SELECT nodeport, noderack, isactive FROM pg_dist_node WHERE groupid = 1 ORDER BY nodeid`,
        [],
        { database: scenario.cluster.database },
      )
      expect(rows, name).toEqual(
        ['worker-1-standby', 'worker-1', 'worker-1-standby-3'].map((each) => ({
          nodeport: server(each).port,
          noderack: `rack-${server(each).port}`,
          isactive: each !== 'worker-1-standby-3',
        })),
      )
    }
  })

  it('leaves clone rows alone', async (context) => {
    await need(context, server('coordinator'), 'clones', scenario.cluster.database)
    const clone = `UPDATE pg_dist_node SET nodeisclone = true, nodeprimarynodeid = 2, shouldhaveshards = false WHERE nodeport = ${server('worker-1-standby-3').port}`
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      await server(name).query(clone, [], { database: scenario.cluster.database })
    }
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
    const rows = await sql(`SELECT nodeport, nodeisclone FROM pg_dist_node WHERE nodeisclone`)
    expect(rows).toEqual([{ nodeport: server('worker-1-standby-3').port, nodeisclone: true }])
  })

  it('moves the primary’s row to an unregistered standby given by --promoted', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby-2').promote()
    const admin = ['--coordinator', server('coordinator').url(scenario.cluster.database)]
    const report = await scenario.reconcileWith([...admin, '--promoted', at('worker-1-standby-2')])
    expect(report).toMatchObject({
      outcome: 'changed',
      exitCode: 0,
      changes: [{ group: 1, nodeid: 2, to: at('worker-1-standby-2') }],
    })
    for (const name of ['coordinator', 'worker-2', 'worker-1-standby-2']) {
      expect(await scenario.rows(server(name)), name).toContain(
        `2 group 1 primary ${at('worker-1-standby-2')}`,
      )
    }
  })

  it('moves it to an unregistered standby named in the file, as the role without rights once a superuser allowed it', async () => {
    const file = await scenario.configFile({ standbys: [{ group: 1, address: at('worker-1-standby-2') }] })
    await server('worker-1').kill()
    await server('worker-1-standby-2').promote()
    const refused = await scenario.run('reconcile', '--config', file)
    expect(refused).toMatchObject({ exitCode: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^citus-ha: .*may not be given the address .*citus-ha install/)
    await scenario.install('--config', file)
    const report = await scenario.reconcile('--config', file)
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await scenario.rows(server('worker-2'))).toContain(`2 group 1 primary ${at('worker-1-standby-2')}`)
  })
})
