import { writeFile } from 'node:fs/promises'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { commit, insert, keysOf, oldKeyOf, openTransaction, standin } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'
import { Traffic } from '../support/traffic.ts'
import { Watching } from '../support/watching.ts'

const ROUNDS = 10
const LONG_MS = 600_000

describe.skipIf(standin)('switchover, at length', () => {
  let scenario: Scenario
  let traffic: Traffic | null = null
  let watching: Watching | null = null
  let open: pg.Client[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const switchover = async (...args: string[]) => {
    const ran = await scenario.run('switchover', '--yes', '--json', ...args)
    const report = ran.stdout === '' ? {} : JSON.parse(ran.stdout)
    return { ...ran, report }
  }
  const stopping = (name: string) => `kill -INT ${server(name).pid}`

  beforeAll(async () => {
    // Else a session keeps its connections to a node for ten minutes, dead ones as well.
    const settings = { 'citus.max_cached_connection_lifetime': '1s' }
    const coordinatorStandbys = [{ kind: 'standby' }, { kind: 'expand' }] as const
    scenario = await Scenario.start({ coordinatorStandbys, settings })
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await traffic?.stop()
    traffic = null
    await watching?.stop()
    watching = null
    await Promise.all(open.map((session) => session.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function clients(entries = ['coordinator', 'worker-2']): Promise<Traffic> {
    const readers = ['coordinator-standby', 'coordinator-expand'].map(server)
    traffic = await Traffic.start(scenario.cluster, entries.map(server), readers, [1, 2])
    return traffic
  }

  async function expectAll(clients: Traffic, coordinator = 'coordinator'): Promise<void> {
    await clients.goesOn()
    await clients.stop()
    expect(clients.failures, clients.failures.join('; ')).toEqual([])
    expect(await clients.missing(server(coordinator))).toEqual([])
    expect(await clients.halves(server(coordinator))).toEqual([])
  }

  /** As if nothing had been. */
  async function expectUntouched(name = 'worker-1'): Promise<void> {
    expect(await scenario.rows(server('coordinator'))).toContain(`2 group 1 primary ${at(name)}`)
    const { coordinator, database } = scenario.cluster
    expect(await coordinator.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    expect(await server(name).query('SHOW default_transaction_read_only')).toEqual([
      { default_transaction_read_only: 'off' },
    ])
    expect(await server(`${name}-standby`).isInRecovery()).toBe(true)
  }

  it(
    'back and forth ten times',
    async () => {
      const running = await clients()
      let [primary, standby] = ['worker-1', 'worker-1-standby']
      const pauses: number[] = []
      for (let n = 0; n < ROUNDS; n++) {
        const { exitCode, report, stderr } = await switchover(
          '--group',
          '1',
          '--demote-command',
          stopping(primary),
        )
        expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
        pauses.push(report.pauseMs)
        await running.goesOn()
        expect(running.failures, `round ${n}: ${running.failures.join('; ')}`).toEqual([])
        await scenario.cluster.rejoin(server(primary), server(standby))
        expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
        ;[primary, standby] = [standby, primary]
      }
      await expectAll(running)
      const { write, read } = running.longestMs
      process.stdout.write(
        `${running.statements} statements; longest write ${write} ms, read ${read} ms; pauses ${pauses.join(', ')}\n`,
      )
    },
    LONG_MS,
  )

  it('by commands, with a watcher beside it that neither helps nor hinders', async () => {
    watching = await Watching.start(scenario)
    const running = await clients()
    const standby = server('worker-1-standby')
    const promote = `touch ${standby.directory}/promote && kill -USR1 ${standby.pid} && test $CITUS_HA_GROUP-$CITUS_HA_NEW_PORT = 1-${standby.port}`
    const { exitCode, report, stderr } = await switchover(
      '--group',
      '1',
      '--promote-command',
      promote,
      '--demote-command',
      stopping('worker-1'),
    )
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(server('worker-1').isRunning).toBe(false)
    await expectAll(running)
    expect(await scenario.rows(server('coordinator'))).toContain(
      `2 group 1 primary ${at('worker-1-standby')}`,
    )
  })

  it('both workers at once: one fence, one change', async () => {
    const running = await clients(['coordinator'])
    const { exitCode, report, stderr } = await switchover('--group', '1,2')
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(report.moves).toHaveLength(2)
    expect(report.reports[0]).toMatchObject({ epoch: 1 })
    await expectAll(running)
    const rows = await scenario.rows(server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
    expect(rows).toContain(`3 group 2 primary ${at('worker-2-standby')}`)
  })

  it('everything on one machine', async () => {
    const { exitCode, report } = await switchover('--node', '127.0.0.1', '--dry-run')
    expect(exitCode, JSON.stringify(report)).toBe(0)
    expect(report.moves.map(({ group }: { group: number }) => group)).toEqual([0, 1, 2])
  })

  it('the coordinator: its standby becomes the coordinator, and workers’ clients see nothing of it', async () => {
    const running = await clients(['worker-2'])
    const { exitCode, report, stderr } = await switchover('--group', '0', '--to', at('coordinator-standby'))
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    const rows = await scenario.rows(server('coordinator-standby'))
    expect(rows).toContain(`1 group 0 primary ${at('coordinator-standby')}`)
    for (const copy of ['worker-1', 'worker-2']) expect(await scenario.rows(server(copy)), copy).toEqual(rows)
    await expect(server('coordinator').query('CREATE TABLE late ()')).rejects.toThrow('read-only')
    const { database } = scenario.cluster
    const id = (await keysOf(scenario.cluster, 1, 400_000, 400_100))[0]
    await server('coordinator-standby').query(`INSERT INTO items VALUES (${id}, 'new')`, [], { database })
    await expectAll(running, 'coordinator-standby')
  })

  it('stops the old primary first where that is asked for', async () => {
    const { exitCode, report, stderr } = await switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      stopping('worker-1'),
    )
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(server('worker-1').isRunning).toBe(false)
    expect(report.rolledBack).toBeGreaterThanOrEqual(0)
    expect(await scenario.rows(server('worker-2'))).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
  })

  it('a promotion that is refused is undone, and nobody has noticed', async () => {
    const running = await clients()
    const { exitCode, report } = await switchover(
      '--group',
      '1',
      '--promote-command',
      'echo no such thing; false',
    )
    expect(exitCode).toBe(4)
    expect(report).toMatchObject({ outcome: 'blocked', left: [] })
    expect(report.why).toContain('exit code 1: no such thing')
    await expectUntouched()
    await expectAll(running)
  })

  it('a stop that fails is undone by --undo-command', async () => {
    const running = await clients()
    const flag = `${scenario.cluster.directory}/undone`
    const { exitCode, report } = await switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      'exit 7',
      '--undo-command',
      `echo $CITUS_HA_OLD_PORT > ${flag}`,
    )
    expect(exitCode).toBe(4)
    expect(report.why).toContain('exit code 7')
    await expectUntouched()
    await expectAll(running)
  })

  it('an old primary that was stopped already is started again by --undo-command', async () => {
    const flag = `${scenario.cluster.directory}/started`
    const ran = switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      stopping('worker-1'),
      '--promote-command',
      'false',
      '--undo-command',
      `until test -e ${flag}; do sleep 0.05; done`,
    )
    await waitUntil('it is stopped', () => !server('worker-1').isRunning)
    await server('worker-1').start()
    await writeFile(flag, '')
    const { exitCode, report } = await ran
    expect(exitCode, JSON.stringify(report)).toBe(4)
    expect(report).toMatchObject({ outcome: 'blocked', left: [] })
    await expectUntouched()
    await scenario.streams(server('worker-1-standby'))
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
  })

  it('says what is left where nobody can start it again, and a later run undoes the rest', async () => {
    const { exitCode, report } = await switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      stopping('worker-1'),
      '--promote-command',
      'false',
    )
    expect(exitCode).toBe(4)
    expect(report.left.join()).toContain('no --undo-command')
    await server('worker-1').start()
    await scenario.streams(server('worker-1-standby'))
    const recovered = await scenario.run('recover')
    expect(recovered.stdout).toContain('is undone')
    await expectUntouched()
  })

  it('is refused to a role that was not granted it', async () => {
    const { database } = scenario.cluster
    await server('worker-1').query('REVOKE EXECUTE ON FUNCTION pg_promote FROM citus_ha', [], { database })
    await server('worker-1').query(
      'REVOKE ALTER SYSTEM ON PARAMETER default_transaction_read_only FROM citus_ha',
    )
    await scenario.settle()
    const { exitCode, report } = await switchover('--group', '1')
    expect(exitCode).toBe(3)
    expect(
      report.refusals.filter((line: string) => line.includes('citus-ha install --switchover')),
    ).toHaveLength(2)
    const granted = await scenario.install('--switchover')
    expect(granted.stdout).toContain('citus_ha may EXECUTE ON FUNCTION pg_catalog.pg_promote')
    await scenario.settle()
    expect(await switchover('--group', '1', '--dry-run')).toMatchObject({ exitCode: 0 })
  })

  it('is undone when the pause would be too long', async () => {
    const running = await clients()
    const { exitCode, report } = await switchover('--group', '1', '--total-limit', '1ms')
    expect(exitCode, JSON.stringify(report)).toBe(4)
    expect(report.why).toMatch(/--total-limit|has not replayed|still open/)
    await expectUntouched()
    await expectAll(running)
  })

  it.each(['coordinator', 'worker-2'])(
    'waits for a transaction that has only read through %s, names it, and ends it by force',
    async (entry) => {
      const { cluster } = scenario
      const id = await oldKeyOf(cluster, 1)
      const sql = `SELECT note FROM items WHERE id = ${id}`
      const reader = await openTransaction(server(entry), cluster.database, sql)
      open.push(reader)
      const blocked = await switchover('--group', '1', '--total-limit', '1s')
      expect(blocked.exitCode, JSON.stringify(blocked.report)).toBe(4)
      expect(
        blocked.report.waitedFor.map(({ client }: { client: { node: string } }) => client?.node),
      ).toContain(at(entry))
      await expectUntouched()
      const forced = await switchover('--group', '1', '--force-after', '300ms')
      expect(forced.exitCode, JSON.stringify(forced.report)).toBe(0)
      expect(forced.report.ended).not.toEqual([])
      const [fresh = 0] = await keysOf(cluster, 1, 400_000, 400_100)
      const acknowledged = await insert(reader, fresh)
        .then(() => commit(reader))
        .then(
          () => 1,
          () => 0,
        )
      const there = 'SELECT count(*)::int AS n FROM items WHERE id = $1'
      expect(await cluster.coordinator.query(there, [fresh], { database: cluster.database })).toEqual([
        { n: acknowledged },
      ])
    },
  )

  it('refuses before it touches anything', async () => {
    const before = await scenario.footprint()
    const told = async (...args: string[]) => (await switchover(...args)).report.refusals.join('\n')
    expect(await told('--group', '1', '--to', at('worker-2-standby'))).toContain('is not of this group')
    expect(await told('--group', '1', '--to', at('worker-1'))).toContain('is its primary already')
    const { database } = scenario.cluster
    const ddl = await openTransaction(
      server('coordinator'),
      database,
      'ALTER TABLE items ADD COLUMN more int',
    )
    open.push(ddl)
    expect(await told('--group', '1')).toContain('changes tables or moves shards')
    await ddl.query('ROLLBACK')
    await server('worker-2-standby').kill()
    await server('worker-2').kill()
    expect(await told('--group', '1')).toContain('--allow-unreachable')
    expect(await scenario.footprint()).toEqual(before)
  })
})
