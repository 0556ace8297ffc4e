import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { HELD_SETTINGS } from '../../src/model/retired.ts'
import { insert, keysOf, standin, Writer } from '../support/clients.ts'
import { killedAt, leftPrepared, sentIsDone } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'
import { Traffic } from '../support/traffic.ts'

/** After these nothing has been asked to promote. */
const BEFORE = ['connect', 'look', 'intend', 'fence', 'recheck', 'quiesce', 'clear', 'replay']
/** After these there is no way back. */
const AFTER = [
  'promoting',
  'promoted',
  'locked',
  'prepared:1',
  'all-prepared',
  'decided',
  'committed:1',
  'change',
  'drain',
]

/** After these nothing says yet that it only goes forward. */
const AT_REST = BEFORE.slice(0, -1)
/** Of those, where it makes a difference to the servers. */
const SOME_AFTER = ['promoting', 'promoted', 'decided', 'change']

describe('a switchover cut off in the middle', () => {
  let scenario: Scenario
  let traffic: Traffic | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({ settings: { 'citus.max_cached_connection_lifetime': '1s' } })
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
    if (standin) return
    const entries = ['coordinator', 'worker-2'].map(server)
    traffic = await Traffic.start(scenario.cluster, entries, [])
  })
  afterEach(async () => {
    await traffic?.stop()
    traffic = null
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A later run has put everything right: one primary, equal copies, no row lost, writes go on. */
  async function expectPrimary(name: string): Promise<void> {
    const rows = await scenario.rows(server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${at(name)}`)
    for (const copy of [name, 'worker-2']) expect(await scenario.rows(server(copy)), copy).toEqual(rows)
    expect(await leftPrepared(scenario)).toEqual([])
    const { coordinator, database } = scenario.cluster
    expect(await coordinator.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    expect(await server(name).query('SHOW default_transaction_read_only')).toEqual([
      { default_transaction_read_only: 'off' },
    ])
    // Nothing that a switchover sets or notes on a server outlives it.
    expect(await server(name).query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    const set = `SELECT name FROM pg_settings WHERE sourcefile LIKE '%postgresql.auto.conf'`
    for (const each of [name, 'coordinator']) expect(await server(each).query(set), each).toEqual([])
    await traffic?.goesOn()
    await traffic?.stop()
    expect(await traffic?.missing(server('coordinator'))).toEqual(traffic ? [] : undefined)
    expect(await traffic?.halves(server('coordinator'))).toEqual(traffic ? [] : undefined)
  }

  const command = () => ['switchover', ...scenario.options, '--group', '1', '--yes']

  it.each(BEFORE)('after “%s”: a later run undoes it', async (point) => {
    expect(await killedAt(point, command())).toBe('SIGKILL')
    await sentIsDone(scenario)
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    await expectPrimary('worker-1')
    expect(await server('worker-1-standby').isInRecovery()).toBe(true)
  })

  it.each(BEFORE.slice(2))('after “%s”, of the coordinator’s own: a later run undoes it', async (point) => {
    expect(await killedAt(point, ['switchover', ...scenario.options, '--group', '0', '--yes'])).toBe(
      'SIGKILL',
    )
    await sentIsDone(scenario)
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    await expectPrimary('worker-1')
    expect(await server('coordinator-standby').isInRecovery()).toBe(true)
  })

  const held = HELD_SETTINGS.filter(({ of }) => of === 'every group')
  it.skipIf(standin).each(held)(
    'after ALTER SYSTEM of $name, before the reload: a later run undoes it',
    async ({ name, value }) => {
      expect(await killedAt('intend', command())).toBe('SIGKILL')
      await sentIsDone(scenario)
      await server('worker-1').query(`ALTER SYSTEM SET ${name} = '${value}'`)
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
      await expectPrimary('worker-1')
    },
  )

  it('after “stop” of --demote-first: a later run says what is left, and undoes it once the old primary is started', async () => {
    const primary = server('worker-1')
    const first = ['--demote-first', '--demote-command', `kill -INT ${primary.pid}`]
    expect(await killedAt('stop', [...command(), ...first])).toBe('SIGKILL')
    await waitUntil('it is stopped', () => !primary.isRunning)
    const told = await scenario.run('reconcile')
    expect(told.stdout + told.stderr).toContain('an interrupted switchover could not be undone')
    expect(await server('worker-1-standby').isInRecovery()).toBe(true)
    await primary.start()
    await scenario.streams(server('worker-1-standby'))
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    await expectPrimary('worker-1')
  })

  it.skipIf(standin)('a write that waits at the old primary itself is not acknowledged', async () => {
    const { cluster } = scenario
    const keys = await keysOf(cluster, 1, 500_000, 520_000)
    const direct = new Writer(server('worker-1'), cluster.database, keys, insert, 'one')
    await waitUntil('it writes', () => direct.acknowledged.length > 10)
    expect(await killedAt('promoted', command())).toBe('SIGKILL')
    await sentIsDone(scenario)
    await waitUntil('it is refused', () => direct.failures.some((failure) => failure.includes('read-only')))
    await direct.stop()
    expect(direct.failures[0]).toContain('due to administrator command')
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const { coordinator, database } = cluster
    const rows = await coordinator.query<{ id: number }>('SELECT id FROM items', [], { database })
    const there = new Set(rows.map(({ id }) => id))
    expect(direct.acknowledged.filter(({ id }) => !there.has(id))).toEqual([])
    await expectPrimary('worker-1-standby')
  })

  const victims = ['worker-1', 'worker-1-standby', 'coordinator']
  const deaths = victims.flatMap((victim) =>
    [...BEFORE, ...SOME_AFTER].map((point) => [victim, point] as const),
  )

  it.each(deaths)('%s dies after “%s”: a later run makes it one or the other', async (victim, point) => {
    let died = false
    const reached = async (at: string) => {
      if (at !== point || died) return
      died = true
      await server(victim).kill()
    }
    const ran = await scenario.runWith(
      { reached },
      'switchover',
      '--group',
      '1',
      '--yes',
      '--json',
      '--timeout',
      '3s',
    )
    expect(died).toBe(true)
    const { outcome, why } = JSON.parse(ran.stdout)
    expect(['switched', 'blocked', 'unproved'], ran.stdout + ran.stderr).toContain(outcome)
    // Whoever reads it knows where to look.
    if (outcome !== 'switched') expect(why).toMatch(/127\.0\.0\.1:\d+/)
    await server(victim).start()
    const told: string[] = []
    await waitUntil('it is settled', async () => {
      const later = await scenario.run('reconcile')
      told.push(later.stdout + later.stderr)
      return later.exitCode === 0
    }).catch((error: unknown) => {
      throw new Error(`${ran.stdout}${ran.stderr}\n${told.at(-1)}`, { cause: error })
    })
    const isStandby = await server('worker-1-standby').isInRecovery()
    if (outcome !== 'switched' && AT_REST.includes(point)) expect(isStandby).toBe(true)
    await expectPrimary(isStandby ? 'worker-1' : 'worker-1-standby')
  })

  it.each(AFTER)('after “%s”: a later run carries it on', async (point) => {
    expect(await killedAt(point, command())).toBe('SIGKILL')
    await sentIsDone(scenario)
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await expectPrimary('worker-1-standby')
    const { database } = scenario.cluster
    const own = 'SELECT groupid FROM citus_ha.retired'
    expect(await server('worker-1').query(own, [], { database })).toEqual([{ groupid: 1 }])
  })
})
