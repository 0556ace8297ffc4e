import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { addNotes, PLAIN } from '../support/swap-clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000
const TARGET = 'worker-1-standby'

/** Ends the sessions of citus-ha there that are in no transaction. */
const IDLE = `SELECT pg_terminate_backend(pid) AS was FROM pg_stat_activity
  WHERE application_name = 'citus-ha' AND state = 'idle' AND pid <> pg_backend_pid()`

interface Case {
  readonly says: string
  readonly at: string
  /** What happens there; once. */
  readonly lost: (switching: Switching) => Promise<unknown>
  readonly args?: (switching: Switching) => readonly string[]
  readonly exitCode: number
  readonly outcome: string
  readonly why?: RegExp
  /** Who takes the writes of the group afterwards. */
  readonly primary: 'the target' | 'the old primary'
}

const idle = (switching: Switching) => query(switching, TARGET, IDLE)
const nothing = async () => undefined

async function query(switching: Switching, name: string, sql: string): Promise<unknown> {
  return await switching.server(name).query(sql, [], { database: switching.scenario.cluster.database })
}

async function backendKilled(switching: Switching): Promise<void> {
  const session = switching.keep(await switching.server(TARGET).connect({ database: 'postgres' }))
  session.on('error', () => undefined)
  const { rows } = await session.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  process.kill(rows[0]?.pid ?? 0, 'SIGKILL')
}

/** The shell's `psql` on the target, for what comes behind it. */
function psql(switching: Switching): string {
  const { port } = switching.server(TARGET)
  return `psql -X -h 127.0.0.1 -p ${port} -U postgres -d ${switching.scenario.cluster.database} -Atc`
}

