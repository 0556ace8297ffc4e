import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/program.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { standin } from '../support/clients.ts'
import { citusHa, lentTo, Scenario } from '../support/scenario.ts'

describe('reconcile after a promotion', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** `secondary`: what the row says by which the group was read from its standby. */
  const swapped = (secondary = lentTo(server('worker-1-standby'))) => [
    `1 group 0 primary ${at('coordinator')}`,
    `2 group 1 primary ${at('worker-1-standby')}`,
    `3 group 2 primary ${at('worker-2')}`,
    `4 group 1 secondary ${secondary}`,
    `5 group 2 secondary ${at('worker-2-standby')}`,
  ]

  const otherName = (name: string) => {
    const { host, port } = server(name)
    return formatAddress({ host: `::ffff:${host}`, port })
  }

  /** A configuration that reaches one registered address somewhere else. */
  const reachedAt = (registered: string, connect: string) =>
    scenario.configFile({ addresses: { [registered]: { connect } } })

  async function failOver(worker = 'worker-1'): Promise<void> {
    await server(worker).kill()
    await server(`${worker}-standby`).promote()
  }

  it('does not wait for a coordinator that is dead because another node has no connection left', async () => {
    const full = server('worker-2')
    await full.query('SET citus.enable_ddl_propagation = off; ALTER ROLE citus_ha CONNECTION LIMIT 0')
    await server('coordinator').kill()
    const ran = await scenario.run('reconcile')
    expect(ran).toMatchObject({ exitCode: 4, stdout: '' })
    expect(ran.stderr).toMatch(/^citus-ha: no writable coordinator answers: /)
  })

  it('is told by a worker whose URL it was given where the coordinator is', async () => {
    const worker = server('worker-1')
    const url = worker.url(scenario.cluster.database, 'citus_ha')
    const ran = await citusHa(['status', '--coordinator', url])
    expect(ran).toMatchObject({ exitCode: 4, stdout: '' })
    expect(ran.stderr).toContain(
      `it is a worker; its pg_dist_node names ${at('coordinator')} as the coordinator`,
    )
  })

  it('says to a role that may not read the history who grants it', async () => {
    const { coordinator, database } = scenario.cluster
    await coordinator.query('SET citus.enable_ddl_propagation = off; CREATE ROLE plain LOGIN')
    const ran = await citusHa(['history', '--coordinator', coordinator.url(database, 'plain')])
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    expect(ran.stderr).toContain(
      `${at('coordinator')}: this role may not use the schema citus_ha; a superuser grants it with: citus-ha install --coordinator ${coordinator.url(database, 'plain')} --user postgres --role NAME`,
    )
  })

  it('asks a coordinator again that has no connection left for it, and says so', async () => {
    await failOver()
    const limited = (to: number) =>
      server('coordinator').query(
        `SET citus.enable_ddl_propagation = off; ALTER ROLE citus_ha CONNECTION LIMIT ${to}`,
      )
    await limited(0)
    let freed: Promise<unknown> | undefined
    const told: string[] = []
    const exitCode = await run(['reconcile', ...scenario.options], {
      stdout: { write: () => true },
      stderr: {
        write: (text) => {
          told.push(text)
          freed ??= limited(-1)
        },
      },
      env: { PATH: process.env.PATH },
      signal: new AbortController().signal,
    })
    await freed
    expect(told[0]).toContain(
      `no writable coordinator answers: ${at('coordinator')}: answers, but cannot be read (too-many-connections): too many connections for role "citus_ha"`,
    )
    expect(told[0]).toMatch(/; trying again\n$/)
    expect(exitCode, told.join('')).toBe(0)
    for (const [name, rows] of Object.entries(await scenario.copies())) expect(rows, name).toEqual(swapped())
  })

  it('swaps the addresses on every copy, the promoted node’s own included; a second run writes nothing', async () => {
    await failOver()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({
      outcome: 'changed',
      exitCode: 0,
      epoch: 1,
      refusals: [],
      changes: [
        { group: 1, nodeid: 2, kind: 'primary-moved', from: at('worker-1'), to: at('worker-1-standby') },
        {
          group: 1,
          nodeid: 4,
          kind: 'remedy',
          from: at('worker-1-standby'),
          to: otherName('worker-1-standby'),
        },
      ],
    })
    expect(report.copies.map(({ node, state }) => [node, state]).sort()).toEqual(
      ['coordinator', 'coordinator-standby', 'worker-1-standby', 'worker-2', 'worker-2-standby']
        .map((name) => [at(name), 'right'])
        .sort(),
    )
    for (const [name, rows] of Object.entries(await scenario.copies())) expect(rows, name).toEqual(swapped())

    const before = await scenario.footprint()
    const again = await scenario.reconcile()
    expect(again).toMatchObject({ outcome: 'converged', exitCode: 0, epoch: null, changes: [] })
    expect(await scenario.footprint()).toEqual(before)
  })

  it('keeps metadatasynced of every rewritten row, so that Citus has nothing to sync', async () => {
    await failOver()
    await scenario.reconcile()
    const rows = await server('coordinator').query<{ nodeid: number }>(
      `SELECT nodeid FROM pg_dist_node WHERE hasmetadata AND NOT metadatasynced`,
      [],
      { database: scenario.cluster.database },
    )
    expect(rows).toEqual([])
  })

  it('counts the old primary as a live secondary once it follows the new one', async () => {
    await failOver()
    await scenario.reconcile()
    await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
    await scenario.streams(server('worker-1'))
    await scenario.cluster.waitForReplay(server('worker-1'), server('worker-1-standby'))
    const ended = { nodeid: 4, kind: 'remedy-ended', from: otherName('worker-1-standby'), to: at('worker-1') }
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0, changes: [ended] })
    expect(report.copies.find(({ node }) => node === at('worker-1'))).toMatchObject({ state: 'right' })
    expect(await scenario.rows(server('worker-1'))).toEqual(swapped(at('worker-1')))
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', exitCode: 0, changes: [] })
  })

  it('makes one change of two promotions', async () => {
    await failOver('worker-1')
    await failOver('worker-2')
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0, epoch: 1 })
    expect(report.changes.map(({ group, kind }) => [group, kind])).toEqual([
      [1, 'primary-moved'],
      [2, 'primary-moved'],
      [1, 'remedy'],
      [2, 'remedy'],
    ])
    const copies = Object.values(await scenario.copies())
    for (const rows of copies) expect(rows).toEqual(copies[0])
  })

  it('refuses with the evidence, and writes nothing, when the primary is down and nothing was promoted', async () => {
    await server('worker-1').kill()
    const before = await scenario.footprint()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({
      outcome: 'refused',
      exitCode: 3,
      changes: [],
      refusals: [{ group: 1, reason: 'primary-down' }],
    })
    const evidence = report.refusals[0]?.evidence.join('\n')
    expect(evidence).toContain(`${at('worker-1')}: unreachable (refused)`)
    expect(evidence).toContain(`${at('coordinator')} (citus_check_connection_to_node): down`)
    expect(evidence).toContain(`${at('worker-1-standby')} (wal-receiver): unknown, has no WAL receiver`)
    expect(await scenario.footprint()).toEqual(before)
  })

  it('refuses when old and new both take writes, and --promoted decides it', async () => {
    await server('worker-1-standby').promote()
    const before = await scenario.footprint()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({
      outcome: 'refused',
      exitCode: 3,
      changes: [],
      refusals: [{ group: 1, reason: 'split-brain' }],
    })
    expect(report.refusals[0]?.summary).toContain(`${at('worker-1')} on timeline 1`)
    expect(report.refusals[0]?.summary).toContain(`${at('worker-1-standby')} on timeline 2`)
    expect(await scenario.footprint()).toEqual(before)

    const decided = await scenario.reconcile('--promoted', at('worker-1-standby'))
    expect(decided).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(decided.warnings.join('\n')).toContain(at('worker-1'))
    expect(await scenario.rows(server('coordinator'))).toEqual(swapped())
    expect(await scenario.rows(server('worker-1-standby'))).toEqual(swapped())
  })

  it('refuses a node that belongs to another system, whoever vouches for it', async () => {
    // Worker 2's own standby answers at the address registered for worker 1's: a restored backup, a wrong port.
    const elsewhere = [
      ...scenario.options,
      '--config',
      await reachedAt(at('worker-1-standby'), at('worker-2')),
    ]
    await server('worker-1').kill()
    const before = await scenario.footprint()
    const report = await scenario.reconcileWith(elsewhere)
    expect(report).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'lineage-mismatch' }] })
    const vouched = await scenario.reconcileWith([
      ...elsewhere,
      '--promoted',
      at('worker-1-standby'),
      '--wait',
      '200ms',
    ])
    expect(vouched).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'lineage-mismatch' }] })
    expect(await scenario.footprint()).toEqual(before)
  })

  it('refuses while another metadata node still reaches a primary that only we have lost', async () => {
    await server('worker-1-standby').promote()
    const lostRoute = [...scenario.options, '--config', await reachedAt(at('worker-1'), '127.0.0.1:1')]
    const before = await scenario.footprint()
    const report = await scenario.reconcileWith(lostRoute)
    expect(report).toMatchObject({
      exitCode: 3,
      changes: [],
      refusals: [{ group: 1, reason: 'primary-alive-elsewhere' }],
    })
    expect(report.refusals[0]?.summary).toContain(at('coordinator'))
    expect(await scenario.footprint()).toEqual(before)
  })

  it('repairs a metadata worker’s copy that was changed by hand, and says so', async () => {
    const by = (sql: string) => server('worker-2').query(sql, [], { database: scenario.cluster.database })
    await by(`UPDATE pg_dist_node SET isactive = false WHERE nodeid = 4`)
    await by(`UPDATE pg_dist_node SET nodename = 'nowhere.example' WHERE nodeid = 5`)
    const right = await scenario.rows(server('coordinator'))
    const report = await scenario.reconcile()
    expect(report.exitCode).toBe(0)
    expect(report.changes).not.toEqual([])
    expect(report.changes.every(({ kind }) => kind === 'drift-repaired' || kind === 'resync')).toBe(true)
    expect(await scenario.rows(server('worker-2'))).toEqual(right)
    expect(await scenario.rows(server('coordinator'))).toEqual(right)
  })

  it('repairs a copy that lacks a row, through Citus’s own sync', async () => {
    await server('worker-2').query('DELETE FROM pg_dist_node WHERE nodeid = 4', [], {
      database: scenario.cluster.database,
    })
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ exitCode: 0, changes: [{ kind: 'resync' }] })
    expect(await scenario.rows(server('worker-2'))).toEqual(await scenario.rows(server('coordinator')))
  })

  it('commits on the rest when a metadata worker is unreachable, flags it and names it', async () => {
    await failOver()
    await server('worker-2').kill()
    await server('worker-2-standby').kill()
    const report = await scenario.reconcile('--timeout', '5s')
    expect(report).toMatchObject({ outcome: 'unproved', exitCode: 5, epoch: 1 })
    expect(report.copies.find(({ node }) => node === at('worker-2'))).toMatchObject({ state: 'unreachable' })
    expect(await scenario.rows(server('coordinator'))).toEqual(swapped())
    expect(await scenario.rows(server('worker-1-standby'))).toEqual(swapped())
    const flag = await server('coordinator').query(
      `SELECT metadatasynced FROM pg_dist_node WHERE nodeid = 3`,
      [],
      {
        database: scenario.cluster.database,
      },
    )
    expect(flag).toEqual([{ metadatasynced: false }])
  })

  it('waits for a promotion that was vouched for and is still running', async () => {
    await server('worker-1').kill()
    const reconciled = scenario.reconcile('--promoted', at('worker-1-standby'))
    const promoted = server('worker-1-standby').promote()
    const [report] = await Promise.all([reconciled, promoted])
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await scenario.rows(server('worker-2'))).toEqual(swapped())
  })

  it('refuses a node vouched for that is still in recovery when the wait is over', async () => {
    await server('worker-1').kill()
    const report = await scenario.reconcile('--promoted', at('worker-1-standby'), '--wait', '300ms')
    expect(report).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'promotion-running' }] })
  })

  it('takes a killed backend, a restart and a cut connection for no promotion', async () => {
    const before = await scenario.footprint()
    await server('worker-1').query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'citus_ha'`,
    )
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', exitCode: 0 })
    await server('worker-1').restart()
    await scenario.streams(server('worker-1-standby'))
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', exitCode: 0 })
    const restarting = server('worker-1').restart('immediate')
    const during = await scenario.reconcile()
    await restarting
    expect(during.changes).toEqual([])
    expect(await scenario.footprint()).toEqual(before)
  })

  it('logs a refusal as a JSON line with the rule’s id', async () => {
    await server('worker-1').kill()
    const ran = await scenario.run('reconcile', '--log-level', 'info')
    const lines = ran.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 40, group: 1, rule: 'D071', code: 'primary-down' }),
    )
    expect(lines).toContainEqual(expect.objectContaining({ outcome: 'refused', database: 'app' }))
  })

  it.runIf(standin)('waits for no maintenance daemon where there is none to come', async () => {
    await failOver()
    const ran = await scenario.run('reconcile', '--json')
    expect(JSON.parse(ran.stdout)).toMatchObject({ outcome: 'changed', epoch: 1 })
    expect(JSON.parse(ran.stdout).timings.connect).toBeLessThan(900)
  })

  it('shows in a dry run what it would do, and changes nothing', async () => {
    await failOver()
    const before = await scenario.footprint()
    const report = await scenario.reconcile('--dry-run')
    expect(report).toMatchObject({ outcome: 'planned', exitCode: 0, epoch: null })
    expect(report.changes).toHaveLength(2)
    expect(await scenario.footprint()).toEqual(before)
  })
})
