import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Connections } from '../../src/walk/connections.ts'
import { Caught, traps } from '../support/hostile.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { SHORT_LIVED } from '../support/switching.ts'
import { Watching } from '../support/watching.ts'

/** Of which `pg_catalog` has no operator of its own for each pair. */
const FEW = ['numeric', 'int4']

const COMMANDS = [
  ['status'],
  ['doctor'],
  ['reconcile'],
  ['watch', '--once'],
  ['history'],
  ['pause', '--group', '1'],
  ['resume', '--group', '1'],
  ['recover'],
  ['switchover', '--group', '1', '--dry-run'],
  ['forget', 'nowhere.example:5432', '--dry-run'],
  ['install'],
] as const

describe('a hostile user of the database', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const on = (at: Server, sql: string, user = 'postgres', database = scenario.cluster.database) =>
    at.query(sql, [], { database, user })
  /** Writable copies: a database of its own, its rights and what is in it are made on each node. */
  const nodes = () => ['coordinator', 'worker-1', 'worker-2'].map(server)

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }],
      workers: [{ standbys: [{}] }, {}],
      // The group goes back and forth sooner than a session forgets its connections.
      settings: SHORT_LIVED,
    })
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  afterAll(async () => {
    await scenario?.stop()
  })
  /** How each command ends where nobody is hostile. */
  const controls = new Map<string, number>()
  async function control(args: readonly string[]): Promise<number> {
    const key = args.join(' ')
    const known = controls.get(key)
    if (known !== undefined) return known
    const { exitCode } = await citusHa(args)
    controls.set(key, exitCode)
    return exitCode
  }

  beforeEach(async () => {
    await scenario.restore()
    // As before PostgreSQL 15, in everything that follows: whoever gets in by less does so here as well.
    for (const node of nodes())
      await on(node, 'SET citus.enable_ddl_propagation = off; GRANT CREATE ON SCHEMA public TO PUBLIC')
    await scenario.settle()
  })

  interface Place {
    readonly who: string
    /** Default: mallory. */
    readonly as?: 'citus_ha'
    /** Citus's own sync of metadata looks names up by the superuser's search_path (13.2.2): what is left to it stays undone. */
    readonly stopsSync?: true
    /** Done as a superuser, in the application's database. */
    readonly given: readonly string[]
    /** Where the traps are; made by him. */
    readonly made: readonly (readonly [sql: string, database?: string])[]
  }
  const places: readonly Place[] = [
    {
      who: 'with CREATEDB, in a database of his own',
      given: ['ALTER ROLE mallory CREATEDB'],
      made: [
        ['CREATE DATABASE aaa', 'postgres'],
        ['ALTER SCHEMA public OWNER TO mallory', 'aaa'],
        [traps('public', 'mallory', FEW), 'aaa'],
      ],
    },
    {
      who: 'as before PostgreSQL 15, with an operator that fits',
      given: [],
      made: [[traps('public', 'mallory', FEW)]],
    },
    {
      who: 'as before PostgreSQL 15, when everybody could CREATE in public',
      given: [],
      made: [[traps('public', 'mallory')]],
    },
    {
      who: 'who has the password of our own role',
      as: 'citus_ha',
      given: [],
      made: [[`ALTER ROLE citus_ha SET search_path = public, pg_catalog; ${traps('public', 'citus_ha')}`]],
    },
    {
      who: 'who owns the database, and sets its search_path',
      stopsSync: true,
      given: ['ALTER DATABASE app OWNER TO mallory', 'GRANT ALL ON SCHEMA public TO mallory'],
      made: [
        ['CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC'],
        [traps('evil', 'mallory')],
        ['ALTER DATABASE app SET search_path = evil, pg_catalog'],
      ],
    },
    {
      who: 'whose schema is on the search_path of our role and of the superuser',
      stopsSync: true,
      given: [
        'CREATE SCHEMA evil AUTHORIZATION mallory',
        'GRANT USAGE ON SCHEMA evil TO PUBLIC',
        'ALTER ROLE citus_ha SET search_path = evil, pg_catalog',
        'ALTER ROLE postgres IN DATABASE app SET search_path = evil, pg_catalog',
      ],
      made: [[traps('evil', 'mallory')]],
    },
  ]

  async function settled({ as, given, made }: Place): Promise<void> {
    const { database } = scenario.cluster
    const renamed = (sql: string) =>
      sql
        .replace(/DATABASE app\b/, `DATABASE ${database}`)
        .replace(/mallory IN DATABASE app\b/, `mallory IN DATABASE ${database}`)
    const local = (sql: string) => `SET citus.enable_ddl_propagation = off; ${renamed(sql)}`
    for (const node of nodes()) {
      await on(node, local('CREATE ROLE mallory LOGIN'))
      for (const sql of given) await on(node, local(sql))
      for (const [sql, at] of made) {
        const owner = sql.startsWith('ALTER SCHEMA public OWNER') ? 'postgres' : (as ?? 'mallory')
        if (sql.startsWith('CREATE DATABASE')) await on(node, sql, owner, at)
        else await on(node, local(sql), owner, at ?? database)
      }
    }
    await scenario.settle()
  }

  async function expectNothingGained(): Promise<void> {
    for (const node of scenario.cluster.servers.filter(({ isRunning }) => isRunning)) {
      const rolled = `SELECT rolsuper, (SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'citus_ha') AS unset
        FROM pg_roles WHERE rolname = 'mallory'`
      expect(await on(node, rolled, 'postgres', 'postgres')).toEqual([{ rolsuper: false, unset: true }])
    }
  }

  describe.each(places)('$who', (place) => {
    it('has none of his code run by anybody else, and stops nothing', async () => {
      const { database } = scenario.cluster
      const at = server('coordinator')
      const asked = [at.url(database), at.url(database, 'citus_ha'), at.url('').replace(/\/$/, '')]
      // Without a database all of the server are looked into: as they come, so only by commands that do not mind.
      const all = asked.flatMap((url, n) =>
        COMMANDS.filter(
          ([command]) => n === 0 || (n === 1 && command !== 'install') || command === 'status',
        ).map(([command, ...rest]) => [command, '--coordinator', url, ...rest]),
      )
      for (const args of all) await control(args)
      await settled(place)
      const caught = new Caught(scenario.cluster.servers)
      for (const args of all) {
        const ran = await citusHa(args)
        expect.soft(caught.lines(), args.join(' ')).toEqual([])
        expect.soft(ran.exitCode, `${args.join(' ')}\n${ran.stdout}${ran.stderr}`).toBe(await control(args))
      }
      await expectNothingGained()
    }, 180_000)

    it('has none of it run by what changes something, and stops none of that', async () => {
      const { cluster } = scenario
      const [one, other] = ['worker-1', 'worker-1-standby'].map(server)
      if (!one || !other) throw new Error('the cluster has both')
      await settled(place)
      const caught = new Caught(cluster.servers)
      const superuser = cluster.coordinator.url(cluster.database)
      // Of what our own role does itself there is nothing to be caught.
      const role = place.as ? superuser : cluster.coordinator.url(cluster.database, 'citus_ha')
      const fileOf = (url: string, more: object = {}) =>
        scenario.configFile({ coordinators: [{ url }], ...more })
      const standbys = [{ group: 1, address: formatAddress(other) }]
      const listing = await fileOf(role, { register: true, standbys })
      const [byRole, bySuperuser] = [await fileOf(role), await fileOf(superuser)]
      const expectDone = async (file: string, args: readonly string[]) => {
        const ran = await citusHa([...args, '--config', file])
        const [command, ...rest] = args
        const told = `${command} ${rest.join(' ')}\n${ran.stdout}${ran.stderr}`
        expect.soft(caught.lines(), told).toEqual([])
        expect(ran.exitCode, told).toBe(0)
      }
      // What the test asks itself is not to meet a trap.
      const registered = async (role: string) => {
        const sql = `SET search_path = pg_catalog; SELECT nodename || ':' || nodeport AS at FROM pg_dist_node
          WHERE groupid = 1 AND noderole = '${role}'::noderole`
        return (await on(cluster.coordinator, sql)).map(({ at }) => at)
      }
      const failOver = async (from: Server, to: Server) => {
        await from.kill()
        await to.promote()
      }
      const registering = await fileOf(superuser, { register: true, standbys })
      if (!place.stopsSync) {
        await expectDone(byRole, ['forget', formatAddress(other), '--force'])
        await expectDone(registering, ['install'])
        await expectDone(listing, ['reconcile'])
        expect(await registered('secondary')).toEqual([formatAddress(other)])
      }
      await expectDone(byRole, ['switchover', '--group', '1', '--yes'])
      expect(await registered('primary')).toEqual([formatAddress(other)])
      await cluster.rejoin(one, other)
      await expectDone(bySuperuser, ['switchover', '--group', '1', '--yes'])
      expect(await registered('primary')).toEqual([formatAddress(one)])
      await cluster.rejoin(other, one)
      await failOver(one, other)
      await expectDone(byRole, ['event', 'promoted', formatAddress(other)])
      expect(await registered('primary')).toEqual([formatAddress(other)])
      await cluster.rejoin(one, other)
      await failOver(other, one)
      await expectDone(bySuperuser, ['reconcile'])
      expect(await registered('primary')).toEqual([formatAddress(one)])
      const watching = await Watching.start(scenario)
      try {
        const [fenced] = (await watching.service.fence({ database: null, group: 1, ttlMs: 5000 })) ?? []
        expect(fenced?.outcome).toBe('fenced')
        await watching.service.release({ database: null, group: 1 })
      } finally {
        await watching.stop()
      }
      expect(caught.lines()).toEqual([])
      await expectNothingGained()
    }, 300_000)
  })

  interface Imposture {
    readonly what: string
    /** By whom, and what; in the application's database, on the coordinator and both workers. */
    readonly made: readonly (readonly [user: string, sql: string])[]
    readonly named: RegExp
  }
  const TRAP = `BEGIN RAISE LOG 'hostile code ran: as %', current_user; ALTER ROLE mallory SUPERUSER; RETURN NULL; END`
  const FAKE = `
    CREATE SCHEMA citus_ha; GRANT USAGE ON SCHEMA citus_ha TO PUBLIC;
    CREATE FUNCTION citus_ha.trap() RETURNS int LANGUAGE plpgsql AS $$ ${TRAP} $$;
    CREATE VIEW citus_ha.migration AS SELECT 3 AS number, citus_ha.trap();
    CREATE VIEW citus_ha.epoch AS SELECT 1 AS coordinator_timeline, 1 AS epoch, citus_ha.trap();
    GRANT SELECT ON ALL TABLES IN SCHEMA citus_ha TO PUBLIC;
    CREATE FUNCTION citus_ha.node_identity(OUT system_identifier text, OUT in_recovery boolean, OUT timeline int,
      OUT history text) LANGUAGE plpgsql AS $$ ${TRAP.replace('RETURN NULL', 'RETURN')} $$;`
  it('has none of his code run where he makes the schema after it was looked for', async () => {
    const { database } = scenario.cluster
    const at = server('coordinator')
    const local = (sql: string) => `SET citus.enable_ddl_propagation = off; ${sql}`
    await on(at, local('CREATE ROLE mallory LOGIN'))
    await on(at, local(`DROP SCHEMA citus_ha CASCADE; GRANT CREATE ON DATABASE ${database} TO mallory`))
    const coordinators = [at.url(database, 'citus_ha')]
    const access = new Connections(await loadConfig({ coordinators, env: {} }), {})
    try {
      expect(await access.prober(database).probe(at)).toMatchObject({ kind: 'answered', installed: null })
      const caught = new Caught([at])
      const lead = `CREATE FUNCTION citus_ha.take_lead() RETURNS int LANGUAGE plpgsql AS $$ ${TRAP} $$`
      await on(at, local(`${FAKE}; ${lead}`), 'mallory')
      const session = await access.open(at, database)
      await expect(session.run('SELECT citus_ha.take_lead()', 5000)).rejects.toThrow(
        /the schema citus_ha was not made by citus-ha: .*mallory/,
      )
      expect(caught.lines()).toEqual([])
      await session.close()
    } finally {
      await access.close()
    }
  })

  it('has none of his code run where he makes the schema while a statement of ours waits', async () => {
    const { database } = scenario.cluster
    const at = server('coordinator')
    const local = (sql: string) => `SET citus.enable_ddl_propagation = off; ${sql}`
    await on(at, local('CREATE ROLE mallory LOGIN'))
    await on(at, local(`DROP SCHEMA citus_ha CASCADE; GRANT CREATE ON DATABASE ${database} TO mallory`))
    const coordinators = [at.url(database, 'citus_ha')]
    const access = new Connections(await loadConfig({ coordinators, env: {} }), {})
    const mallory = await at.connect({ database, user: 'mallory' })
    try {
      const caught = new Caught([at])
      const lead = `CREATE FUNCTION citus_ha.take_lead() RETURNS int LANGUAGE plpgsql AS $$ ${TRAP} $$`
      await mallory.query('BEGIN; SELECT pg_advisory_xact_lock(17)')
      const session = await access.open(at, database)
      const ran = session
        .run('SELECT pg_advisory_xact_lock(17); SELECT citus_ha.take_lead()', 10_000)
        .catch((error: unknown) => error)
      const waits = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 17 AND NOT granted`
      await Promise.race([ran, waitUntil('it waits', async () => (await on(at, waits)).length > 0)])
      await mallory.query(`${local(`${FAKE}; ${lead}`)}; COMMIT`)
      expect(await ran).toMatchObject({ code: '3F000' })
      expect(caught.lines()).toEqual([])
      await session.close()
    } finally {
      await mallory.end()
      await access.close()
    }
  })

  const impostures: readonly Imposture[] = [
    {
      what: 'made by whoever may CREATE in the database, before install',
      made: [
        ['postgres', 'DROP SCHEMA citus_ha CASCADE'],
        ['postgres', 'GRANT CREATE ON DATABASE app TO mallory'],
        ['mallory', FAKE],
      ],
      named: /the schema of mallory, which is no superuser/,
    },
    {
      what: 'his, and given to a superuser afterwards',
      made: [
        ['postgres', 'DROP SCHEMA citus_ha CASCADE'],
        ['postgres', 'GRANT CREATE ON DATABASE app TO mallory'],
        ['mallory', FAKE],
        ['postgres', 'REASSIGN OWNED BY mallory TO postgres'],
      ],
      named: /unexpected: rule _RETURN on (epoch|migration)/,
    },
    {
      what: 'in which he may CREATE',
      made: [
        ['postgres', 'GRANT CREATE, USAGE ON SCHEMA citus_ha TO mallory'],
        [
          'mallory',
          `CREATE FUNCTION citus_ha.may_have_address(int, text, bigint) RETURNS int LANGUAGE plpgsql AS $$ ${TRAP} $$`,
        ],
      ],
      named:
        /function may_have_address of mallory, which is no superuser.*mallory, which is no superuser, may CREATE in it/,
    },
    {
      what: 'with a trigger of his on one of our tables',
      made: [
        [
          'postgres',
          'GRANT TRIGGER ON ALL TABLES IN SCHEMA citus_ha TO mallory; GRANT USAGE ON SCHEMA citus_ha TO mallory',
        ],
        ['postgres', 'CREATE SCHEMA evil AUTHORIZATION mallory'],
        [
          'mallory',
          `CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS $$ ${TRAP} $$;
           CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON citus_ha.epoch EXECUTE FUNCTION evil.trap();
           CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON citus_ha.pause EXECUTE FUNCTION evil.trap();`,
        ],
      ],
      named: /unexpected: trigger trap on epoch/,
    },
    {
      what: 'in which a superuser has tables call functions of his',
      made: [
        ['postgres', 'CREATE SCHEMA evil AUTHORIZATION mallory; GRANT USAGE ON SCHEMA evil TO PUBLIC'],
        [
          'mallory',
          `CREATE FUNCTION evil.trap() RETURNS bigint LANGUAGE plpgsql AS $$ ${TRAP} $$;
           CREATE FUNCTION evil.trap(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT evil.trap()'`,
        ],
        ['postgres', 'ALTER TABLE citus_ha.epoch ALTER epoch SET DEFAULT evil.trap()'],
      ],
      named: /unexpected: function evil.trap\(\) behind epoch/,
    },
  ]

  it.each(impostures)('a schema citus_ha $what is named, and nothing in it runs', async ({ made, named }) => {
    const { database } = scenario.cluster
    for (const node of nodes()) {
      await on(node, 'SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN')
      for (const [user, sql] of made) {
        const here = sql.replace(/DATABASE app\b/, `DATABASE ${database}`)
        await on(node, `SET citus.enable_ddl_propagation = off; ${here}`, user)
      }
    }
    await scenario.settle()
    const caught = new Caught(scenario.cluster.servers)
    for (const user of ['postgres', 'citus_ha']) {
      const coordinator = ['--coordinator', server('coordinator').url(database, user)]
      for (const [command, ...rest] of COMMANDS) {
        if (command === 'install' && user !== 'postgres') continue
        const ran = await citusHa([command, ...coordinator, ...rest])
        const told = `${user}: ${command}: ${ran.exitCode}\n${ran.stdout}${ran.stderr}`
        expect.soft(caught.lines(), told).toEqual([])
        if (command === 'history' && user === 'citus_ha') continue
        expect.soft(`${ran.stdout}${ran.stderr}`, told).toMatch(named)
        expect.soft(ran.exitCode, told).not.toBe(1)
      }
    }
    expect(
      await on(server('coordinator'), `SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'`),
    ).toEqual([{ rolsuper: false }])
  })

  it.each(impostures)(
    'a schema $what is found out where one of ours was before, and nothing in it runs',
    async ({ made, named }) => {
      const { database } = scenario.cluster
      const at = server('coordinator')
      const coordinators = [at.url(database, 'citus_ha')]
      const access = new Connections(await loadConfig({ coordinators, env: {} }), {})
      const call = async () => {
        const session = await access.open(at, database)
        try {
          return await session.run('SELECT system_identifier FROM citus_ha.node_identity()', 5000)
        } finally {
          await session.close()
        }
      }
      try {
        for (let n = 0; n < 2; n++)
          expect(await access.prober(database).probe(at)).toMatchObject({
            untrusted: [],
            installed: { drift: [] },
          })
        expect(await call()).toHaveLength(1)
        await on(at, 'SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN')
        for (const [user, sql] of made) {
          const here = sql.replace(/DATABASE app\b/, `DATABASE ${database}`)
          await on(at, `SET citus.enable_ddl_propagation = off; ${here}`, user)
        }
        const caught = new Caught([at])
        const seen = await access.prober(database).probe(at)
        expect(seen).toMatchObject({ kind: 'answered', installed: null })
        expect(seen.kind === 'answered' && seen.untrusted.join(', ')).toMatch(named)
        await expect(call()).rejects.toThrow(named)
        expect(caught.lines()).toEqual([])
      } finally {
        await access.close()
      }
    },
  )

  it.each([
    ['in the schema citus_ha', 'citus_ha'],
    ['beside PostgreSQL’s own', 'pg_catalog'],
  ])('a trusted extension %s, of who may CREATE in the database, keeps nobody out', async (_, schema) => {
    const { database } = scenario.cluster
    for (const node of nodes()) {
      const off = 'SET citus.enable_ddl_propagation = off'
      await on(node, `${off}; CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE ${database} TO mallory`)
      for (const name of ['hstore', 'intarray', 'citext', 'ltree', 'cube', 'tcn'])
        await on(node, `${off}; CREATE EXTENSION ${name} SCHEMA ${schema}`, 'mallory')
    }
    await scenario.settle()
    for (const command of ['status', 'reconcile', 'pause', 'resume'])
      expect(await scenario.run(command)).toMatchObject({ exitCode: 0 })
    expect((await scenario.run('doctor')).stdout).not.toContain('is not citus-ha’s')
    expect((await scenario.install()).stdout).toContain(database)
  })

  it.each([
    ['the lead', `SELECT citus_ha.take_lead() AS done`, { done: false }],
    ['the change lock', `SET lock_timeout = '5s'; SELECT citus_ha.take_change_lock()::text AS done`, null],
  ])('the owner of the database, who ANALYZEs in a transaction, does not keep %s', async (_, take, kept) => {
    const at = server('coordinator')
    const { database } = scenario.cluster
    const off = 'SET citus.enable_ddl_propagation = off'
    for (const node of nodes()) await on(node, `${off}; CREATE ROLE mallory LOGIN`)
    await on(at, `${off}; ALTER DATABASE ${database} OWNER TO mallory`)
    const open = await at.connect({ database, user: 'mallory' })
    open.on('error', () => undefined)
    try {
      await open.query('BEGIN; SET client_min_messages = error; ANALYZE')
      const [row] = await on(at, take, 'citus_ha')
      expect(row).not.toEqual(kept)
    } finally {
      await open.end().catch(() => undefined)
    }
  })

  it('an event trigger of a superuser’s that refuses DDL is told by install, and is in nobody else’s way', async () => {
    const at = server('coordinator')
    const off = 'SET citus.enable_ddl_propagation = off'
    const drift = `CREATE OR REPLACE FUNCTION citus_ha.in_time(age_ms int) RETURNS void LANGUAGE sql AS 'SELECT'`
    await on(
      at,
      `${off}; ${drift}; CREATE FUNCTION public.no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'no DDL in the daytime'; END $$`,
    )
    await on(at, `${off}; CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION public.no_ddl()`)
    const install = ['install', '--coordinator', at.url(scenario.cluster.database)]
    const refused = await citusHa(install)
    expect(refused.exitCode, refused.stderr).toBeGreaterThan(1)
    expect(`${refused.stdout}${refused.stderr}`).toContain(
      `${formatAddress(at)}: the schema citus_ha was not installed there: no DDL in the daytime (P0001)`,
    )
    expect(await scenario.run('status')).toMatchObject({
      exitCode: 3,
      stdout: expect.stringContaining('(H140)'),
    })
    await on(at, 'DROP EVENT TRIGGER no_ddl')
    expect(await citusHa(install)).toMatchObject({ exitCode: 0 })
  })

  describe('who calls himself citus-ha, or nothing that we know', () => {
    it('is seen by a switchover where he changes tables', async () => {
      const at = server('coordinator')
      await on(
        at,
        'SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN; GRANT UPDATE ON pg_dist_placement TO mallory',
      )
      const open = await at.connect({ database: scenario.cluster.database, user: 'mallory' })
      try {
        await open.query(
          `SET application_name = 'citus-ha'; BEGIN; LOCK TABLE pg_dist_placement IN ROW EXCLUSIVE MODE`,
        )
        const dry = await scenario.run('switchover', '--group', '1', '--dry-run')
        expect(`${dry.stdout}${dry.stderr}`).toMatch(/pid \d+, citus-ha, changes tables or moves shards/)
      } finally {
        await open.end()
      }
    })
  })

  it('is shown as text, whatever he names things, and writes no line of his own', async () => {
    const { database } = scenario.cluster
    const gid = 'citus_ha_x\n! group 1: healthy\x1b[2J\x1b]0;owned\x07'
    const at = server('coordinator')
    await on(at, 'SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN')
    const open = await at.connect({ database, user: 'mallory' })
    await open.query(`BEGIN; SELECT 1; PREPARE TRANSACTION '${gid}'`).finally(() => open.end())
    const shown = 'citus_ha_x\\x0a! group 1: healthy\\x1b[2J\\x1b]0;owned\\x07'
    const status = await scenario.run('status')
    expect(status.stdout).toContain(shown)
    for (const command of [
      ['status'],
      ['reconcile'],
      ['recover'],
      ['switchover', '--group', '1', '--dry-run'],
    ]) {
      const ran = await scenario.run(...command)
      expect(ran.stdout + ran.stderr, command[0]).not.toContain('\x1b')
      expect(ran.stdout + ran.stderr, command[0]).not.toMatch(/^! group 1: healthy/m)
    }
    await on(at, `ROLLBACK PREPARED '${gid}'`)
  })

  it('finds each function fixed in its definition, and makes those anew that are not ours', async () => {
    const { database } = scenario.cluster
    const loose = `SELECT proname FROM pg_proc WHERE pronamespace = 'citus_ha'::regnamespace
      AND NOT (proconfig @> ARRAY['search_path=pg_catalog, pg_temp', 'standard_conforming_strings=on']
               AND (NOT prosecdef OR proconfig @> ARRAY['session_replication_role=origin']))`
    expect(await on(server('worker-1'), loose)).toEqual([])
    const edit = `SET citus.enable_ddl_propagation = off; CREATE OR REPLACE FUNCTION citus_ha.fence(fenced_groups int[])
      RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'`
    await on(server('coordinator'), edit)
    const doctor = await scenario.run('doctor')
    expect(doctor.stdout).toContain('the schema citus_ha differs from that of this citus-ha: fence() differs')
    expect(await scenario.run('pause')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('fence() differs'),
    })
    const install = await citusHa(['install', '--coordinator', server('coordinator').url(database)])
    expect(install.stdout).toContain('functions created again: fence() differs')
    expect((await scenario.run('doctor')).stdout).not.toContain('differs from that of this citus-ha')
    const again = await citusHa(['install', '--coordinator', server('coordinator').url(database)])
    expect(again.stdout).not.toContain('anew')
  })

  it('locks every shard whatever the session is set to, and no table that only has a shard’s name', async () => {
    const worker = server('worker-1')
    const [shards] = await on(worker, 'SELECT count(*)::int AS n FROM citus_ha.own_shards()')
    const [name] = await on(worker, `SELECT min(shard::text) AS shard FROM citus_ha.own_shards() AS shard`)
    const id = String(name?.shard).split('_').at(-1)
    await on(
      worker,
      `SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory`,
    )
    await on(worker, `CREATE TABLE public.mine_${id} (); CREATE TABLE public.items_${id}0 ()`, 'mallory')
    const lock = 'SET standard_conforming_strings = off; BEGIN; SELECT citus_ha.lock_shards() AS n'
    expect(await on(worker, lock, 'citus_ha')).toEqual([shards])
    expect(Number(shards?.n)).toBeGreaterThan(0)
  })

  it('has no transaction that he prepared taken for a change of ours, and each is named', async () => {
    const { database } = scenario.cluster
    const gid = `citus_ha_x_${database}_1_99_abcdef_1`
    for (const node of nodes()) {
      await on(node, 'SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN')
      const open = await node.connect({ database, user: 'mallory' })
      await open.query(`BEGIN; SELECT 1; PREPARE TRANSACTION '${gid}'`).finally(() => open.end())
    }
    const named = new RegExp(
      `prepared transaction ${gid} in database ${database}, owner mallory, is not citus-ha’s`,
    )
    const status = await scenario.run('status')
    expect(`${status.stdout}${status.stderr}`).toMatch(named)
    const dry = await scenario.run('switchover', '--group', '1', '--dry-run')
    expect(`${dry.stdout}${dry.stderr}`).not.toContain('in doubt')
    expect(await scenario.run('recover')).toMatchObject({
      exitCode: 0,
      stdout: 'no transaction is in doubt\n',
    })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const left = `SELECT gid FROM pg_prepared_xacts WHERE owner = 'mallory'`
    for (const node of nodes()) {
      expect(await on(node, left)).toEqual([{ gid }])
      await on(node, `ROLLBACK PREPARED '${gid}'`)
    }
  })

  it.each(['NaN', 'Infinity', '-1', '1.5', '1e3', '99999999999999999999999'])(
    'lets our own role not put a position on record that nobody can read: %s',
    async (lsn) => {
      const at = server('coordinator')
      await scenario.reconcile()
      const record = `SELECT citus_ha.record_positions(jsonb_agg(jsonb_build_object('group', groupid, 'host', 'x', 'port', 1,
        'systemIdentifier', system_identifier, 'timeline', timeline, 'history', history, 'inRecovery', false, 'lsn', '${lsn}')))
        FROM citus_ha.lineage`
      await on(at, record, 'citus_ha')
      const [row] = await on(at, `SELECT string_agg(positions::text, '') AS positions FROM citus_ha.lineage`)
      expect(row?.positions).not.toContain('"x"')
      expect(await scenario.run('status')).toMatchObject({ exitCode: 0 })
    },
  )

  it.each([
    [
      'rewrite',
      `BEGIN; SELECT citus_ha.fence('{}'); SELECT citus_ha.rewrite(2147483647, 9223372036854775807, '[]', '{}')`,
    ],
    [
      'rewrite, a little',
      `BEGIN; SELECT citus_ha.fence('{}'); SELECT citus_ha.rewrite(1, 1000001, '[]', '{}')`,
    ],
  ])('lets our own role not spoil the order of changes: %s', async (_, sql) => {
    for (const node of nodes())
      await expect(on(node, sql, 'citus_ha')).rejects.toMatchObject({ code: 'HA004' })
    await expect(
      on(
        server('worker-1'),
        `BEGIN; SELECT citus_ha.fence('{}'); SELECT citus_ha.rewrite(1, 1, '[]', '{}'); ROLLBACK`,
        'citus_ha',
      ),
    ).resolves.toBeDefined()
  })
})
