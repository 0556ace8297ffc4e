import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { commit, insert, keysOf, oldKeyOf, openTransaction, standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const ROUNDS = 10
const LONG_MS = 600_000

describe.skipIf(standin)('switchover, at length', () => {
  let switching: Switching
  restoredBeforeEach((made) => {
    switching = made
  })

  it(
    'back and forth ten times',
    async () => {
      const running = await switching.clients()
      let [primary, standby] = ['worker-1', 'worker-1-standby']
      const pauses: number[] = []
      for (let n = 0; n < ROUNDS; n++) {
        const { exitCode, report, stderr } = await switching.switchover(
          '--group',
          '1',
          '--demote-command',
          switching.stopping(primary),
        )
        expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
        pauses.push(report.pauseMs)
        await running.goesOn()
        expect(running.failures, `round ${n}: ${running.failures.join('; ')}`).toEqual([])
        await switching.scenario.cluster.rejoin(switching.server(primary), switching.server(standby))
        expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0 })
        ;[primary, standby] = [standby, primary]
      }
      await switching.expectAll(running)
      const { write, read } = running.longestMs
      process.stdout.write(
        `${running.statements} statements; longest write ${write} ms, read ${read} ms; pauses ${pauses.join(', ')}\n`,
      )
    },
    LONG_MS,
  )

  it('by commands, with a watcher beside it that neither helps nor hinders', async () => {
    await switching.watch()
    const running = await switching.clients()
    const standby = switching.server('worker-1-standby')
    const promote = `touch ${standby.directory}/promote && kill -USR1 ${standby.pid} && test $CITUS_HA_GROUP-$CITUS_HA_NEW_PORT = 1-${standby.port}`
    const { exitCode, report, stderr } = await switching.switchover(
      '--group',
      '1',
      '--promote-command',
      promote,
      '--demote-command',
      switching.stopping('worker-1'),
    )
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(report.warnings).toEqual([])
    expect(switching.server('worker-1').isRunning).toBe(false)
    await switching.expectAll(running)
    expect(await switching.scenario.rows(switching.server('coordinator'))).toContain(
      `2 group 1 primary ${switching.at('worker-1-standby')}`,
    )
  })

  it('the coordinator: its standby becomes the coordinator, and workers’ clients see nothing of it', async () => {
    const running = await switching.clients(['worker-2'])
    const { exitCode, report, stderr } = await switching.switchover(
      '--group',
      '0',
      '--to',
      switching.at('coordinator-standby'),
    )
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    const rows = await switching.scenario.rows(switching.server('coordinator-standby'))
    expect(rows).toContain(`1 group 0 primary ${switching.at('coordinator-standby')}`)
    for (const copy of ['worker-1', 'worker-2'])
      expect(await switching.scenario.rows(switching.server(copy)), copy).toEqual(rows)
    await expect(switching.server('coordinator').query('CREATE TABLE late ()')).rejects.toThrow('read-only')
    const { database } = switching.scenario.cluster
    const id = (await keysOf(switching.scenario.cluster, 1, 400_000, 400_100))[0]
    await switching
      .server('coordinator-standby')
      .query(`INSERT INTO items VALUES (${id}, 'new')`, [], { database })
    await switching.expectAll(running, 'coordinator-standby')
  })

  it('stops the old primary first where that is asked for', async () => {
    const { exitCode, report, stderr } = await switching.switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      switching.stopping('worker-1'),
    )
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(switching.server('worker-1').isRunning).toBe(false)
    expect(report.rolledBack).toBeGreaterThanOrEqual(0)
    expect(await switching.scenario.rows(switching.server('worker-2'))).toContain(
      `2 group 1 primary ${switching.at('worker-1-standby')}`,
    )
  })

  it('is refused to a role that was not granted it', async () => {
    const { database } = switching.scenario.cluster
    await switching
      .server('worker-1')
      .query('REVOKE EXECUTE ON FUNCTION pg_promote FROM citus_ha', [], { database })
    await switching
      .server('worker-1')
      .query('REVOKE ALTER SYSTEM ON PARAMETER default_transaction_read_only FROM citus_ha')
    await switching.scenario.settle()
    const { exitCode, report } = await switching.switchover('--group', '1')
    expect(exitCode).toBe(3)
    expect(
      report.refusals.filter((line: string) => /next: citus-ha install .*--switchover/.test(line)),
    ).toHaveLength(2)
    const granted = await switching.scenario.install('--switchover')
    expect(granted.stdout).toContain('citus_ha may EXECUTE ON FUNCTION pg_catalog.pg_promote')
    await switching.scenario.settle()
    expect(await switching.switchover('--group', '1', '--dry-run')).toMatchObject({ exitCode: 0 })
  })

  it.each(['coordinator', 'worker-2'])(
    'waits for a transaction that has only read through %s, names it, and ends it by force',
    async (entry) => {
      const { cluster } = switching.scenario
      const id = await oldKeyOf(cluster, 1)
      const sql = `SELECT note FROM items WHERE id = ${id}`
      const reader = await openTransaction(switching.server(entry), cluster.database, sql)
      switching.keep(reader)
      const blocked = await switching.switchover('--group', '1', '--total-limit', '1s')
      expect(blocked.exitCode, JSON.stringify(blocked.report)).toBe(4)
      expect(
        blocked.report.waitedFor.map(({ client }: { client: { node: string } }) => client?.node),
      ).toContain(switching.at(entry))
      await switching.expectUntouched()
      const forced = await switching.switchover('--group', '1', '--force-after', '300ms')
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

  it.each(['coordinator', 'worker-2'])(
    'gives way to a transaction through %s that has read, and then writes what it has read',
    async (entry) => {
      const { coordinator, database } = switching.scenario.cluster
      const id = await oldKeyOf(switching.scenario.cluster, 1)
      const sql = `SELECT note FROM items WHERE id = ${id}`
      const session = switching.keep(await openTransaction(switching.server(entry), database, sql))
      const ran = switching.switchover('--group', '1')
      await waitUntil('the fence is taken', async () => {
        const held = `SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
          WHERE l.relation = 'pg_dist_node'::regclass AND l.mode = 'ExclusiveLock' AND l.granted`
        return (await coordinator.query(held, [], { database })).length > 0
      })
      await session.query(`UPDATE items SET note = 'after all' WHERE id = ${id}`)
      await commit(session)
      const { exitCode, report, stderr } = await ran
      expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
      expect(stderr).toContain('wait for the fence to write; trying again')
      expect(await coordinator.query(sql, [], { database })).toEqual([{ note: 'after all' }])
      await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'] })
    },
  )

  it('refuses the write of a transaction that has begun to read in the pause: it would go to the old primary', async () => {
    const { coordinator, database, directory } = switching.scenario.cluster
    const id = await oldKeyOf(switching.scenario.cluster, 1)
    const standby = switching.server('worker-1-standby')
    const promote = `until test -e ${directory}/read; do sleep 0.05; done; touch ${standby.directory}/promote && kill -USR1 ${standby.pid}`
    const ran = switching.switchover('--group', '1', '--promote-command', promote)
    await waitUntil('it is to be promoted', async () => {
      const sql = `SELECT FROM citus_ha.intent WHERE phase = 'promoting'`
      return (await coordinator.query(sql, [], { database })).length > 0
    })
    const sql = `SELECT note FROM items WHERE id = ${id}`
    const session = switching.keep(await openTransaction(coordinator, database, sql))
    const written = session.query(`UPDATE items SET note = 'in vain' WHERE id = ${id}`).then(
      () => 'written',
      (error: Error) => error.message,
    )
    await writeFile(`${directory}/read`, '')
    expect(await ran).toMatchObject({ exitCode: 0 })
    expect(await written).not.toBe('written')
    await session.query('ROLLBACK')
    await session.query(`UPDATE items SET note = 'again' WHERE id = ${id}`)
    expect(await coordinator.query(sql, [], { database })).toEqual([{ note: 'again' }])
  })

  it('refuses before it touches anything', async () => {
    const before = await switching.scenario.footprint()
    const told = async (...args: string[]) => (await switching.switchover(...args)).report.refusals.join('\n')
    expect(await told('--group', '1', '--to', switching.at('worker-2-standby'))).toContain(
      'does not belong to this group',
    )
    expect(await told('--group', '1', '--to', switching.at('worker-1'))).toContain('is already its primary')
    const { database } = switching.scenario.cluster
    const ddl = await openTransaction(
      switching.server('coordinator'),
      database,
      'ALTER TABLE items ADD COLUMN more int',
    )
    switching.keep(ddl)
    expect(await told('--group', '1')).toContain('changes tables or moves shards')
    await ddl.query('ROLLBACK')
    await switching.server('worker-2-standby').kill()
    await switching.server('worker-2').kill()
    expect(await told('--group', '1')).toContain('--allow-unreachable')
    expect(await switching.scenario.footprint()).toEqual(before)
  })
})