const ALL = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`

function promotedAnd(then: (switching: Switching) => string) {
  return (switching: Switching) => [
    '--promote-command',
    `${psql(switching)} "SELECT pg_promote()" && ${then(switching)}`,
  ]
}

const CASES: readonly Case[] = [
  ...['recheck', 'quiesce', 'replay', 'promoting'].map(
    (at): Case => ({
      says: 'its sessions',
      at,
      lost: idle,
      exitCode: 0,
      outcome: 'switched',
      primary: 'the target',
    }),
  ),
  ...['replay', 'promoting'].map(
    (at): Case => ({
      says: 'its sessions, as one of its backends is killed',
      at,
      lost: backendKilled,
      exitCode: 0,
      outcome: 'switched',
      primary: 'the target',
    }),
  ),
  ...['replay', 'promoting'].map(
    (at): Case => ({
      says: 'its server',
      at,
      lost: (switching) => switching.server(TARGET).kill(),
      exitCode: 4,
      outcome: 'blocked',
      why: /broke, and no other one could be opened/,
      primary: 'the old primary',
    }),
  ),
  ...['replay', 'promoting'].map(
    (at): Case => ({
      says: 'its sessions, as it is restarted',
      at,
      lost: (switching) => switching.server(TARGET).restart(),
      exitCode: 4,
      outcome: 'blocked',
      why: /was restarted, or another server answers there/,
      primary: 'the old primary',
    }),
  ),
  {
    says: 'its server, where a command is to promote it',
    at: 'promoting',
    lost: (switching) => switching.server(TARGET).kill(),
    args: () => ['--promote-command', 'true'],
    exitCode: 4,
    outcome: 'blocked',
    primary: 'the old primary',
  },
  {
    says: 'its sessions: the command that promotes it ends them',
    at: 'never',
    lost: nothing,
    args: promotedAnd((switching) => `${psql(switching)} "${ALL}"`),
    exitCode: 0,
    outcome: 'switched',
    primary: 'the target',
  },
  {
    says: 'its sessions, and the command that is to promote it fails',
    at: 'never',
    lost: nothing,
    args: (switching) => ['--promote-command', `${psql(switching)} "${ALL}"; false`],
    exitCode: 4,
    outcome: 'blocked',
    primary: 'the old primary',
  },
]

describe.skipIf(standin)('a switchover that loses of its target', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [], before: addNotes },
  )

  async function switchover(at: string, then: () => Promise<unknown>, ...args: string[]) {
    let isOver = false
    const reached = async (step: string) => {
      if (step !== at || isOver) return
      isOver = true
      await then()
    }
    const options = ['--yes', '--json', '--group', '1', ...args]
    const ran = await switching.scenario.runWith({ reached }, 'switchover', ...options)
    return { ...ran, report: JSON.parse(ran.stdout) }
  }

  it.each(CASES)(
    '$says, at $at: $outcome',
    async ({ at, lost, args, exitCode, outcome, why, primary }) => {
      const given = args?.(switching) ?? []
      const { report, ...ran } = await switchover(at, () => lost(switching), ...given)
      expect({ exitCode: ran.exitCode, outcome: report.outcome }, ran.stdout).toEqual({ exitCode, outcome })
      expect(report.left).toEqual([])
      if (why) expect(report.why).toMatch(why)
      const name = primary === 'the target' ? TARGET : 'worker-1'
      const rows = await switching.scenario.rows(switching.server('coordinator'))
      expect(rows).toContain(`2 group 1 primary ${switching.at(name)}`)
      await switching.expectNoIntent()
      await switching.expectWritable(name)
    },
    LONG_MS,
  )

  it(
    'its sessions: the command that promotes it restarts it',
    async () => {
      const target = switching.server(TARGET)
      const flag = `${target.directory}/started`
      const restarted = `${switching.stopping(TARGET)} && until test -e ${flag}; do sleep 0.05; done`
      const ran = switching.switched('--group', '1', ...promotedAnd(() => restarted)(switching))
      await waitUntil('it is stopped', () => !target.isRunning)
      await target.start()
      await writeFile(flag, '')
      const { report } = await ran
      expect(report).toMatchObject({ outcome: 'switched', left: [] })
      await switching.expectPrimary(2, TARGET)
    },
    LONG_MS,
  )

  it(
    'all, once it was asked for its promotion: it is not known whether it is promoted, and reconcile completes it',
    async () => {
      const target = switching.server(TARGET)
      const ran = await switching.scenario.run(
        ...['switchover', '--yes', '--group', '1', '--promote-command', switching.stopping(TARGET)],
      )
      expect(ran.exitCode, ran.stdout).toBe(5)
      expect(ran.stdout).toContain('it is not known whether the target is promoted: run citus-ha reconcile')
      expect(ran.stdout).toContain(`it is not known whether ${switching.at(TARGET)} is promoted`)
      await target.start()
      await target.promote()
      expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0 })
      await switching.expectPrimary(2, TARGET)
    },
    LONG_MS,
  )

  it(
    '--demote-first: an old primary that is started again meanwhile is retired, and that it may have taken writes is told',
    async () => {
      const old = switching.server('worker-1')
      const { exitCode, report, stdout } = await switchover(
        'promoted',
        async () => {
          await old.start()
          const writer = switching.keep(await old.connect({ database: PLAIN }))
          writer.on('error', () => undefined)
          await writer.query('BEGIN READ WRITE; INSERT INTO notes VALUES (9); COMMIT')
        },
        '--demote-first',
        '--demote-command',
        switching.stopping('worker-1'),
      )
      expect({ exitCode, outcome: report.outcome }, stdout).toEqual({ exitCode: 5, outcome: 'late-writes' })
      expect(report.why).toContain('data loss is possible')
      expect(report.warnings.join()).toContain('was started again after --demote-command')
      const { database } = switching.scenario.cluster
      const retired = 'SELECT groupid >= 1000000000 AS retired FROM pg_dist_local_group'
      expect(await old.query(retired, [], { database })).toEqual([{ retired: true }])
      await switching.expectPrimary(2, TARGET)
    },
    LONG_MS,
  )
})

describe.skipIf(standin)('clients of a reference table', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    {
      coordinatorStandbys: [],
      before: async ({ cluster: { coordinator, database } }) => {
        for (const sql of [
          'CREATE TABLE refs (id serial PRIMARY KEY, note text)',
          `SELECT create_reference_table('refs')`,
          'CREATE TABLE plain (id int PRIMARY KEY)',
        ])
          await coordinator.query(sql, [], { database })
      },
    },
  )

  async function refusedBeside(...statements: string[]): Promise<string> {
    const { database } = switching.scenario.cluster
    const session = switching.keep(await switching.server('coordinator').connect({ database }))
    session.on('error', () => undefined)
    await session.query('BEGIN')
    for (const sql of statements) await session.query(sql)
    const { report } = await switching.switchover('--dry-run', '--group', '1')
    await session.query('ROLLBACK')
    return report.refusals.join('\n')
  }

  it.each([
    `INSERT INTO refs (note) VALUES ('written')`,
    `UPDATE refs SET note = 'written'`,
    'SELECT * FROM refs FOR UPDATE',
    'INSERT INTO refs (note) SELECT id::text FROM items LIMIT 2',
  ])('%s changes no table', async (sql) => {
    expect(await refusedBeside(sql)).toBe('')
  })

  it.each([
    'ALTER TABLE refs ADD COLUMN more int',
    'ALTER TABLE items ADD COLUMN more int',
    'CREATE INDEX ON items (id)',
    `CREATE TYPE kind AS ENUM ('a')`,
    `CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    'CREATE SCHEMA other',
    'GRANT SELECT ON items TO public',
    `SELECT create_distributed_table('plain', 'id')`,
    `SELECT create_reference_table('plain')`,
    `SELECT undistribute_table('items')`,
    `SELECT citus_update_node(2, '127.0.0.1', 1)`,
    `SELECT citus_move_shard_placement(shardid, f.nodename, f.nodeport, t.nodename, t.nodeport, 'block_writes')
       FROM pg_dist_node f, pg_dist_node t,
            (SELECT min(shardid) AS shardid FROM pg_dist_placement JOIN pg_dist_shard USING (shardid)
              WHERE groupid = 1 AND logicalrelid = 'items'::regclass) s
      WHERE f.groupid = 1 AND t.groupid = 2 AND f.noderole = 'primary' AND t.noderole = 'primary'`,
  ])('%s does, also after a row was written', async (sql) => {
    expect(await refusedBeside(sql)).toContain('changes tables or moves shards')
    if (/^(ALTER|CREATE)/.test(sql))
      expect(await refusedBeside(`INSERT INTO refs (note) VALUES ('written')`, sql)).toContain(
        'changes tables',
      )
  })

  it(
    'keep no switchover from beginning, whatever of them it meets',
    async () => {
      const { database } = switching.scenario.cluster
      let isOver = false
      const written = Promise.all(
        [1, 2, 3, 4].map(async () => {
          const session = switching.keep(await switching.server('coordinator').connect({ database }))
          while (!isOver) await session.query(`INSERT INTO refs (note) VALUES ('written')`)
        }),
      )
      const refusals: string[] = []
      for (let n = 0; n < 8; n++)
        refusals.push(...(await switching.switchover('--dry-run', '--group', '1')).report.refusals)
      isOver = true
      await written
      expect(refusals).toEqual([])
    },
    LONG_MS,
  )
})
