import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { dataOf, dumpOf, hasClients, psql } from '../support/dumps.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

const NODES = ['coordinator', 'worker-1', 'worker-2']

describe.skipIf(!(await hasClients()))('install says what it does', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const database = () => scenario.cluster.database
  const admin = () =>
    ['coordinator', 'coordinator-standby'].flatMap((name) => ['--coordinator', server(name).url(database())])
  const install = (...args: string[]) => citusHa(['install', ...admin(), ...args])
  const everything = async () =>
    await Promise.all(
      NODES.map(async (name) => [
        name,
        await dumpOf(server(name), database()),
        (
          await server(name).query(`SELECT FROM pg_namespace WHERE nspname = 'citus_ha'`, [], {
            database: database(),
          })
        ).length === 0
          ? ''
          : await dataOf(server(name), database()),
      ]),
    )
  const said = (name: string, stdout: string): string[] =>
    stdout
      .split('\n')
      .filter((line) => line.startsWith(`${at(name)}, database ${database()}: `))
      .map((line) => line.slice(`${at(name)}, database ${database()}: `.length))

  beforeAll(async () => {
    scenario = await Scenario.start({ install: 'no', workers: [{ standbys: [{}] }, {}] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('on each node: what was created, applied, granted and allowed; then that all is up to date', async () => {
    const first = await install()
    expect(first, first.stderr).toMatchObject({ exitCode: 0 })
    for (const name of NODES)
      expect(said(name, first.stdout), name).toEqual([
        'schema citus_ha created',
        expect.stringMatching(/^migrations 1, 2, 3.* applied$/),
        'functions created',
        'role citus_ha created',
        'pg_read_all_stats granted to citus_ha',
        ...(server(name) && (await reserves(name))
          ? ['pg_use_reserved_connections granted to citus_ha']
          : []),
        'USAGE of the schema citus_ha, SELECT of its tables, EXECUTE of its functions granted to citus_ha',
        `address ${at('coordinator')} allowed in rows of group 0`,
        `address ${at('coordinator-standby')} allowed in rows of group 0`,
        ...(name === 'coordinator' ? ['identity and timeline history of group 0, 1, 2 recorded'] : []),
      ])
    const again = await install()
    expect(again).toMatchObject({ exitCode: 0 })
    expect(again.stdout).toBe(
      NODES.map((name) => `${at(name)}, database ${database()}: up to date\n`).join(''),
    )
  })

  const reserves = async (name: string) =>
    (await server(name).query(`SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections'`))
      .length === 1

  it('each thing that is missing, alone', async () => {
    await install()
    const cases: readonly (readonly [string, string, string | readonly string[]])[] = [
      ['REVOKE pg_read_all_stats FROM citus_ha', 'worker-1', 'pg_read_all_stats granted to citus_ha'],
      [
        'REVOKE EXECUTE ON FUNCTION citus_ha.fence(int[]) FROM citus_ha',
        'worker-2',
        'USAGE of the schema citus_ha, SELECT of its tables, EXECUTE of its functions granted to citus_ha',
      ],
      [
        'DELETE FROM citus_ha.allowed_address WHERE nodeport = (SELECT max(nodeport) FROM citus_ha.allowed_address)',
        'worker-2',
        expect.stringMatching(/^address .* allowed in rows of group 0$/),
      ],
      [
        'ALTER FUNCTION citus_ha.fence(int[]) SECURITY INVOKER',
        'coordinator',
        [
          'functions created again: fence() differs',
          'USAGE of the schema citus_ha, SELECT of its tables, EXECUTE of its functions granted to citus_ha',
        ],
      ],
    ]
    for (const [sql, node, line] of cases) {
      await server(node).query(sql, [], { database: database() })
      const ran = await install()
      expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
      for (const name of NODES)
        expect(said(name, ran.stdout), sql).toEqual(name === node ? [line].flat() : ['up to date'])
    }
  })

  it('a role that was not there, which a mistyped --role makes, is named; in JSON too', async () => {
    await install()
    const ran = await install('--role', 'ops', '--json')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    const { databases } = JSON.parse(ran.stdout)
    expect(databases).toHaveLength(1)
    expect(databases[0]).toMatchObject({ database: database(), outcome: 'installed' })
    for (const node of databases[0].nodes) {
      expect(node.steps).toContainEqual({ kind: 'role', summary: 'role ops created' })
    }
    const again = await install('--role', 'ops', '--json')
    expect(JSON.parse(again.stdout)).toMatchObject({ exitCode: 0, databases: [{ outcome: 'up to date' }] })
  })

  it('--dry-run tells the same and changes nothing: before the first install, and of what is missing', async () => {
    const line = / would be (created|applied|granted|allowed|created again|recorded)/g
    for (const step of ['first', 'another role']) {
      const args = step === 'another role' ? ['--role', 'ops', '--switchover'] : []
      const before = await everything()
      const dry = await install(...args, '--dry-run')
      expect(dry, dry.stderr).toMatchObject({ exitCode: 0 })
      expect(await everything(), step).toEqual(before)
      const done = await install(...args)
      const changes = done.stdout.split('\n').filter((each) => !each.includes(' may '))
      expect(dry.stdout.replaceAll(line, ' $1'), step).toBe(changes.join('\n'))
    }
  })

  it('--print-sql, run by psql on each node, is an install: there is nothing left to do, and doctor finds nothing', async () => {
    const before = await everything()
    const printed = await install('--print-sql')
    expect(printed, printed.stderr).toMatchObject({ exitCode: 0 })
    expect(await everything()).toEqual(before)

    const piecemeal = await psql(server('worker-1'), database(), printed.stdout, ['-X', '-f', '-'])
    expect(piecemeal).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('psql the option -1') })
    const standby = await psql(server('worker-1-standby'), database(), printed.stdout)
    expect(standby).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('this server is a standby'),
    })
    const elsewhere = await psql(server('worker-1'), 'postgres', printed.stdout)
    expect(elsewhere).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('no part of this script'),
    })
    await server('worker-1').query('CREATE ROLE plain LOGIN')
    const plain = await psql(server('worker-1'), `${database()}`, `SET ROLE plain; ${printed.stdout}`)
    expect(plain).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('does not run as a superuser'),
    })
    await server('worker-1').query('DROP ROLE plain')
    expect(await everything()).toEqual(before)

    for (const name of NODES)
      expect(await psql(server(name), database(), printed.stdout), name).toMatchObject({ exitCode: 0 })
    const again = await psql(server('worker-2'), database(), printed.stdout)
    expect(again).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('print this script again') })

    const ran = await install()
    expect(ran.stdout).toBe(NODES.map((name) => `${at(name)}, database ${database()}: up to date\n`).join(''))
    await scenario.settle()
    const doctor = await scenario.run('doctor')
    expect(doctor.stdout).toContain('no problem found that would make the next failover fail')
  })

  it('a script runs nothing of a schema citus_ha that somebody made since it was made', async () => {
    const { stdout } = await install('--print-sql')
    const asMallory = [
      'SET citus.enable_ddl_propagation = off',
      'CREATE SCHEMA citus_ha',
      `CREATE FUNCTION citus_ha.evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$`,
      'CREATE VIEW citus_ha.migration AS SELECT citus_ha.evil() AS number',
    ]
    const one = server('worker-1')
    await one.query(`SET citus.enable_ddl_propagation = off; CREATE ROLE mallory LOGIN`)
    await one.query(
      `SET citus.enable_ddl_propagation = off; GRANT CREATE ON DATABASE ${database()} TO mallory`,
    )
    const client = await one.connect({ database: database(), user: 'mallory' })
    for (const text of asMallory) await client.query(text)
    await client.end()
    const ran = await psql(one, database(), stdout)
    expect(ran).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('the schema citus_ha was not made by citus-ha'),
    })
    expect(ran.stderr).not.toContain('evil as')
  })

  it('uninstall takes it all back, as each server was before', async () => {
    const before = await everything()
    await install('--switchover')
    const ran = await citusHa(['uninstall', ...admin(), '--yes'])
    expect(ran, ran.stderr + ran.stdout).toMatchObject({ exitCode: 0 })
    expect(await everything()).toEqual(before)
    for (const name of NODES) expect(said(name, ran.stdout), name).toContain('role citus_ha removed')
  })

  it('a script is of no use once another server was promoted', async () => {
    const { stdout } = await install('--print-sql')
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await psql(server('worker-1-standby'), database(), stdout)).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('another server was promoted'),
    })
  })
})
