import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, standin } from '../support/clients.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { Traffic } from '../support/traffic.ts'

describe('switchover', () => {
  let scenario: Scenario
  let traffic: Traffic | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const switchover = (...args: string[]) => scenario.run('switchover', '--yes', '--json', ...args)

  beforeAll(async () => {
    // A session keeps its connections to a node for ten minutes else, dead ones as well, and would meet them on the way back.
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
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('swaps a primary and its standby, and leaves the old one read-only', async () => {
    const ran = await switchover('--group', '1')
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
    const report = JSON.parse(ran.stdout)
    expect(report).toMatchObject({
      outcome: 'switched',
      exitCode: 0,
      moves: [{ group: 1, from: at('worker-1'), to: at('worker-1-standby') }],
      left: [],
      cutOff: [],
    })
    const rows = await scenario.rows(server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
    for (const copy of ['worker-1-standby', 'worker-2'])
      expect(await scenario.rows(server(copy))).toEqual(rows)
    await expect(server('worker-1').query('CREATE TABLE late ()')).rejects.toThrow('read-only')
    expect(await server('worker-1-standby').query('SHOW default_transaction_read_only')).toEqual([
      { default_transaction_read_only: 'off' },
    ])
    const status = await scenario.run('status', '--json')
    const { groups } = JSON.parse(status.stdout)
    expect(groups.map(({ code }: { code: string }) => code)).toEqual(['healthy', 'secondary-down', 'healthy'])
  })

  it('keeps its fence for the change, however long it takes to write down what is to be done', async () => {
    const reached = async (step: string) => {
      if (step === 'intend') await delay(2500)
    }
    const ran = await citusHa(['switchover', '--yes', '--json', '--group', '1', ...scenario.options], {
      reached,
    })
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
    expect(ran.stderr).not.toContain('trying again')
    expect(JSON.parse(ran.stdout).pauseMs).toBeLessThan(2500)
  })

  it('refuses a coordinator by a name that install was not told of, and touches nothing', async () => {
    const { port } = server('coordinator')
    const byName = (user: string) => {
      const url = `postgres://${user}@127.1:${port}/${scenario.cluster.database}`
      return [
        '--coordinator',
        url,
        '--coordinator',
        server('coordinator-standby').url(scenario.cluster.database, user),
      ]
    }
    const swap = ['switchover', '--yes', '--json', '--group', '0', '--to', at('coordinator-standby')]
    const before = await scenario.footprint()
    const ran = await citusHa([...swap, ...byName('citus_ha')])
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 3 })
    expect(JSON.parse(ran.stdout).refusals.join()).toContain(`127.1:${port}`)
    expect(await scenario.footprint()).toEqual(before)
    expect(await citusHa(['install', ...byName('postgres')])).toMatchObject({ exitCode: 0 })
    await scenario.settle()
    expect(await citusHa([...swap, '--dry-run', ...byName('citus_ha')])).toMatchObject({ exitCode: 0 })
  })

  it('that died and was overtaken lets the old primary take no writes again while it runs', async () => {
    const { coordinator, database } = scenario.cluster
    await server('worker-1').query('ALTER SYSTEM SET default_transaction_read_only = on')
    await server('worker-1').reload()
    await server('worker-1-standby').promote()
    const promoted = ['--promoted', at('worker-1-standby')]
    expect(await scenario.reconcile(...promoted)).toMatchObject({ outcome: 'changed' })
    // To another node than the one that was promoted: the change has not ended it.
    await coordinator.query(
      `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by)
       VALUES (1, $1, $2, 'nobody', 1, 'promoting', false, false, 'a test')`,
      [server('worker-1').host, server('worker-1').port],
      { database },
    )
    const ran = await scenario.run('reconcile')
    expect(ran, ran.stdout).toMatchObject({
      stderr: expect.stringContaining('is cleaned up: another change was made since'),
    })
    expect(await coordinator.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    // Whoever reloads its configuration, for whatever reason, must not bring anything else into effect.
    await server('worker-1').reload()
    await server('worker-1').restart()
    await expect(server('worker-1').query('CREATE TABLE late ()')).rejects.toThrow('read-only')
  })

  it('that was undone is carried on by nobody, though the coordinator was not told: the old primary takes writes', async () => {
    const { coordinator, database } = scenario.cluster
    // As on a coordinator's standby that took over before it had replayed the end of the switchover.
    await coordinator.query(
      `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by)
       VALUES (1, $1, $2, $3, $4, 'promoting', false, false, 'a test')`,
      [server('worker-1'), server('worker-1-standby')].flatMap(({ host, port }) => [host, port]),
      { database },
    )
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    expect(await server('worker-1-standby').isInRecovery()).toBe(true)
    expect(await coordinator.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    await server('worker-1').query('CREATE TABLE still ()', [], { database })
  })

  it('that died and can’t be carried on is told of: nothing is converged while its group takes no writes', async () => {
    const { coordinator, database } = scenario.cluster
    const old = server('worker-1')
    for (const node of [coordinator, old])
      await node.query(
        `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by, run)
         VALUES (1, $1, $2, $3, $4, 'promoting', false, false, 'a test', 'a run')`,
        [old, server('worker-1-standby')].flatMap(({ host, port }) => [host, port]),
        { database },
      )
    await old.query('ALTER SYSTEM SET default_transaction_read_only = on')
    await old.reload()
    // As an older citus-ha has left it there.
    const drop = 'BEGIN READ WRITE; DROP FUNCTION citus_ha.take_over_intent; COMMIT'
    await old.query(drop, [], { database })

    const why = /could not be completed: .*42883.*; run: citus-ha install.* --switchover/
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'blocked', exitCode: 4, changes: [] })
    expect(report.warnings.join('\n')).toMatch(why)
    expect(await scenario.reconcile('--group', '2')).toMatchObject({ outcome: 'converged' })
    expect(await scenario.run('recover')).toMatchObject({ exitCode: 4, stdout: expect.stringMatching(why) })

    await scenario.install('--switchover')
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await scenario.rows(coordinator)).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
  })

  it('that died while its command was to promote is told of beside the failover of another group', async () => {
    const { coordinator, database } = scenario.cluster
    const old = server('worker-1')
    for (const node of [coordinator, old])
      await node.query(
        `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by, run)
         VALUES (1, $1, $2, $3, $4, 'promoting', true, false, 'a test', 'a run')`,
        [old, server('worker-1-standby')].flatMap(({ host, port }) => [host, port]),
        { database },
      )
    await old.query('ALTER SYSTEM SET default_transaction_read_only = on')
    await old.reload()
    await server('worker-2').kill()
    await server('worker-2-standby').promote()

    const why = `its command was to promote ${at('worker-1-standby')}: promote it`
    const report = await scenario.reconcile()
    expect(report, JSON.stringify(report)).toMatchObject({ outcome: 'unproved', exitCode: 5 })
    expect(report.copies.map(({ state }) => state)).not.toContain('stale')
    expect(report.warnings.join('\n')).toContain(why)
    expect(await scenario.rows(coordinator)).toContain(`3 group 2 primary ${at('worker-2-standby')}`)
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'blocked', exitCode: 4 })

    await server('worker-1-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
  })

  it('is refused where somebody keeps another copy locked, and names him; goes on without that copy where it may', async () => {
    const lock = 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'
    const session = await openTransaction(server('worker-2'), scenario.cluster.database, lock)
    const before = await scenario.footprint()
    const refused = await switchover('--group', '1')
    expect(refused, refused.stdout + refused.stderr).toMatchObject({ exitCode: 3 })
    expect(JSON.parse(refused.stdout).refusals).toEqual([
      expect.stringMatching(
        new RegExp(`^${at('worker-2')} failed .*55P03.*the-idle-one.*next: psql .*--allow-unreachable$`),
      ),
    ])
    expect(await scenario.footprint()).toEqual(before)
    const ran = await switchover('--group', '1', '--allow-unreachable')
    await session.end()
    expect(JSON.parse(ran.stdout), ran.stdout + ran.stderr).toMatchObject({
      outcome: 'unproved',
      exitCode: 5,
    })
    expect(await scenario.rows(server('coordinator'))).toContain(
      `2 group 1 primary ${at('worker-1-standby')}`,
    )
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    expect(await scenario.rows(server('worker-2'))).toEqual(await scenario.rows(server('coordinator')))
  })

  it('shows in a dry run what it would do, and touches nothing', async () => {
    const before = await scenario.footprint()
    const ran = await scenario.run('switchover', '--group', '1', '--dry-run')
    expect(ran).toMatchObject({ exitCode: 0 })
    expect(ran.stdout).toContain(`${at('worker-1-standby')} becomes the primary instead of ${at('worker-1')}`)
    expect(await scenario.footprint()).toEqual(before)
  })

  describe.skipIf(standin)('with clients', () => {
    it('fails no statement and loses no row, there and back', async () => {
      const { cluster } = scenario
      traffic = await Traffic.start(
        cluster,
        ['coordinator', 'worker-2'].map(server),
        ['coordinator-standby', 'coordinator-expand'].map(server),
        // Without those that start a program for each row: test/full/switchover-busy has them, and needs the machine for itself.
        { kinds: ['insert', 'prepared', 'copied in', 'across'] },
      )
      let [primary, standby] = ['worker-1', 'worker-1-standby']
      for (let n = 0; n < 2; n++) {
        const demote = `kill -INT ${server(primary).pid}`
        const ran = await switchover('--group', '1', '--demote-command', demote)
        expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
        await traffic.goesOn()
        expect(traffic.failures, `round ${n}: ${traffic.failures.join('; ')}`).toEqual([])
        await cluster.rejoin(server(primary), server(standby))
        expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
        ;[primary, standby] = [standby, primary]
      }
      await traffic.stop()
      expect(traffic.failures).toEqual([])
      expect(await traffic.missing(server('coordinator'))).toEqual([])
      expect(await traffic.halves(server('coordinator'))).toEqual([])
      const { write, read } = traffic.longestMs
      process.stdout.write(`${traffic.statements} statements; longest write ${write} ms, read ${read} ms\n`)
    }, 180_000)
  })
})
