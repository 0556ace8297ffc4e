import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatGid } from '../../src/model/gid.ts'
import { formatAddress } from '../../src/model/node.ts'
import { killedAt, sentIsDone } from '../support/crash.ts'
import { dumpOf, hasClients } from '../support/dumps.ts'
import { citusHa, type Ran, Scenario } from '../support/scenario.ts'

const NODES = ['coordinator', 'worker-1', 'worker-2']
/** Of a statement of ours on one node: what others know by Citus is not meant. */
const ALONE = 'SET citus.enable_ddl_propagation = off'

describe.skipIf(!(await hasClients()))('uninstall', () => {
  let scenario: Scenario
  let before: string[]
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const sql = (name: string, text: string) =>
    server(name).query(text, [], { database: scenario.cluster.database })
  const uninstall = (...args: string[]) => scenario.run('uninstall', '-U', 'postgres', '--yes', ...args)
  const dumps = () => Promise.all(NODES.map((name) => dumpOf(server(name), scenario.cluster.database)))
  const has = async (name: string): Promise<boolean> =>
    (await sql(name, `SELECT FROM pg_namespace WHERE nspname = 'citus_ha'`)).length === 1
  const everywhere = () => Promise.all(NODES.map(has))

  beforeAll(async () => {
    scenario = await Scenario.start({ install: 'no', workers: [{ standbys: [{}] }, {}] })
    before = await dumps()
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

  it('leaves nothing behind, says what went, and then that there is nothing more', async () => {
    const isCitus = scenario.cluster.backend.kind === 'citus'
    const password = `${ALONE}; INSERT INTO pg_dist_authinfo VALUES (0, 'citus_ha', 'password=known')`
    if (isCitus) for (const name of NODES) await sql(name, password)
    const dry = await uninstall('--dry-run')
    expect(dry, dry.stderr).toMatchObject({ exitCode: 0 })
    expect(await everywhere()).toEqual([true, true, true])
    const ran = await uninstall()
    expect(ran, ran.stderr + ran.stdout).toMatchObject({ exitCode: 0 })
    expect(await dumps()).toEqual(before)
    if (isCitus) for (const name of NODES) expect(await sql(name, 'SELECT FROM pg_dist_authinfo')).toEqual([])
    const planned = dry.stdout.split('\n').slice(1).join('\n').replaceAll(' would be ', ' ')
    expect(ran.stdout).toBe(planned)
    for (const name of NODES)
      expect(ran.stdout).toContain(
        `${at(name)}, database ${scenario.cluster.database}: role citus_ha removed`,
      )
    expect(await uninstall()).toMatchObject({ exitCode: 0, stdout: 'there is nothing to remove\n' })
    expect(
      await citusHa(['install', '--coordinator', server('coordinator').url(scenario.cluster.database)]),
    ).toMatchObject({ exitCode: 0 })
  })

  it('--keep-role leaves the role, with its password and nothing that install had granted', async () => {
    for (const name of NODES) await sql(name, `${ALONE}; ALTER ROLE citus_ha PASSWORD 'kept'`)
    const ran = await uninstall('--keep-role', '--json')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(ran.stdout)).toMatchObject({
      exitCode: 0,
      outcome: 'removed',
      stays: [],
      failure: null,
    })
    expect(await everywhere()).toEqual([false, false, false])
    for (const name of NODES) {
      const [role] = await sql(
        name,
        `SELECT rolpassword IS NOT NULL AS kept FROM pg_authid WHERE rolname = 'citus_ha'`,
      )
      expect(role, name).toEqual({ kept: true })
      await sql(name, `${ALONE}; DROP ROLE citus_ha`)
    }
    expect(await dumps()).toEqual(before)
  })

  interface Way {
    readonly what: string
    /** @returns what ends it */
    readonly make: () => Promise<pg.Client | undefined>
    readonly says: RegExp
  }
  const holding = async (name: string, ...texts: string[]) => {
    const client = await server(name).connect({ database: scenario.cluster.database })
    for (const text of texts) await client.query(text)
    return client
  }
  const intent = `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by, run)
    VALUES (1, '127.0.0.1', 1, '127.0.0.1', 2, 'quiescing', false, false, 'somebody', 'a run')`
  const WAYS: readonly Way[] = [
    {
      what: 'somebody leads',
      make: () => holding('coordinator', 'BEGIN', 'LOCK TABLE citus_ha.lead_lock IN EXCLUSIVE MODE'),
      says: /postgres .* leads, as citus-ha watch does/,
    },
    {
      what: 'a follower or a hook is connected to a worker',
      make: async () => {
        const client = await server('worker-2').connect({
          database: scenario.cluster.database,
          user: 'citus_ha',
        })
        await client.query(`SET application_name = 'citus-ha watch'`)
        return client
      },
      says: /citus_ha \(citus-ha watch from 127\.0\.0\.1\) is connected: stop it first/,
    },
    {
      what: 'a change is under way',
      make: () => holding('coordinator', 'BEGIN', 'SELECT citus_ha.take_change_lock()'),
      says: /holds the lock of changes/,
    },
    {
      what: 'a fence is held',
      make: () => holding('worker-1', 'BEGIN', `SELECT citus_ha.fence('{}')`),
      says: /holds a fence/,
    },
    {
      what: 'a change is prepared',
      make: async () => {
        const gid = formatGid({
          cluster: 'default',
          database: scenario.cluster.database,
          timeline: 1,
          epoch: 9,
          random: '00000000',
          participant: 1,
        })
        await sql('worker-1', `BEGIN; CREATE TABLE public.prepared (); PREPARE TRANSACTION '${gid}'`)
        return undefined
      },
      says: /prepared: citus_ha.*citus-ha recover/,
    },
    {
      what: 'a switchover has died',
      make: async () => {
        await sql('coordinator', intent)
        return undefined
      },
      says: /a switchover from .* is quiescing/,
    },
    {
      what: 'a row is lent to another node',
      make: async () => {
        await server('worker-1-standby').stop()
        const ran = await scenario.run('reconcile')
        expect(ran.stdout, ran.stderr).toContain('changed')
        return undefined
      },
      says: /only the schema citus_ha has the original row/,
    },
    {
      what: 'a promotion is not written down yet',
      make: async () => {
        await server('worker-1').kill()
        await server('worker-1-standby').promote()
        return undefined
      },
      says: /group 1 is in doubt/,
    },
    {
      what: 'a server is set as a switchover sets it',
      make: async () => {
        await sql('worker-2', `ALTER SYSTEM SET citus.recover_2pc_interval = '-1'`)
        await server('worker-2').reload()
        return undefined
      },
      says: /worker|citus\.recover_2pc_interval is -1 by ALTER SYSTEM.*ALTER SYSTEM RESET citus\.recover_2pc_interval/,
    },
    {
      what: 'the coordinator’s schema has what is not ours',
      make: async () => {
        await sql('coordinator', `${ALONE}; CREATE TABLE citus_ha.mine ()`)
        return undefined
      },
      says: /it contains objects that citus-ha did not make: table mine/,
    },
  ]
  it.each(WAYS)('is refused where $what, and removes nothing', async ({ make, says }) => {
    const held = await make()
    try {
      const ran = await uninstall()
      expect(ran, ran.stderr).toMatchObject({ exitCode: 3 })
      expect(ran.stdout).toMatch(/^refused; nothing was changed\n/)
      expect(ran.stdout).toMatch(says)
      for (const name of NODES) if (server(name).isRunning) expect(await has(name), name).toBe(true)
    } finally {
      await held?.end()
    }
  })

  it('takes a superuser, and asks where nobody said --yes', async () => {
    const plain = await scenario.run('uninstall', '--yes')
    expect(plain).toMatchObject({ exitCode: 2, stdout: '' })
    expect(plain.stderr).toMatch(/uninstall needs a superuser: citus-ha uninstall .*--user postgres$/m)
    const nobody = await scenario.run('uninstall', '-U', 'postgres')
    expect(nobody).toMatchObject({
      exitCode: 2,
      stderr: 'citus-ha: there is no terminal to ask for confirmation: give --yes\n',
    })
    expect(await everywhere()).toEqual([true, true, true])
  })

  const left = (ran: Ran): string[] => ran.stdout.split('\n').filter((line) => line.startsWith('stays: '))

  it('a node that does not answer is named with what stays there; the same command goes on later', async () => {
    await server('worker-2').stop()
    const ran = await uninstall()
    expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
    expect(left(ran)).toEqual([expect.stringContaining(`stays: ${at('worker-2')}`)])
    expect(left(ran)[0]).toMatch(/all that was installed there: .*refused/)
    await server('worker-2').start()
    expect(await everywhere()).toEqual([false, false, true])
    const again = await uninstall()
    expect(again, again.stderr).toMatchObject({ exitCode: 0 })
    expect(await dumps()).toEqual(before)
  })

  it('nothing of anybody else’s goes: what a role owns, who is a member, what depends on ours, a foreign schema', async () => {
    await sql(
      'coordinator',
      `${ALONE}; CREATE TABLE public.owned (); ALTER TABLE public.owned OWNER TO citus_ha`,
    )
    await sql('worker-1', `${ALONE}; CREATE VIEW public.seen AS SELECT * FROM citus_ha.change`)
    await sql(
      'worker-2',
      `${ALONE}; CREATE ROLE member; GRANT citus_ha TO member; CREATE ROLE stranger;
      CREATE FUNCTION citus_ha.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION citus_ha.theirs() OWNER TO stranger`,
    )
    const ran = await uninstall()
    expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
    const stays = left(ran).join('\n')
    expect(stays).toMatch(new RegExp(`${at('coordinator')}.*role citus_ha: .*owner of table public.owned`))
    expect(stays).toMatch(
      new RegExp(`${at('worker-1')}.*schema citus_ha.*: .*view public.seen depends on table citus_ha.change`),
    )
    expect(stays).toMatch(
      new RegExp(`${at('worker-2')}.*schema citus_ha: not made by citus-ha: function theirs of stranger`),
    )
    expect(stays).toMatch(new RegExp(`${at('worker-2')}.*role citus_ha: it has members, .*: member`))
    expect(await everywhere()).toEqual([false, true, true])
    expect(await sql('worker-1', 'SELECT FROM public.seen')).toEqual([])
    await sql('coordinator', 'DROP TABLE public.owned')
    await sql('worker-1', `${ALONE}; DROP VIEW public.seen`)
    await sql('worker-2', `${ALONE}; DROP FUNCTION citus_ha.theirs(); DROP ROLE member; DROP ROLE stranger`)
    expect(await uninstall()).toMatchObject({ exitCode: 0 })
    expect(await dumps()).toEqual(before)
  })

  it('what the role may do on a server stays where another database has citus-ha too', async () => {
    const may = () =>
      server('worker-2').query(
        `SELECT pg_has_role('citus_ha', 'pg_read_all_stats', 'USAGE') AS stats,
                has_parameter_privilege('citus_ha', 'default_transaction_read_only', 'ALTER SYSTEM') AS parameter`,
      )
    await server('worker-2').query('CREATE DATABASE other')
    const other = (text: string) => server('worker-2').query(text, [], { database: 'other' })
    await other('CREATE SCHEMA citus_ha; GRANT USAGE ON SCHEMA citus_ha TO citus_ha')
    const stays = `stays: ${at('worker-2')}, database ${scenario.cluster.database}: role citus_ha: it is used in database other, too: it keeps its privileges on the server`
    for (const args of [['--dry-run'], []]) {
      const ran = await uninstall(...args)
      expect(left(ran), ran.stderr).toEqual([stays])
      expect(await may()).toEqual([{ stats: true, parameter: true }])
    }
    expect(await everywhere()).toEqual([false, false, false])
    await other('DROP SCHEMA citus_ha')
    const last = await uninstall()
    expect(last, last.stderr).toMatchObject({ exitCode: 0 })
    expect(last.stdout).toContain('role citus_ha removed')
  })

  it('keeps the others away while it is at work', async () => {
    const second: Ran[] = []
    const meanwhile = async (point: string) => {
      if (point === 'removed:1')
        second.push(await uninstall(), await scenario.run('reconcile'), await scenario.run('pause'))
    }
    const ran = await scenario.runWith({ reached: meanwhile }, 'uninstall', '-U', 'postgres', '--yes')
    expect(ran, ran.stderr + ran.stdout).toMatchObject({ exitCode: 0 })
    expect(second[0]).toMatchObject({ exitCode: 3 })
    expect(second[0]?.stdout).toContain('holds the lock of changes')
    expect(second[1]?.exitCode, second[1]?.stdout).not.toBe(1)
    expect(await dumps()).toEqual(before)
  })

  it('comes to no end where a superuser’s command installs on a node again; the coordinator keeps what it knows', async () => {
    const meanwhile = async (point: string) => {
      const url = server('coordinator').url(scenario.cluster.database)
      if (point === 'removed:1') await citusHa(['reconcile', '--coordinator', url])
    }
    const ran = await scenario.runWith({ reached: meanwhile }, 'uninstall', '-U', 'postgres', '--yes')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
    expect(ran.stdout).toMatch(
      /not completed: .*another session has installed it again meanwhile; run the same command again/,
    )
    expect(await has('coordinator')).toBe(true)
    expect(await uninstall()).toMatchObject({ exitCode: 0 })
    expect(await dumps()).toEqual(before)
  })

  it.each(['removed:1', 'before-coordinator', 'removed:3'])(
    'killed at %s it does no harm, and the same command goes on from there',
    async (point) => {
      const copies = await scenario.copies()
      const args = ['uninstall', ...scenario.options, '-U', 'postgres', '--yes']
      expect(await killedAt(point, args)).toBe('SIGKILL')
      await sentIsDone(scenario)
      expect(await has('coordinator')).toBe(point !== 'removed:3')
      // Whoever looks now is told, and changes nothing.
      const looked = await scenario.run('reconcile')
      expect(looked.exitCode, looked.stdout + looked.stderr).not.toBe(1)
      expect(await scenario.copies()).toEqual(copies)
      expect(await uninstall()).toMatchObject({ exitCode: 0 })
      expect(await dumps()).toEqual(before)
    },
  )
})
