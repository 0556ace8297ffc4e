import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { putInHba } from '../support/hba.ts'
import { citusHa } from '../support/scenario.ts'
import { addNotes, KINDS, LATE, PLAIN } from '../support/swap-clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

/** A server is swapped as a whole: every client of the old primary counts, in any database, by whatever name. */
describe.skipIf(standin)('clients of an old primary', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [], before: addNotes },
  )

  it.each(KINDS)(
    '$says: $outcome',
    async ({ begin, outcome, named }) => {
      const { finish, database } = await begin(switching)
      if (outcome === 'refused') {
        const { exitCode, report } = await switching.switchover('--group', '1')
        const late = exitCode === 3 ? [] : await finish()
        expect(await missing(late, database)).toEqual([])
        expect(exitCode, JSON.stringify(report)).toBe(3)
        expect(report.refusals.join('\n')).toMatch(named)
        return await switching.expectUntouched()
      }
      if (outcome === 'waited for') {
        const { exitCode, report } = await switching.switchover('--group', '1', '--total-limit', '1s')
        const late = exitCode === 4 ? [] : await finish()
        expect(await missing(late, database)).toEqual([])
        expect(exitCode, JSON.stringify(report)).toBe(4)
        expect(JSON.stringify(report.waitedFor)).toMatch(named)
        await switching.expectUntouched()
      }
      const { exitCode, report, stderr } = await switching.switchover(
        '--group',
        '1',
        '--force-after',
        '300ms',
      )
      expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
      const late = await finish()
      expect(await missing(late, database)).toEqual([])
      const told = outcome === 'ended' ? report.cutOff : report.ended
      expect(JSON.stringify(told)).toMatch(named)
    },
    LONG_MS,
  )

  // PostgreSQL 16 and later refuse large objects in a read-only transaction by themselves.
  it.each(LATE)(
    '$says, written by $by just before the promotion: $outcome',
    async ({ sql, by, outcome, ...late }) => {
      const old = switching.server('worker-1')
      const database = late.database ?? switching.scenario.cluster.database
      const connected = async () => {
        const session = switching.keep(await old.connect({ database }))
        session.on('error', () => undefined)
        return session
      }
      const idle = by === 'an idle session' ? await connected() : null
      let answer: Promise<string> = Promise.resolve('never sent')
      const reached = async (step: string) => {
        if (step !== 'promoting') return
        const session = idle ?? (await connected())
        answer = session.query(sql).then(
          () => 'made',
          () => 'not made',
        )
        if (outcome === 'told') await answer
      }
      const { options } = switching.scenario
      const ran = await citusHa(['switchover', ...options, '--yes', '--json', '--group', '1'], { reached })
      const report = JSON.parse(ran.stdout)
      expect(await answer).toBe(outcome === 'told' ? 'made' : 'not made')
      expect(ran.exitCode, ran.stdout).toBe(outcome === 'told' ? 5 : 0)
      if (outcome === 'told') expect(report.why).toMatch(/committed on .* had taken over/)
    },
    LONG_MS,
  )

  it('an install with something to do, begun just before the promotion: writes nothing there, and says so', async () => {
    const old = switching.server('worker-1')
    const { database, coordinator } = switching.scenario.cluster
    const standbys = [{ group: 1, address: '127.0.0.1:1' }]
    const file = await switching.scenario.configFile({
      coordinators: [{ url: coordinator.url(database) }],
      standbys,
    })
    let installing: ReturnType<typeof citusHa> | null = null
    const reached = async (step: string) => {
      if (step !== 'promoting') return
      installing = citusHa(['install', '--config', file])
      const waits = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha' AND usename = 'postgres'
        AND wait_event_type = 'Lock' AND query LIKE 'BEGIN %'`
      await Promise.race([
        installing,
        waitUntil('it has begun there', async () => (await old.query(waits)).length > 0),
      ])
    }
    const { options } = switching.scenario
    const ran = await citusHa(['switchover', ...options, '--yes', '--json', '--group', '1'], { reached })
    expect(ran.exitCode, ran.stdout).toBe(0)
    const installed = await installing
    expect(installed).toMatchObject({
      exitCode: 4,
      stderr: expect.stringMatching(/was not installed there: terminating connection/),
    })
  })

  it('autovacuum that comes due in the pause: commits nothing there, and nobody is told of data loss', async () => {
    const old = switching.server('worker-1')
    const { database } = switching.scenario.cluster
    await old.configure({ autovacuum: 'off', autovacuum_naptime: '1s', log_autovacuum_min_duration: '0' })
    for (const other of ['postgres', 'template1', PLAIN]) await old.query('ANALYZE', [], { database: other })
    for (let n = 0; n < 60; n++) await old.query(`CREATE TABLE due_${n} (id int)`, [], { database })
    const reached = async (step: string) => {
      if (step !== 'promoted') return
      const from = readFileSync(old.logFile, 'utf8').length
      await old.configure({ autovacuum: 'on' })
      await waitUntil('autovacuum has come to the catalogs', () =>
        /(skipping|automatic) (vacuum|analyze) of .*pg_depend"/.test(
          readFileSync(old.logFile, 'utf8').slice(from),
        ),
      )
    }
    const ran = await switching.scenario.runWith({ reached }, 'switchover', '--yes', '--json', '--group', '1')
    expect(ran.exitCode, ran.stdout).toBe(0)
  }, 120_000)

  it('a client whose session does not end: the old primary is retired all the same', async () => {
    const old = switching.server('worker-1')
    const { database } = switching.scenario.cluster
    const session = switching.keep(await old.connect({ database }))
    session.on('error', () => undefined)
    const { rows } = await session.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const pid = rows[0]?.pid ?? 0
    process.kill(pid, 'SIGSTOP')
    try {
      const { report } = await switching.switched('--group', '1')
      expect(report.warnings).toContainEqual(
        expect.stringMatching(/not every session could be terminated: .* did not end/),
      )
      const retired = await old.query('SELECT count(*)::int AS n FROM citus_ha.retired', [], { database })
      expect(retired).toEqual([{ n: 1 }])
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }, 120_000)

  it('names what a standby can’t have', async () => {
    const { database } = switching.scenario.cluster
    const sql = 'CREATE UNLOGGED TABLE passing AS SELECT 1 AS id'
    await switching.server('worker-1').query(sql, [], { database })
    const { stdout } = await switching.scenario.run('switchover', '--group', '1', '--dry-run')
    expect(stdout).toContain('unlogged tables are empty on every standby (public.passing)')
  })

  it('says of a database that pg_hba.conf keeps it from that it is not known, and goes on', async () => {
    const undo = await putInHba(switching.server('worker-1'), [`host ${PLAIN} all 127.0.0.1/32 reject`])
    try {
      const { report } = await switching.switched('--group', '1')
      expect(report.warnings).toContainEqual(
        expect.stringMatching(
          /database plain: this role is not let in \(.*pg_hba\.conf.*\), so it is not known whether it is to be switched too/,
        ),
      )
    } finally {
      await undo()
    }
  })

  /** What was acknowledged, and the new primary does not have. */
  async function missing(ids: readonly number[], database: string): Promise<number[]> {
    const name = (await switching.server('worker-1-standby').isInRecovery()) ? 'worker-1' : 'worker-1-standby'
    const rows = await switching.server(name).query<{ id: number }>('SELECT id FROM notes', [], { database })
    const there = rows.map(({ id }) => id)
    return ids.filter((id) => !there.includes(id))
  }
})
