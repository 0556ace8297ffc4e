import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { routesOf } from '../support/routes.ts'
import { citusHa, client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const SPARE = 'worker-1-standby-2'

describe('standbys of the file', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const standbys = (group = 1, name = SPARE) => [{ group, address: at(name), rack: 'north' }]
  const registering = (listed: object[] = standbys()) =>
    scenario.configFile({ register: true, standbys: listed })
  const copies = ['coordinator', 'coordinator-standby', 'coordinator-expand', 'worker-1', 'worker-2']
  const status = async (...args: string[]) => {
    const ran = await scenario.run('status', '--json', ...args)
    return { exitCode: ran.exitCode, ...JSON.parse(ran.stdout) }
  }

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
      workers: [{ standbys: [{}, { registered: false }] }, { standbys: [{}] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** With the addresses of the file allowed, as a superuser does it. */
  async function allowed(listed?: object[]): Promise<string> {
    const file = await registering(listed)
    await scenario.install('--config', file)
    return file
  }

  const spareRow = () => expect.stringMatching(new RegExp(`^\\d+ group 1 secondary ${at(SPARE)}$`))

  async function expectOnAllCopies(rows: readonly unknown[]): Promise<void> {
    for (const copy of copies) {
      await waitUntil(
        `${copy} follows`,
        async () => (await scenario.rows(server(copy))).length === rows.length,
      )
      expect(await scenario.rows(server(copy)), copy).toEqual(rows)
    }
  }

  /** What every kind of coordinator reads and writes works as before. */
  async function expectRoutes(): Promise<void> {
    const write = { coordinator: 'works', 'coordinator-expand': 'fails', 'worker-2': 'works' }
    for (const [name, works] of Object.entries(write)) {
      const cell = { read: 'works', write: works }
      expect(await routesOf(scenario.cluster, server(name), [1, 2]), name).toEqual({ 1: cell, 2: cell })
    }
  }

  it('that stream and are in no file are named by install, and by watch when it starts, until they are listed', async () => {
    const named =
      /1 of 2 standbys attached in group 1 is in no row of pg_dist_node and not in the configuration.*\{ group: 1, address: HOST:PORT \}/
    expect((await scenario.install()).stdout).toMatch(named)
    const watching = await Watching.start(scenario)
    const told = () => watching.events.flatMap((event) => (event.kind === 'progress' ? [event.line] : []))
    try {
      await waitUntil('it is told', () => told().some((line) => named.test(line)))
    } finally {
      await watching.stop()
    }
    const file = await scenario.configFile({ standbys: standbys() })
    expect((await scenario.install('--config', file)).stdout).not.toContain('in no row of pg_dist_node')
  })

  describe('get a row by reconcile', () => {
    it('on every copy; status and --dry-run say so before, and change nothing', async () => {
      const file = await allowed()
      const before = await scenario.rows(server('coordinator'))
      const footprint = await scenario.footprint()
      const pending = await status('--config', file)
      expect(pending).toMatchObject({ exitCode: 0, problems: [], warnings: [] })
      expect(pending.pending).toEqual([
        `group 1: ${at(SPARE)} gets a row as a secondary of cluster default  (registered: streams from ${at('worker-1')})`,
      ])
      const dry = await scenario.run('reconcile', '--config', file, '--dry-run')
      expect(dry).toMatchObject({ exitCode: 0 })
      expect(dry.stdout).toContain('SELECT citus_ha.register_secondary(')
      expect(await scenario.footprint()).toEqual(footprint)

      const report = await scenario.reconcile('--config', file)
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0, epoch: null })
      expect(report.changes).toMatchObject([{ group: 1, kind: 'registered', to: at(SPARE) }])
      expect(report.copies.map(({ state }) => state)).not.toContain('stale')
      await expectOnAllCopies([...before, spareRow()])
      await expectRoutes()
      const [row] = await server('worker-2').query(
        `SELECT noderack, noderole, nodecluster, hasmetadata, isactive FROM pg_dist_node WHERE nodeport = ${server(SPARE).port}`,
        [],
        { database: scenario.cluster.database },
      )
      const expected = { noderack: 'north', noderole: 'secondary', nodecluster: 'default' }
      expect(row).toEqual({ ...expected, hasmetadata: false, isactive: true })
      expect(await status('--config', file)).toMatchObject({ exitCode: 0, pending: [], warnings: [] })
      expect(await scenario.reconcile('--config', file)).toMatchObject({ outcome: 'converged', changes: [] })
      const history = await scenario.run('history', '--json')
      expect(JSON.parse(history.stdout).changes).toMatchObject([
        { reason: `registered ${at(SPARE)}`, groups: [1] },
      ])
    })

    it('and serve: reads of an expand coordinator go to it when the other one is gone', async () => {
      const file = await allowed()
      await scenario.reconcile('--config', file)
      await server('worker-1-standby').kill()
      await scenario.run('forget', at('worker-1-standby'))
      await waitUntil('the expand coordinator follows', async () => {
        return (await scenario.rows(server('coordinator-expand'))).length === 5
      })
      await expectRoutes()
    })

    it('and take part in the next failover', async () => {
      const file = await allowed()
      await scenario.reconcile('--config', file)
      await server('worker-1').kill()
      await server(SPARE).promote()
      const report = await scenario.reconcile('--config', file)
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(await scenario.rows(server('worker-2'))).toContain(`2 group 1 primary ${at(SPARE)}`)
    })

    it('with the next run, where something else is to be done first', async () => {
      const file = await allowed()
      const { database } = scenario.cluster
      const drift = `UPDATE pg_dist_node SET noderack = 'elsewhere' WHERE nodeid = 2`
      await server('worker-2').query(drift, [], { database })
      const first = await scenario.reconcile('--config', file)
      expect(first.changes).toMatchObject([{ kind: 'drift-repaired' }])
      expect(first.warnings).toEqual([
        expect.stringMatching(`^left for the next run: group 1: ${at(SPARE)} gets a row`),
      ])
      const second = await scenario.reconcile('--config', file)
      expect(second).toMatchObject({ outcome: 'changed', changes: [{ kind: 'registered' }] })
    })

    it('not without "register: true"', async () => {
      const file = await scenario.configFile({ standbys: standbys() })
      await scenario.install('--config', file)
      expect(await status('--config', file)).toMatchObject({ pending: [], warnings: [] })
      expect(await scenario.reconcile('--config', file)).toMatchObject({ outcome: 'converged', changes: [] })
    })

    it('not before a superuser allowed the address', async () => {
      const file = await registering()
      const report = await scenario.reconcile('--config', file)
      expect(report).toMatchObject({ outcome: 'converged', exitCode: 0, changes: [] })
      expect(report.warnings.join('\n')).toMatch(
        /is not registered: this role may not give .*citus-ha install --config/,
      )
    })
  })

  it.each<[string, (spare: Server) => Promise<unknown>, object[] | null, RegExp | null]>([
    ['does not stream', (spare) => spare.configure({ primary_conninfo: '' }), null, /it does not stream/],
    ['is down', (spare) => spare.kill(), null, /it does not answer/],
    ['has a row under another name', async () => undefined, [{ group: 1, of: 'worker-1-standby' }], null],
    ['is the primary under another name', async () => undefined, [{ group: 1, of: 'worker-1' }], null],
  ])('get none where it %s', async (_, make, listed, why) => {
    const entries = listed?.map((each) => {
      const { group, of } = each as { group: number; of?: string }
      return { group, address: of ? `localhost:${server(of).port}` : at(SPARE) }
    })
    const file = await allowed(entries)
    await make(server(SPARE))
    if (why?.source.includes('stream'))
      await waitUntil('it no longer streams', async () => {
        const rows = await server(SPARE).query('SELECT FROM pg_stat_wal_receiver')
        return rows.length === 0
      })
    const before = await scenario.footprint()
    const report = await scenario.reconcile('--config', file)
    expect(report.changes).toEqual([])
    expect(await scenario.footprint()).toEqual(before)
    if (why) expect(report.warnings.join('\n')).toMatch(why)
    else expect(report.warnings).toEqual([])
  })

  it('get none by a name that the coordinators do not reach, though we do', async () => {
    const name = 'nowhere.invalid:5432'
    const listed = { register: true, standbys: [{ group: 1, address: name }] }
    const file = await scenario.configFile({ ...listed, addresses: { [name]: { connect: at(SPARE) } } })
    await scenario.install('--config', file)
    const before = await scenario.footprint()
    const report = await scenario.reconcile('--config', file)
    expect(report).toMatchObject({ outcome: 'converged', changes: [] })
    const said = `group 1: ${name} has no row in pg_dist_node and is not registered: ${at('coordinator')} cannot resolve its name (`
    expect(report.warnings).toEqual([expect.stringContaining(said)])
    expect(await scenario.footprint()).toEqual(before)
  })

  it('get none where it is of another group, which is refused for it', async () => {
    const file = await registering(standbys(2))
    const { coordinator, database } = scenario.cluster
    const installed = await citusHa(['install', '--coordinator', coordinator.url(database), '--config', file])
    expect(installed).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('group 2: left out') })
    const before = await scenario.rows(server('coordinator'))
    const report = await scenario.reconcile('--config', file)
    expect(report).toMatchObject({ outcome: 'refused', exitCode: 3, changes: [] })
    expect(report.refusals).toMatchObject([{ group: 2, reason: 'lineage-mismatch' }])
    expect(await scenario.rows(server('coordinator'))).toEqual(before)
  })

  it('get none, and hold nobody up, while a metadata worker hangs', async () => {
    const file = await allowed()
    server('worker-2').freeze()
    try {
      const report = await scenario.reconcile('--config', file, '--timeout', '3s')
      expect(report.changes).toEqual([])
      expect(report.warnings.join('\n')).toContain(`first ${at('worker-2')} has to answer`)
    } finally {
      server('worker-2').thaw()
    }
    expect(await scenario.reconcile('--config', file)).toMatchObject({ outcome: 'changed', exitCode: 0 })
  })

  it('one that hangs just then keeps no failover waiting', async () => {
    const file = await allowed()
    const { coordinator, database } = scenario.cluster
    const primary = { host: server('worker-1').host, port: server('worker-1').port }
    const address = { host: server(SPARE).host, port: server(SPARE).port }
    const order = { group: 1, address, primary, cluster: 'default', madeBy: 'test', evidence: [] }
    server('worker-2').freeze()
    try {
      const register = `SELECT citus_ha.register_secondary('${JSON.stringify(order)}')`
      await coordinator.query(`BEGIN; SELECT citus_ha.take_change_lock(); ${register}; COMMIT`, [], {
        database,
      })
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const report = await scenario.reconcile('--config', file, '--timeout', '8s')
      expect(report.epoch, JSON.stringify(report.warnings)).not.toBeNull()
      expect(await scenario.rows(coordinator)).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
    } finally {
      server('worker-2').thaw()
    }
    await waitUntil('worker 2 follows', async () => {
      const [truth, copy] = [await scenario.rows(coordinator), await scenario.rows(server('worker-2'))]
      return JSON.stringify(copy) === JSON.stringify(truth)
    })
    expect(await scenario.reconcile('--config', file)).toMatchObject({ exitCode: 0 })
  })

  describe('with a watch', () => {
    it('get their row when they begin to stream, and not while their group is paused', async () => {
      await allowed()
      await server(SPARE).stop()
      await scenario.run('pause', '--group', '1')
      const watching = await Watching.start(scenario, { register: true, standbys: standbys() })
      try {
        await server(SPARE).start()
        await waitUntil('it says what it would do', () =>
          watching.of('held').some(({ would }) => would.includes(`registered: ${at(SPARE)}`)),
        )
        expect(await scenario.rows(server('coordinator'))).not.toContainEqual(spareRow())
        await scenario.run('resume', '--group', '1')
        await waitUntil('it is registered', () => watching.of('acted').length > 0)
        const [{ report, failures } = { report: null, failures: -1 }] = watching.of('acted')
        expect(report?.changes).toMatchObject([{ group: 1, kind: 'registered', to: at(SPARE) }])
        expect({ outcome: report?.outcome, failures }).toEqual({ outcome: 'changed', failures: 0 })
        await watching.surveys(2)
        expect(watching.of('acted')).toHaveLength(1)
      } finally {
        await watching.stop()
      }
      const rows = await scenario.rows(server('coordinator'))
      expect(rows).toContainEqual(spareRow())
      await expectOnAllCopies(rows)
      await expectRoutes()
    })

    it('do not keep a group from its failover: no cooldown follows', async () => {
      await allowed()
      const detect = { interval: '300ms', timeout: '600ms', cooldown: '60s', witnessFreshness: '700ms' }
      const watching = await Watching.start(scenario, { register: true, standbys: standbys(), detect })
      try {
        await waitUntil('it is registered', () => watching.of('acted').length > 0)
        await server('worker-1').kill()
        await server('worker-1-standby').promote()
        await watching.changed(1)
      } finally {
        await watching.stop()
      }
    })
  })

  describe('forget', () => {
    it('takes a row away on every copy, once', async () => {
      const file = await allowed()
      const before = await scenario.rows(server('coordinator'))
      await scenario.reconcile('--config', file)
      const footprint = await scenario.footprint()
      const dry = await scenario.run('forget', at(SPARE), '--dry-run')
      expect(dry).toMatchObject({ exitCode: 0, stderr: '' })
      expect(dry.stdout).toMatch(
        /^app: \S+ \(group 1, node \d+\): would be forgotten; nothing was changed\n$/,
      )
      expect(await scenario.footprint()).toEqual(footprint)

      const done = await scenario.run('forget', at(SPARE), '--group', '1', '--json')
      expect(done.exitCode, done.stderr).toBe(0)
      const { databases } = JSON.parse(done.stdout)
      expect(databases).toMatchObject([
        { database: 'app', outcome: 'forgotten', address: at(SPARE), group: 1 },
      ])
      await expectOnAllCopies(before)
      await expectRoutes()
      const again = await scenario.run('forget', at(SPARE))
      expect(again).toMatchObject({ exitCode: 2, stdout: '' })
      expect(again.stderr).toBe(
        `citus-ha: ${at(SPARE)} is not in pg_dist_node (app); the nodes that are: citus-ha status ${scenario.options.join(' ')}\n`,
      )
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
    })

    it.each<[string, string, string[], RegExp]>([
      ['a primary', 'worker-1', [], /is the primary of group 1/],
      ['the coordinator', 'coordinator', [], /is the primary of group 0/],
      ['one of another group', 'worker-1-standby', ['--group', '2'], /belongs to group 1, not 2/],
    ])('refuses %s', async (_, name, args, why) => {
      const footprint = await scenario.footprint()
      const ran = await scenario.run('forget', at(name), ...args)
      expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toMatch(why)
      expect(await scenario.footprint()).toEqual(footprint)
    })

    it('waits for whoever holds the rows, no longer than its deadline, and says so', async () => {
      const holder = await client(server('coordinator'), scenario.cluster.database)
      try {
        await holder.query('BEGIN; LOCK TABLE pg_dist_node IN EXCLUSIVE MODE')
        const brief = await scenario.configFile({ apply: { deadline: '3s' } })
        const ran = await scenario.run('forget', at('worker-1-standby'), '--force', '--config', brief)
        expect(ran).toMatchObject({ exitCode: 4, stdout: '' })
        expect(ran.stderr).toMatch(
          /is not forgotten: .*lock timeout; trying again\n(.*\n)*citus-ha: .*lock timeout\n$/,
        )
        const patient = scenario.run('forget', at('worker-1-standby'), '--force')
        await holder.query('ROLLBACK')
        expect(await patient).toMatchObject({ exitCode: 0 })
      } finally {
        await holder.end()
      }
    })

    it('refuses one that would be registered again', async () => {
      const file = await allowed()
      await scenario.reconcile('--config', file)
      const ran = await scenario.run('forget', at(SPARE), '--config', file)
      expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toMatch(/is under "standbys" .* would be registered again/)
    })

    it('refuses the last one that an expand coordinator reads from, but for --force', async () => {
      const ran = await scenario.run('forget', at('worker-2-standby'))
      expect(ran.exitCode).toBe(3)
      expect(ran.stdout).toContain(`reads of ${at('coordinator-expand')} (cluster default) would fail`)
      expect(await scenario.rows(server('coordinator'))).toHaveLength(5)
      const forced = await scenario.run('forget', at('worker-2-standby'), '--force')
      expect(forced.exitCode, forced.stdout).toBe(0)
      expect(await scenario.rows(server('worker-1'))).toHaveLength(4)
    })

    it('takes away the row that a remedy has lent out, and the remedy', async () => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const report = await scenario.reconcile()
      expect(report.changes.map(({ kind }) => kind)).toContain('remedy')
      const gone = await scenario.run('forget', at('worker-1'), '--force')
      expect(gone.exitCode, gone.stdout).toBe(0)
      expect(await scenario.rows(server('worker-2'))).toHaveLength(4)
      const left = `SELECT FROM citus_ha.remedy UNION ALL
        SELECT FROM citus_ha.former_address WHERE nodeport = ${server('worker-1').port}`
      expect(await server('coordinator').query(left, [], { database: scenario.cluster.database })).toEqual([])
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
    })
  })
})
