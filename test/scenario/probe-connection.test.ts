import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openProbe, type ProbeConnection } from '../../src/db/postgres.ts'
import { resolveTarget } from '../../src/db/target.ts'
import { type Cluster, startCluster } from '../../src/demo/cluster.ts'

// One server is enough: what is asked here is answered by any.
let cluster: Cluster
let connection: ProbeConnection
beforeAll(async () => {
  cluster = await startCluster({ coordinatorStandbys: [], workers: [] })
})
afterAll(async () => {
  await cluster?.stop()
})
afterEach(async () => {
  await connection?.close()
})

const ECHO = `-- What $1 and $2 are.
SELECT $1::text AS text, $2::int AS number, pg_backend_pid() AS pid`
const PATH = `SELECT current_setting('search_path') AS path, pg_backend_pid() AS pid`

async function open(): Promise<ProbeConnection> {
  const { coordinator, database } = cluster
  const settings = { user: 'postgres' }
  return openProbe(await resolveTarget(coordinator, database, settings, { HOME: '/nonexistent' }), 5000)
}

const echo = (text: string, number: number) => ({ sql: ECHO, parameters: [text, number] })

describe('a question that is asked again and again', () => {
  it.each(['plain', `it's`, 'back\\slash', 'a\nline; -- and more', '$2', `'); SELECT 1; --`, ''])(
    'has the values of this time: %j',
    async (text) => {
      connection = await open()
      for (const number of [1, -2, 3]) {
        expect(await connection.one(ECHO, [text, number])).toMatchObject({ text, number })
        const [path, told] = await connection.each([PATH, echo(text, number)])
        expect(path).toMatchObject({ path: 'pg_catalog,pg_temp' })
        expect(told).toMatchObject({ text, number })
      }
    },
  )

  it('fails alone: what comes next is answered, with the values of that time', async () => {
    connection = await open()
    for (let n = 1; n <= 3; n++) {
      const failing = connection.each([
        PATH,
        { sql: 'SELECT 1 / $1::int AS one', parameters: [0] },
        echo('a', n),
      ])
      await expect(failing).rejects.toMatchObject({ code: '22012' })
      expect(await connection.one(ECHO, ['b', n])).toMatchObject({ text: 'b', number: n })
    }
  })

  it.each<[string, (pid: number) => string]>([
    ['the session was ended', (pid) => `SELECT pg_terminate_backend(${pid}, 5000)`],
    ['nothing is prepared in the session any more', () => 'DEALLOCATE ALL'],
  ])('is answered in a session as it has to be, after %s', async (what, sql) => {
    connection = await open()
    const ask = () => connection.each([PATH, echo('a', 1)])
    await ask()
    const [before] = (await ask()) as [{ pid: number }]
    const isEnded = what.includes('ended')
    if (isEnded) await cluster.coordinator.query(sql(before.pid))
    else await connection.one(sql(before.pid)).catch(() => undefined)
    // Of a session that is gone the driver finds out with the next message, or before it; a survey asks once more as well.
    const [path, told] = (await (isEnded ? ask().catch(ask) : ask())) as [
      { pid: number; path: string },
      unknown,
    ]
    expect(path.pid === before.pid).toBe(!isEnded)
    expect(path.path).toBe('pg_catalog,pg_temp')
    expect(told).toMatchObject({ text: 'a', number: 1 })
  })
})
