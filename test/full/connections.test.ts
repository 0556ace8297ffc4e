import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Caught, traps } from '../support/hostile.ts'
import { hasPooler, Pooler } from '../support/pooler.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

const OFF = 'SET citus.enable_ddl_propagation = off'

describe('a connection of ours', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const on = (at: Server, sql: string, user = 'postgres') =>
    at.query(sql, [], { database: scenario.cluster.database, user })

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}] }, {}] })
  })
  afterAll(async () => {
    await scenario?.stop()
  })
  beforeEach(async () => {
    await scenario.restore()
  })

  describe('through a connection pooler', () => {
    let pooler: Pooler | null = null
    afterEach(async () => {
      await pooler?.stop()
      pooler = null
    })

    it.for<[string, string, RegExp]>([
      [
        'that drops the options of the startup',
        'options',
        /settings of this session were dropped on the way \(search_path is /,
      ],
      ['that refuses them', '', /unsupported startup parameter/],
    ])('%s is refused, and told what to do', async ([, ignored, why], context) => {
      if (!(await hasPooler())) return context.skip('no pgbouncer is installed')
      const { database } = scenario.cluster
      const at = server('coordinator')
      await on(at, `${OFF}; CREATE ROLE mallory LOGIN; ALTER DATABASE ${database} OWNER TO mallory`)
      await on(at, `${OFF}; CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC`, 'mallory')
      await on(at, `${OFF}; ${traps('evil', 'mallory')}`, 'mallory')
      await on(at, `${OFF}; ALTER DATABASE ${database} SET search_path = evil, pg_catalog`, 'mallory')
      pooler = await Pooler.start(at, ignored)
      const caught = new Caught([at])
      const url = `postgres://citus_ha@${formatAddress(pooler.address)}/${database}`
      for (const command of ['status', 'reconcile', 'doctor', 'pause']) {
        const ran = await citusHa([command, '--coordinator', url])
        const told = `${command}: ${ran.exitCode}\n${ran.stdout}${ran.stderr}`
        expect.soft(ran.exitCode, told).toBeGreaterThan(1)
        expect.soft(`${ran.stdout}${ran.stderr}`, told).toMatch(why)
        expect.soft(`${ran.stdout}${ran.stderr}`, told).toContain(formatAddress(pooler.address))
        expect.soft(`${ran.stdout}${ran.stderr}`, told).toMatch(/"addresses" of the configuration/)
      }
      expect(caught.lines()).toEqual([])
    })

    it.for<[string, string]>([
      ['that drops the options', 'options'],
      ['that refuses them', ''],
    ])(
      '%s, at which a worker is registered, is named, and a line of the configuration goes around it',
      async ([, ignored], context) => {
        if (!(await hasPooler())) return context.skip('no pgbouncer is installed')
        pooler = await Pooler.start(server('worker-2'), ignored)
        const { host, port } = pooler.address
        for (const name of ['coordinator', 'worker-1', 'worker-2'])
          await on(
            server(name),
            `UPDATE pg_dist_node SET nodename = '${host}', nodeport = ${port} WHERE nodeid = 3`,
          )
        const name = formatAddress(pooler.address)
        const told = await scenario.run('reconcile')
        expect(`${told.stdout}${told.stderr}`).toMatch(
          new RegExp(`${name.replaceAll('.', '\\.')}.*"addresses" of the configuration`),
        )
        const real = formatAddress(server('worker-2'))
        const file = await scenario.configFile({ addresses: { [name]: { connect: real } } })
        const around = await scenario.run('status', '--config', file)
        expect(around, around.stdout).toMatchObject({ exitCode: 0 })
        const admin = ['install', '--coordinator', server('coordinator').url(scenario.cluster.database)]
        const left = await citusHa(admin)
        expect(left.exitCode, left.stdout).toBe(3)
        expect(left.stdout).toMatch(/^group 2: left out, nothing was recorded: /m)
        expect(left.stdout).toMatch(
          new RegExp(`^ .*${name.replaceAll('.', '\\.')}.*"addresses" of the configuration`, 'm'),
        )
        const installed = await citusHa([...admin, '--config', file])
        expect(installed, installed.stdout).toMatchObject({ exitCode: 0 })
        expect(around.stdout).not.toContain('"addresses"')
      },
    )
  })

  interface Setting {
    readonly name: string
    readonly vartype: string
    readonly least: string | null
    readonly most: string | null
    readonly setting: string
    readonly values: string[] | null
  }
  /** What our settings leave alone on purpose: it says what this server is; or can't be set so that anybody gets in. */
  const LEFT_ALONE = [
    'default_transaction_read_only',
    // Who sets one that this session may not take gets a warning; a superuser's session refuses to install.
    'role',
    // Of the connection itself, sent by each driver.
    'client_encoding',
  ]

  /** Every setting that anybody may set, one way of each at a time. */
  const EXTREMES: readonly [string, (one: Setting) => string | null][] = [
    ['at its least', ({ vartype, least }) => (vartype === 'integer' || vartype === 'real' ? least : null)],
    // 0 is off for most limits of time.
    [
      'at 1, where 0 is off',
      ({ name, vartype }) => (vartype === 'integer' && /timeout|interval|keepalive/.test(name) ? '1' : null),
    ],
    ['at its most', ({ vartype, most }) => (vartype === 'integer' || vartype === 'real' ? most : null)],
    [
      'the other way',
      ({ vartype, setting }) => (vartype === 'bool' ? (setting === 'on' ? 'off' : 'on') : null),
    ],
    ['its first choice', ({ values, setting }) => values?.find((value) => value !== setting) ?? null],
    ['its last choice', ({ values, setting }) => values?.findLast((value) => value !== setting) ?? null],
    [
      'a text',
      ({ name, vartype }) =>
        vartype === 'string' && !/search_path|tablespace|access_method|lc_/.test(name) ? 'nonsense' : null,
    ],
    ['all that PL/pgSQL has', ({ name }) => (/^plpgsql\.extra_/.test(name) ? 'all' : null)],
  ]

  it.each(EXTREMES)('works whatever the database’s owner has set: each %s', async (_, extremeOf) => {
    const { database } = scenario.cluster
    const commands = [
      ['status'],
      ['reconcile'],
      ['watch', '--once'],
      ['pause'],
      ['resume'],
      ['recover'],
      ['switchover', '--group', '1', '--dry-run'],
    ]
    const control = []
    for (const [command = '', ...rest] of commands)
      control.push((await scenario.run(command, ...rest)).exitCode)
    // Those of PL/pgSQL are there once it is.
    const settings = (await on(
      server('coordinator'),
      `LOAD 'plpgsql'; SELECT name, vartype, min_val AS least, max_val AS most, setting, enumvals AS values FROM pg_settings WHERE context = 'user'`,
    )) as unknown as Setting[]
    // So that install has something to make.
    await on(server('coordinator'), `${OFF}; DROP FUNCTION citus_ha.fence_once`)
    const set: string[] = []
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      const at = server(name)
      const admin = await at.connect({ database: 'postgres', user: 'postgres' })
      try {
        await admin.query(`CREATE ROLE mallory LOGIN`)
        await admin.query(`ALTER DATABASE ${database} OWNER TO mallory`)
        await admin.query(`${OFF}; SET SESSION AUTHORIZATION mallory`)
        await admin.query(`DO 'BEGIN END'`)
        for (const one of settings.filter(({ name }) => !LEFT_ALONE.includes(name))) {
          const value = extremeOf(one)
          if (value === null) continue
          // What PostgreSQL does not take from him does no harm.
          const sql = `ALTER DATABASE ${database} SET ${one.name} = '${value}'`
          await admin.query(sql).then(
            () => set.push(one.name),
            () => undefined,
          )
        }
      } finally {
        await admin.end()
      }
    }
    expect(set.length).toBeGreaterThan(5)
    await scenario.install()
    await scenario.settle()
    for (const [n, [command = '', ...rest]] of commands.entries()) {
      const ran = await scenario.run(command, ...rest)
      expect.soft(ran.exitCode, `${command}\n${ran.stdout}${ran.stderr}\n${set.join(' ')}`).toBe(control[n])
    }
  })
})
