import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { addNotes, PLAIN } from '../support/swap-clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

/** Ends the sessions of citus-ha there that are in no transaction: those that ask, and those that write down. */
const IDLE = `SELECT pg_terminate_backend(pid) AS was FROM pg_stat_activity
  WHERE application_name = 'citus-ha' AND state = 'idle' AND pid <> pg_backend_pid()`
/** The one that holds the shards of an old primary. */
const GUARD = `SELECT pg_terminate_backend(l.pid) AS was FROM pg_locks l
  WHERE l.relation = 'citus_ha.retired'::regclass AND l.mode = 'ExclusiveLock' AND l.granted`

interface Case {
  readonly says: string
  readonly at: string
  /** What happens there; once. */
  readonly lost: (switching: Switching) => Promise<void>
  /** A row that a client writes on the old primary just before, and that is acknowledged. */
  readonly lateRow?: boolean
  readonly exitCode: number
  readonly outcome: string
  /** What the old primary is afterwards. */
  readonly old: 'retired' | 'as it was'
}

async function ended(switching: Switching, name: string, sql: string): Promise<void> {
  const { database } = switching.scenario.cluster
  const gone = await switching.server(name).query(sql, [], { database })
  expect(gone.length).toBeGreaterThan(0)
}

const guard = (switching: Switching) => ended(switching, 'worker-1', GUARD)

async function backendKilled(switching: Switching): Promise<void> {
  const old = switching.server('worker-1')
  const session = switching.keep(await old.connect({ database: 'postgres' }))
  session.on('error', () => undefined)
  const { rows } = await session.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  process.kill(rows[0]?.pid ?? 0, 'SIGKILL')
}

/** It waits for the guard, and whoever looks a table up waits for it. */
async function vacuumFull(switching: Switching): Promise<void> {
  const { database } = switching.scenario.cluster
  const old = switching.server('worker-1')
  const session = switching.keep(await old.connect({ database }))
  session.on('error', () => undefined)
  const watching = switching.keep(await old.connect({ database: 'postgres' }))
  void session.query('VACUUM FULL pg_class').catch(() => undefined)
  const waits = `SELECT FROM pg_locks WHERE NOT granted AND relation = 'pg_class'::regclass AND mode = 'AccessExclusiveLock'`
  await waitUntil('it waits', async () => (await watching.query(waits)).rowCount === 1)
}

const CASES: readonly Case[] = [
  ...['replay', 'promoting'].map(
    (at): Case => ({
      says: 'the session that holds the shards of the old primary',
      at,
      lost: guard,
      exitCode: 4,
      outcome: 'blocked',
      old: 'as it was',
    }),
  ),
  ...['promoted', 'decided', 'change'].map(
    (at): Case => ({
      says: 'the session that holds the shards of the old primary',
      at,
      lost: guard,
      exitCode: 0,
      outcome: 'switched',
      old: 'retired',
    }),
  ),
  {
    says: 'all sessions of the old primary: one of its backends is killed',
    at: 'promoted',
    lost: backendKilled,
    exitCode: 0,
    outcome: 'switched',
    old: 'retired',
  },
  {
    says: 'the sessions that ask the old primary, once a client has written there',
    at: 'promoted',
    lost: (switching) => ended(switching, 'worker-1', IDLE),
    lateRow: true,
    exitCode: 5,
    outcome: 'late-writes',
    old: 'retired',
  },
  {
    says: 'what is asked of the old primary: it waits behind VACUUM FULL, and a client has written there',
    at: 'promoted',
    lost: vacuumFull,
    lateRow: true,
    exitCode: 5,
    outcome: 'late-writes',
    old: 'retired',
  },
  ...['recheck', 'quiesce', 'clear', 'replay'].map(
    (at): Case => ({
      says: 'the session that writes down on the coordinator what is done',
      at,
      lost: (switching) => ended(switching, 'coordinator', IDLE),
      exitCode: 0,
      outcome: 'switched',
      old: 'retired',
    }),
  ),
  ...['promoted', 'decided'].map(
    (at): Case => ({
      says: 'a standby of another group',
      at,
      lost: (switching) => switching.server('worker-2-standby').kill(),
      exitCode: 5,
      outcome: 'unproved',
      old: 'retired',
    }),
  ),
]

describe.skipIf(standin)('a switchover that loses', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [], before: addNotes },
  )

  async function isRetired(): Promise<boolean> {
    const { database } = switching.scenario.cluster
    const sql = 'SELECT groupid >= 1000000000 AS retired FROM pg_dist_local_group'
    const [row] = await switching.server('worker-1').query<{ retired: boolean }>(sql, [], { database })
    return row?.retired ?? false
  }

  it.each(CASES)(
    '$says, at $at: $outcome; the old primary is $old',
    async ({ at, lost, lateRow, exitCode, outcome, old }) => {
      let isOver = false
      const reached = async (step: string) => {
        if (step !== at || isOver) return
        isOver = true
        if (lateRow) {
          const writer = switching.keep(await switching.server('worker-1').connect({ database: PLAIN }))
          writer.on('error', () => undefined)
          await writer.query('BEGIN READ WRITE; INSERT INTO notes VALUES (9); COMMIT')
        }
        await lost(switching)
      }
      const ran = await switching.scenario.runWith(
        { reached },
        'switchover',
        '--yes',
        '--json',
        '--group',
        '1',
      )
      const report = JSON.parse(ran.stdout)
      expect({ exitCode: ran.exitCode, outcome: report.outcome }, ran.stdout).toEqual({ exitCode, outcome })
      expect(await isRetired()).toBe(old === 'retired')
      if (old === 'as it was') return await switching.expectUntouched()
      const rows = await switching.scenario.rows(switching.server('coordinator'))
      expect(rows).toContain(`2 group 1 primary ${switching.at('worker-1-standby')}`)
      await switching.expectNoIntent()
      await switching.expectWritable('worker-1-standby')
    },
    LONG_MS,
  )

  it(
    'a client that does not end: the command that stops the old primary is run all the same',
    async () => {
      const old = switching.server('worker-1')
      const session = switching.keep(await old.connect({ database: switching.scenario.cluster.database }))
      session.on('error', () => undefined)
      const { rows } = await session.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      const pid = rows[0]?.pid ?? 0
      process.kill(pid, 'SIGSTOP')
      try {
        await switching.switched('--group', '1', '--demote-command', `touch ${old.directory}/demoted`)
        expect(existsSync(`${old.directory}/demoted`)).toBe(true)
      } finally {
        process.kill(pid, 'SIGCONT')
      }
    },
    LONG_MS,
  )

  it(
    'a reconcile that has rows of another group to change retires an old primary that was left',
    async () => {
      const { scenario } = switching
      const { database } = scenario.cluster
      await switching.switched('--group', '1')
      const undone = `UPDATE pg_dist_local_group SET groupid = groupid - 1000000000; DELETE FROM citus_ha.retired`
      await switching.server('worker-1').query(`BEGIN READ WRITE; ${undone}; COMMIT`, [], { database })
      expect(await isRetired()).toBe(false)
      await switching.server('worker-2-standby').kill()
      const report = await scenario.reconcile()
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(await isRetired()).toBe(true)
    },
    LONG_MS,
  )
})
