import { rename, rm } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { copyCold } from '../../src/demo/data-directory.ts'
import type { Server } from '../../src/demo/server.ts'
import { removeSharedMemory } from '../../src/demo/shared-memory.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { restoreAt, startAlone, takeBackup } from '../support/restored.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

describe('a backup from before, or a standby that has less, takes writes', () => {
  let scenario: Scenario
  let coordinatorBackup: Server
  let workerBackup: Server
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({ workers: [{ standbys: [{}, {}] }, { standbys: [{}] }] })
    const { cluster } = scenario
    coordinatorBackup = await takeBackup(cluster, server('coordinator'), 'coordinator-backup')
    workerBackup = await takeBackup(cluster, server('worker-1'), 'worker-1-backup')
    await cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  const database = () => scenario.cluster.database
  const count = async (through: Server): Promise<number> => {
    const [row] = await through.query<{ n: number }>('SELECT count(*)::int AS n FROM items', [], {
      database: database(),
    })
    return row?.n ?? 0
  }
  /** 500 rows, all of them acknowledged. */
  const write = async (through: Server): Promise<void> => {
    const sql = `INSERT INTO items SELECT 1000 + i, 'after the backup' FROM generate_series(1, 500) i`
    await through.query(sql, [], { database: database() })
  }
  /** Worker 1 is dead, and its second standby, which had missed the 500 rows, is promoted. */
  const promoteBackup = async (): Promise<void> => {
    await write(server('coordinator'))
    await scenario.cluster.waitForReplay(server('worker-1-standby'), server('worker-1'))
    await server('worker-1').kill()
    await restoreAt(server('worker-1-standby-2'), workerBackup)
  }

  it('is refused with both figures while a living standby has more; a person’s word takes it, loudly', async () => {
    await promoteBackup()
    const before = await scenario.footprint()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'refused', exitCode: 3, changes: [] })
    expect(report.refusals).toMatchObject([{ group: 1, reason: 'less-than-known' }])
    expect(report.refusals[0]?.summary).toMatch(
      new RegExp(
        `${at('worker-1-standby-2')} lacks WAL .* it has timeline 1 up to 0/\\w+; ${at('worker-1-standby')}, which is running, has it up to 0/\\w+: \\d+ kB of WAL are missing`,
      ),
    )
    expect(report.refusals[0]?.evidence.join('\n')).toContain(
      `citus-ha reconcile --promoted ${at('worker-1-standby-2')}`,
    )
    expect(await scenario.footprint()).toEqual(before)

    const tool = await citusHa(['event', 'promoted', ...scenario.options, at('worker-1-standby-2')])
    expect(tool, tool.stderr).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('D024') })
    expect(await scenario.footprint()).toEqual(before)

    const person = await scenario.reconcile('--promoted', at('worker-1-standby-2'))
    expect(person).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(person.warnings.join('\n')).toMatch(/data loss: .*which is running, has it up to/)
    expect(await count(server('coordinator'))).toBeLessThan(700)
    // It was decided: what the other one has more is no more of the line.
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
  })

  it('is promoted rightly: the standby that has everything, with the stale one alive', async () => {
    await write(server('coordinator'))
    const { cluster } = scenario
    for (const name of ['worker-1-standby', 'worker-1-standby-2'])
      await cluster.waitForReplay(server(name), server('worker-1'))
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0, refusals: [] })
    expect(report.warnings.filter((line) => line.includes('data'))).toEqual([])
    expect(await count(server('coordinator'))).toBe(700)
  })

  it('does not lead in the place of a coordinator under which others took part in changes', async () => {
    await server('coordinator').kill()
    await server('coordinator-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await write(server('coordinator-standby'))
    const rows = await scenario.rows(server('worker-2'))
    await restoreAt(server('coordinator'), coordinatorBackup, server('coordinator-standby'))

    const beside = await scenario.reconcile()
    expect(beside.changes).toEqual([])
    expect(beside.warnings.join('\n')).toContain(`${at('coordinator')} takes writes as well`)
    for (const name of ['worker-1', 'worker-2', 'coordinator-standby'])
      expect(await scenario.rows(server(name)), name).toEqual(rows)

    // The same where it alone answers.
    await server('coordinator-standby').stop()
    const alone = await scenario.reconcile()
    expect(alone).toMatchObject({ outcome: 'refused', exitCode: 3, changes: [] })
    expect(alone.refusals).toMatchObject([{ group: 0, reason: 'lineage-mismatch' }])
    for (const name of ['worker-1', 'worker-2']) expect(await scenario.rows(server(name)), name).toEqual(rows)
  })

  it('is a coordinator that was written down while nobody else answered: believed no longer than that', async () => {
    await write(server('coordinator'))
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const { servers } = scenario.cluster
    const others = servers.filter(({ name }) => name.startsWith('worker') && name !== workerBackup.name)
    await server('coordinator-standby').kill()
    await Promise.all(others.map((one) => one.kill()))
    await restoreAt(server('coordinator'), coordinatorBackup)
    const alone = await scenario.reconcile()
    expect(alone.refusals.map(({ group }) => group)).toEqual([1, 2])
    const own = 'SELECT timeline FROM citus_ha.lineage WHERE groupid = 0'
    expect(await server('coordinator').query(own, [], { database: database() })).toEqual([{ timeline: 2 }])

    await Promise.all(others.map((one) => one.start()))
    const before = await scenario.rows(server('worker-2'))
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ exitCode: 3, changes: [] })
    expect(report.refusals).toMatchObject([{ group: 0, reason: 'less-than-known' }])
    expect(report.refusals[0]?.summary).toMatch(/worker-|on record at/)
    expect(await scenario.rows(server('worker-2'))).toEqual(before)
    // A person's word is a decision: it is said once.
    expect(await scenario.reconcile('--promoted', at('coordinator'))).toMatchObject({ exitCode: 0 })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, refusals: [] })
  })

  it('is refused by what is on record of it, where nobody who lives has more', async () => {
    await write(server('coordinator'))
    const { cluster } = scenario
    for (const name of ['worker-1-standby', 'worker-1-standby-2'])
      await cluster.waitForReplay(server(name), server('worker-1'))
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
    await server('worker-1').kill()
    await server('worker-1-standby').kill()
    await restoreAt(server('worker-1-standby-2'), workerBackup)
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'less-than-known' }] })
    expect(report.refusals[0]?.summary).toContain(
      `${at('worker-1-standby-2')} had (on record at ${at('coordinator')}) it up to`,
    )
  })

  it('is refused at the registered address too; once vouched for it is believed, and that is on record', async () => {
    await write(server('coordinator'))
    await scenario.reconcile()
    await restoreAt(server('worker-1'), workerBackup)
    expect(await scenario.reconcile()).toMatchObject({
      exitCode: 3,
      refusals: [{ group: 1, reason: 'less-than-known' }],
    })
    const word = await scenario.reconcile('--promoted', at('worker-1'))
    expect(word).toMatchObject({ exitCode: 0, refusals: [] })
    expect(word.warnings.join('\n')).toMatch(/data loss: /)
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', exitCode: 0, refusals: [] })
  })

  it('is a coordinator on a lower timeline than changes were made under: once vouched for, it makes the next ones', async () => {
    const { cluster } = scenario
    let [old, next] = [server('coordinator'), server('coordinator-standby')]
    for (let n = 0; n < 2; n++) {
      await old.kill()
      await next.promote()
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
      if (n === 0) await cluster.rejoin(old, next)
      ;[old, next] = [next, old]
    }
    await restoreAt(server('coordinator'), coordinatorBackup)
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 3, refusals: [{ group: 0 }] })
    const word = await scenario.reconcile('--promoted', at('coordinator'))
    expect(word).toMatchObject({ exitCode: 0, refusals: [] })
    await cluster.waitForReplay(server('worker-1-standby'), server('worker-1'))
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0, refusals: [] })
  })

  it('is refused after a second failover soon after the first, when a standby’s control file knows its timeline late', async () => {
    const { cluster } = scenario
    const [first, second, third] = [
      server('worker-1'),
      server('worker-1-standby'),
      server('worker-1-standby-2'),
    ]
    await first.kill()
    await second.promote()
    const primary = `host=${second.host} port=${second.port} user=postgres`
    await third.configure({ primary_conninfo: primary })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await cluster.rejoin(first, second)
    await cluster.waitForReplay(third, second)
    await first.stop()
    await write(server('coordinator'))
    await cluster.waitForReplay(third, second)
    await second.kill()
    await startAlone(first)
    await first.promote()
    await waitUntil('it streams no more', async () => {
      return (await third.query('SELECT FROM pg_stat_wal_receiver')).length === 0
    })
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'less-than-known' }] })
    expect(report.refusals[0]?.summary).toContain(
      `${at('worker-1-standby-2')}, which is running, has it up to`,
    )
    expect(await scenario.reconcile('--promoted', at('worker-1'))).toMatchObject({ exitCode: 0 })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0, refusals: [] })
  })

  // Stopped, a receiver is as one whose connection is dead, and that has not noticed: it is there, and says that it streams.
  it.each([
    ['its standbys stream all the same', false],
    ['its standby has a receiver with a dead connection', true],
  ])('is refused as a snapshot of the registered primary’s disk, from which %s', async (_, isDead) => {
    const { cluster } = scenario
    const primary = server('worker-1')
    await primary.stop()
    const disk = `${primary.directory}.disk`
    await copyCold(primary.directory, disk)
    await primary.start()
    for (const name of ['worker-1-standby', 'worker-1-standby-2']) await scenario.streams(server(name))
    await write(server('coordinator'))
    await cluster.waitForReplay(server('worker-1-standby'), primary)
    const [receiver] = await server('worker-1-standby').query<{ pid: number }>(
      'SELECT pid FROM pg_stat_wal_receiver',
    )
    if (!receiver) throw new Error('the standby has no receiver')
    if (isDead) process.kill(receiver.pid, 'SIGSTOP')
    await primary.kill()
    removeSharedMemory(primary.directory)
    await rm(primary.directory, { recursive: true })
    await rename(disk, primary.directory)
    await primary.start()
    if (isDead) await server('worker-1-standby-2').kill()
    else await scenario.streams(server('worker-1-standby'))
    const report = await scenario.reconcile().finally(() => {
      if (isDead) process.kill(receiver.pid, 'SIGCONT')
    })
    expect(report).toMatchObject({ exitCode: 3, refusals: [{ group: 1, reason: 'less-than-known' }] })
    const word = await scenario.reconcile('--promoted', at('worker-1'))
    // What is ahead of its primary can't follow it.
    expect(word).toMatchObject({ exitCode: isDead ? 5 : 0, refusals: [] })
    expect(word.warnings.join('\n')).toMatch(/data loss: /)
  })

  it('leaves who led a change on every worker that took part in it', async () => {
    await server('coordinator').kill()
    await server('coordinator-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const lines = async (name: string) => {
      const sql = 'SELECT timeline, history FROM citus_ha.lineage WHERE groupid = 0'
      return await server(name).query<{ timeline: number; history: string }>(sql, [], {
        database: database(),
      })
    }
    const [led] = await lines('coordinator-standby')
    expect(led).toMatchObject({ timeline: 2, history: expect.stringMatching(/^1\t0\//) })
    for (const name of ['worker-1', 'worker-2']) expect(await lines(name), name).toEqual([led])
    // A late or misled one can't write another line over it, whatever its number.
    const other = `SELECT citus_ha.record_lineage(jsonb_build_array(jsonb_build_object('group', 0,
      'systemIdentifier', system_identifier, 'timeline', 9, 'history', E'1\\t0/1'))) FROM citus_ha.lineage WHERE groupid = 0`
    await server('worker-1').query(other, [], { database: database() })
    expect(await lines('worker-1')).toEqual([led])
  })
})
