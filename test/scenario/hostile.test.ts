import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { Caught, traps } from '../support/hostile.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

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
    })
  })
  afterAll(async () => {
    await scenario?.stop()
  })
  beforeEach(async () => {
    await scenario.restore()
  })

  interface Place {
    readonly who: string
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
        [traps('public', 'mallory'), 'aaa'],
        ['ALTER DATABASE aaa SET search_path = public, pg_catalog', 'aaa'],
      ],
    },
    {
      who: 'as before PostgreSQL 15, when everybody could CREATE in public',
      given: ['GRANT CREATE ON SCHEMA public TO PUBLIC'],
      made: [[traps('public', 'mallory')]],
    },
    {
      who: 'who owns the database, and sets its search_path',
      given: ['ALTER DATABASE app OWNER TO mallory', 'GRANT ALL ON SCHEMA public TO mallory'],
      made: [
        ['CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC'],
        [traps('evil', 'mallory')],
        ['ALTER DATABASE app SET search_path = evil, pg_catalog'],
      ],
    },
    {
      who: 'whose schema is on the search_path of our role and of the superuser',
      given: [
        'CREATE SCHEMA evil AUTHORIZATION mallory',
        'GRANT USAGE ON SCHEMA evil TO PUBLIC',
        'ALTER ROLE citus_ha SET search_path = evil, pg_catalog',
        'ALTER ROLE postgres IN DATABASE app SET search_path = evil, pg_catalog',
      ],
      made: [[traps('evil', 'mallory')]],
    },
  ]

  describe.each(places)('$who', ({ given, made }) => {
    it('has none of his code run by anybody else', async () => {
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
          const owner = sql.startsWith('ALTER SCHEMA public OWNER') ? 'postgres' : 'mallory'
          if (sql.startsWith('CREATE DATABASE')) await on(node, sql, owner, at)
          else await on(node, local(sql), owner, at ?? database)
        }
      }
      await scenario.settle()
      const caught = new Caught(scenario.cluster.servers)
      for (const user of ['postgres', 'citus_ha']) {
        const coordinator = ['--coordinator', server('coordinator').url(database, user)]
        for (const [command, ...rest] of COMMANDS) {
          if (command === 'install' && user !== 'postgres') continue
          const ran = await citusHa([command, ...coordinator, ...rest])
          expect.soft(caught.lines(), `${user}: ${command}`).toEqual([])
          expect.soft(ran.exitCode, `${user}: ${command}\n${ran.stdout}${ran.stderr}`).not.toBe(1)
        }
      }
      for (const node of scenario.cluster.servers) {
        const rolled = `SELECT rolsuper, (SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'citus_ha') AS unset
          FROM pg_roles WHERE rolname = 'mallory'`
        expect(await on(node, rolled, 'postgres', 'postgres')).toEqual([{ rolsuper: false, unset: true }])
      }
    })
  })
})
