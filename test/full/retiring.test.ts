import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial, type Server as Listener } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { daemonRuns, standin } from '../support/clients.ts'
import { addNotes } from '../support/swap-clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

/** The one that holds the shards of an old primary. */
const GUARD = `SELECT pg_terminate_backend(l.pid) AS was FROM pg_locks l
  WHERE l.relation = 'citus_ha.retired'::regclass AND l.mode = 'ExclusiveLock' AND l.granted`
/** As if it had not been retired. */
const UNRETIRED = `BEGIN READ WRITE; UPDATE pg_dist_local_group SET groupid = groupid - 1000000000;
  DELETE FROM citus_ha.retired; DELETE FROM pg_dist_poolinfo; COMMIT`

/** A name that leads new connections to another server from some moment on; those that are open stay, as behind a Service. */
class Name {
  to: Server
  /** Of connections as the role `citus_ha`: called before each, with how many there were. */
  before: (connections: number) => void = () => undefined
  #connections = 0
  readonly #listener: Listener

  constructor(to: Server) {
    this.to = to
    this.#listener = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (first) => {
        if (first.toString('latin1').includes('user\0citus_ha')) this.before(this.#connections++)
        const upstream = dial(this.to.port, this.to.host)
        for (const each of [socket, upstream]) {
          each.on('error', () => undefined)
          each.on('close', () => [socket, upstream].forEach((one) => void one.destroy()))
        }
        upstream.write(first)
        socket.pipe(upstream).pipe(socket)
      })
    }).listen(0, '127.0.0.1')
  }

  async port(): Promise<number> {
    if (!this.#listener.listening) await once(this.#listener, 'listening')
    return (this.#listener.address() as AddressInfo).port
  }

  close(): void {
    this.#listener.close()
  }
}

describe.skipIf(standin)('an old primary is retired, and nobody in its place', () => {
  let switching: Switching
  let name: Name | null = null
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [{ kind: 'standby' }], before: addNotes },
  )
  afterEach(() => {
    name?.close()
    name = null
  })

  const sql = <Row extends object>(of: string, text: string) =>
    switching
      .server(of)
      .query<Row & Record<string, unknown>>(text, [], { database: switching.scenario.cluster.database })

  async function groupOf(of: string): Promise<number | undefined> {
    const [row] = await sql<{ groupid: number }>(of, 'SELECT groupid FROM pg_dist_local_group')
    return row?.groupid
  }

  /** The row of a node has a name of the server instead of its address. */
  async function named(nodeid: number, server: string): Promise<Name> {
    name = new Name(switching.server(server))
    await daemonRuns(switching.server('coordinator'), switching.scenario.cluster.database)
    await sql('coordinator', `SELECT citus_update_node(${nodeid}, '127.0.0.1', ${await name.port()})`)
    await switching.scenario.install('--switchover')
    return name
  }

  async function switchover(at: string, then: () => Promise<unknown>, ...args: string[]) {
    let isOver = false
    const reached = async (step: string) => {
      if (step !== at || isOver) return
      isOver = true
      await then()
    }
    const ran = await switching.scenario.runWith({ reached }, 'switchover', '--yes', '--json', ...args)
    return { ...ran, report: JSON.parse(ran.stdout) }
  }

  it.each([
    { group: '1', nodeid: 2, old: 'worker-1' },
    { group: '0', nodeid: 1, old: 'coordinator' },
  ])(
    'the guard of group $group is lost, and the name of the old primary leads to the new one by then',
    async ({ group, nodeid, old }) => {
      const moving = await named(nodeid, old)
      const { exitCode, stdout } = await switchover(
        'change',
        async () => {
          moving.to = switching.server(`${old}-standby`)
          await sql(old, GUARD)
        },
        '--group',
        group,
      )
      expect(await groupOf(`${old}-standby`), stdout).toBe(Number(group))
      expect(exitCode === 0 ? await groupOf(old) : 'told', stdout).not.toBe(Number(group))
    },
    LONG_MS,
  )

  it(
    'a reconcile, and the name of the old primary leads to the new one once it was surveyed',
    async () => {
      const moving = await named(2, 'worker-1')
      await switching.server('worker-1-standby').promote()
      let first: number | null = null
      moving.before = (connections) => {
        first ??= connections
        if (connections > first) moving.to = switching.server('worker-1-standby')
      }
      const promoted = switching.at('worker-1-standby')
      const ran = await switching.scenario.run('reconcile', '--group', '1', '--promoted', promoted)
      expect(await groupOf('worker-1-standby'), `${ran.exitCode} ${ran.stdout} ${ran.stderr}`).toBe(1)
    },
    LONG_MS,
  )

  it(
    'a watcher, and the name of an old primary that is to be retired leads to the new one by then',
    async () => {
      const moving = await named(2, 'worker-1')
      const watching = await switching.watch()
      await switching.switched('--group', '1')
      await watching.surveys(3)
      moving.to = switching.server('worker-1-standby')
      await switching
        .server('worker-1')
        .query(UNRETIRED, [], { database: switching.scenario.cluster.database })
      await watching.surveys(10)
      expect(await groupOf('worker-1-standby')).toBe(1)
    },
    LONG_MS,
  )

  it(
    'reconcile tells of an old primary that it could not retire',
    async () => {
      await switching.switched('--group', '1')
      await sql('worker-1', UNRETIRED)
      const [shard] = await sql<{ name: string }>(
        'worker-1',
        'SELECT citus_ha.own_shards()::text AS name LIMIT 1',
      )
      const session = switching.keep(
        await switching.server('worker-1').connect({ database: switching.scenario.cluster.database }),
      )
      await session.query(`SET citus.enable_manual_changes_to_shards = on; BEGIN READ WRITE;
        LOCK TABLE ${shard?.name} IN ROW EXCLUSIVE MODE`)
      const ran = await switching.scenario.run('reconcile')
      expect(await groupOf('worker-1')).toBe(1)
      expect(ran.exitCode, ran.stdout + ran.stderr).toBe(5)
      expect(ran.stdout).toContain(switching.at('worker-1'))
    },
    LONG_MS,
  )
})
