import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { standin, timed } from '../support/clients.ts'
import { addDatabase } from '../support/databases.ts'
import { Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const DISCOVERY_MS = 10 * 300
/** DROP DATABASE itself waits 5 s for other sessions before it refuses. */
const DROP_LIMIT_MS = 4500

describe('databases that come and go under a watcher', () => {
  let scenario: Scenario
  let watching: Watching | null = null
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await watching?.stop()
    watching = null
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A watcher of `app` that has found the new database `later`. */
  async function watchBoth(): Promise<Watching> {
    const seen = await Watching.start(scenario)
    watching = seen
    expect(seen.service.states.map(({ database }) => database)).toEqual(['app'])
    const { ms } = await timed(async () => {
      await addDatabase(scenario, 'later')
      await scenario.install()
      await tellsOf(seen, 'later', 'watched')
    })
    expect(ms).toBeLessThan(DISCOVERY_MS + 15_000)
    await seen.settled()
    return seen
  }

  async function drop(on: Server, database: string, how = ''): Promise<void> {
    const run = (sql: string) => on.query(sql, [], { database: 'postgres' })
    const { ms } = await timed(() =>
      run(`DROP DATABASE ${database} ${how}`).catch(async (cause: unknown) => {
        const there = await run(
          `SELECT usename, application_name, backend_type FROM pg_stat_activity WHERE datname = '${database}'`,
        )
        throw new Error(`${on.name}: ${JSON.stringify(there)}`, { cause })
      }),
    )
    expect(ms, on.name).toBeLessThan(DROP_LIMIT_MS)
  }

  /** Citus keeps connections of its own between nodes; none is ours. */
  async function dropOnWorkers(database: string): Promise<void> {
    for (const worker of ['worker-1', 'worker-2'].map(server)) {
      const sql = `SELECT application_name FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'citus-ha%'`
      expect(await worker.query(sql, [database]), worker.name).toEqual([])
      await drop(worker, database, 'WITH (FORCE)')
    }
  }

  /** Waits until the watcher has looked into each database so many times: into the new one `plain`, too. */
  async function discoveries(count: number): Promise<void> {
    const ask = async <Row extends { n: number }>(sql: string) =>
      (await server('coordinator').query<Row>(sql, [], { database: 'postgres' }))[0]?.n
    await ask('CREATE DATABASE plain')
    let seen = 0
    let last = 0
    await waitUntil(`${count} discoveries`, async () => {
      const now =
        (await ask(`SELECT xact_commit::int AS n FROM pg_stat_database WHERE datname = 'plain'`)) ?? 0
      if (now !== last) seen++
      last = now
      return seen >= count
    })
  }

  it('one that appears is watched, and a promotion changed in both', async () => {
    const seen = await watchBoth()
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await seen.changed(2)
    expect(seen.changes.map(({ database }) => database).sort()).toEqual(['app', 'later'])
    const truth = formatAddress(server('worker-1-standby'))
    for (const name of ['coordinator', 'worker-1-standby', 'worker-2']) {
      for (const database of ['app', 'later']) {
        const sql = `SELECT nodename || ':' || nodeport AS at FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary'`
        expect(await server(name).query(sql, [], { database }), `${name} ${database}`).toEqual([
          { at: truth },
        ])
      }
    }
  })

  it.skipIf(standin)('one that loses Citus is let go, and may be dropped everywhere', async () => {
    const seen = await watchBoth()
    await server('coordinator').query('DROP EXTENSION citus CASCADE', [], { database: 'later' })
    await tellsOf(seen, 'later', 'gone')
    await drop(server('coordinator'), 'later')
    await dropOnWorkers('later')
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await seen.changed(1)
    expect(seen.changes.map(({ database }) => database)).toEqual(['app'])
  })

  it('one that is dropped by force is gone, and nothing of ours keeps the workers from dropping it', async () => {
    const seen = await watchBoth()
    await drop(server('coordinator'), 'later', 'WITH (FORCE)')
    await tellsOf(seen, 'later', 'gone')
    await dropOnWorkers('later')
    expect(seen.service.states.map(({ database }) => database)).toEqual(['app'])
    expect(seen.of('failed').filter(({ message }) => message.includes('unexpected:'))).toEqual([])
  })

  it('a look at a database that fails does not end its watch', async () => {
    const seen = await watchBoth()
    const refuse = (limit: number) =>
      server('coordinator').query(`ALTER DATABASE later CONNECTION LIMIT ${limit}`)
    await refuse(0)
    await server('coordinator').query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'later' AND usename = 'citus_ha'`,
    )
    await discoveries(2)
    await refuse(-1)
    await seen.settled()
    expect(seen.of('database').map(({ database, now }) => `${database} ${now}`)).toEqual([
      'app watched',
      'later watched',
    ])
  })

  it('a database without Citus may be dropped at any time', async () => {
    watching = await Watching.start(scenario)
    await discoveries(2)
    await drop(server('coordinator'), 'plain')
  })
})

async function tellsOf(seen: Watching, name: string, what: 'watched' | 'gone'): Promise<void> {
  const tells = () => seen.of('database').some(({ database, now }) => database === name && now === what)
  await waitUntil(`${name} is ${what}`, tells)
}
