import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, standin } from '../support/clients.ts'
import { killedAt, sentIsDone } from '../support/crash.ts'
import { WAYS } from '../support/retiring.ts'
import { Scenario } from '../support/scenario.ts'
import { SHORT_LIVED } from '../support/switching.ts'
import { EVERY_SECOND, expectWhole } from '../support/two-phase.ts'

describe.skipIf(standin)('an old primary that runs on rolls nothing of its successor back', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const exits = async (code: number, ...args: string[]) => {
    const ran = await scenario.run(...args)
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: code })
  }

  beforeAll(async () => {
    const settings = { ...SHORT_LIVED, ...EVERY_SECOND }
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }], settings, install: 'no' })
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe.each([
    { group: 0, old: 'coordinator' },
    { group: 1, old: 'worker-1' },
  ])('group $group', ({ group, old }) => {
    it.each(WAYS)('$name', async ({ retire }) => {
      const primary = server(`${old}-standby`)
      await retire(scenario, group, server(old), primary)
      await expectWhole(scenario, { group, primary, old: server(old) })
    })
  })

  it('is told of after a promotion that somebody vouched for, and keeps nothing from being judged', async () => {
    const [old, primary] = [server('worker-1'), server('worker-1-standby')]
    await primary.promote()
    await exits(0, 'reconcile', '--group', '1', '--promoted', formatAddress(primary))
    const { stdout, exitCode } = await scenario.run('status')
    expect(exitCode, stdout).toBe(3)
    expect(stdout).toMatch(/^1 +old-primary-writes /m)
    expect(stdout).toMatch(new RegExp(`(secondary|no row) +${formatAddress(old)} +retired`))
    const examined = await scenario.run('doctor')
    expect(examined.stdout).toContain('H182')
    // By rows of pg_dist_poolinfo it is kept from the others, on purpose.
    expect(examined.stdout).not.toMatch(/H09\d/)
    expect(examined.exitCode).toBe(3)
    await exits(0, 'reconcile')
  })

  it.each(['coordinator', 'worker-1'])(
    'is told of with what it may have done, where it comes back: %s',
    async (name) => {
      const [old, primary] = [server(name), server(`${name}-standby`)]
      await old.kill()
      await primary.promote()
      await exits(0, 'reconcile')
      await old.start()
      const { stdout, stderr } = await scenario.run('reconcile')
      const warns = `${formatAddress(old)}, an old primary, was running beside ${formatAddress(primary)} and is retired now`
      expect(stdout, stderr).toContain(warns)
      expect(stdout).toContain('data loss is possible')
      const again = await scenario.run('reconcile')
      expect(again.exitCode, again.stdout).toBe(0)
      expect(again.stdout).not.toContain('data loss is possible')
    },
  )

  it('is not told of where it is stopped while it is to be retired, as by a switchover’s own command', async () => {
    const { cluster } = scenario
    const [old, primary] = [server('worker-1'), server('worker-1-standby')]
    expect(await killedAt('decided', ['switchover', ...scenario.options, '--group', '1', '--yes'])).toBe(
      'SIGKILL',
    )
    await sentIsDone(scenario)
    const lock = 'SELECT citus_ha.lock_shards()'
    const holder = await openTransaction(old, cluster.database, 'SET TRANSACTION READ WRITE', lock)
    holder.on('error', () => undefined)
    const config = await scenario.configFile({ apply: { lockTimeout: '20s' } })
    const ran = scenario.run('reconcile', '--config', config)
    await waitUntil('it waits for the shards', async () => {
      const sql = `SELECT FROM pg_stat_activity WHERE usename = 'citus_ha' AND wait_event_type = 'Lock'`
      return (await old.query(sql)).length > 0
    })
    await old.stop()
    const { exitCode, stdout, stderr } = await ran
    expect(exitCode, stdout + stderr).toBe(0)
    expect(stdout + stderr).not.toContain('could not be retired')
    expect(await scenario.rows(server('coordinator'))).toContain(
      `2 group 1 primary ${formatAddress(primary)}`,
    )
  })

  // Citus's COPY goes on through a read-only server, and prepares under that server's own group.
  it.each([
    { was: 'committed', remains: 1 },
    { was: 'not committed', remains: 0 },
  ])(
    'recovers what Citus has prepared from there since, as doctor says: it was $was',
    async ({ was, remains }) => {
      const { database } = scenario.cluster
      const [old, other] = [server('worker-1'), server('worker-2')]
      await exits(0, 'switchover', '--yes', '--group', '1')
      const gid = 'citus_1000000001_4242_7_1'
      await other.query(
        `BEGIN; SET LOCAL citus.enable_ddl_propagation = off; CREATE TABLE public.copied (); PREPARE TRANSACTION '${gid}'`,
        [],
        { database },
      )
      const write = (sql: string) => old.query(`BEGIN READ WRITE; ${sql}; COMMIT`, [], { database })
      // As an older version has retired it: its Citus reaches other nodes.
      await write('DELETE FROM pg_dist_poolinfo')
      if (was === 'committed') await write(`INSERT INTO pg_dist_transaction VALUES (2, '${gid}')`)
      await write('SELECT recover_prepared_transactions()')
      const sql = `SELECT (SELECT count(*)::int FROM pg_prepared_xacts) AS prepared, (SELECT count(*)::int FROM pg_class WHERE relname = 'copied') AS remains`
      expect(await other.query(sql, [], { database })).toEqual([{ prepared: 0, remains }])
    },
  )

  it('is told of with the command that rejoins it, after its restart too, and is whole again then', async () => {
    const { cluster } = scenario
    const [old, primary] = [server('worker-1'), server('worker-1-standby')]
    await exits(0, 'switchover', '--yes', '--group', '1')
    for (const restart of [false, true]) {
      if (restart) await old.restart()
      const { stdout, exitCode } = await scenario.run('status')
      expect(exitCode, stdout).toBe(0)
      expect(stdout).toMatch(new RegExp(`(secondary|no row) +${formatAddress(old)} +retired`))
      expect(stdout).toContain(`${formatAddress(old)}, an old primary, is still running (read-only)`)
      expect(stdout).toContain('pg_rewind')
      expect((await scenario.run('doctor')).stdout).toContain('H180')
    }
    await cluster.rejoin(old, primary)
    await exits(0, 'switchover', '--yes', '--group', '1', '--to', formatAddress(old))
    const own = `SELECT (SELECT groupid FROM pg_dist_local_group) AS group, (SELECT count(*)::int FROM citus_ha.retired) AS retired,
        current_setting('citus.recover_2pc_interval') AS recovery, current_setting('default_transaction_read_only') AS read_only,
        (SELECT count(*)::int FROM citus_ha.intent) AS intents`
    expect(await old.query(own, [], { database: cluster.database })).toEqual([
      { group: 1, retired: 0, recovery: '1s', read_only: 'off', intents: 0 },
    ])
    await expectWhole(scenario, { group: 1, primary: old, old: primary })
  })
})
