import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseDuration } from '../../src/config/duration.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { fenceDocument, releaseDocument } from '../../src/model/fence.ts'
import { formatAddress } from '../../src/model/node.ts'
import {
  commit,
  insert,
  keysOf,
  oldKeyOf,
  openTransaction,
  shareOf,
  standin,
  Writer,
} from '../support/clients.ts'
import { copyIn } from '../support/copy-in.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const HOLDER = fileURLToPath(new URL('../support/fence-holder.mjs', import.meta.url))
const LONG_MS = 60_000

describe('a fence', () => {
  let scenario: Scenario
  let watching: Watching | null = null
  let children: ChildProcess[] = []
  let open: pg.Client[] = []
  let writers: Writer[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const entries = ['coordinator', 'worker-2']
  const all = ['coordinator', 'worker-1', 'worker-2']
  const after = ['coordinator', 'worker-1-standby', 'worker-2']
  const watch = async (file: object = {}): Promise<Watching> => {
    watching = await Watching.start(scenario, file)
    return watching
  }

  async function hold(order: { database?: string; group: number; ttlMs: number }) {
    const [report] = (await watching?.service.fence({ database: null, ...order })) ?? []
    if (!report) throw new Error('nothing is watched')
    return report
  }

  async function letGo(group: number) {
    const [report] = (await watching?.service.release({ database: null, group })) ?? []
    return report
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await Promise.all(writers.map((writer) => writer.stop()))
    await Promise.all(open.map((session) => session.end().catch(() => undefined)))
    for (const child of children) {
      child.kill('SIGCONT')
      child.kill('SIGKILL')
    }
    await watching?.stop()
    watching = null
    children = []
    open = []
    writers = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Sessions of ours that sit in a transaction: a fence, as nothing else of ours does, but for the one that holds the lead. */
  async function holders(name: string): Promise<number> {
    const sql = `SELECT FROM pg_stat_activity a WHERE application_name = 'citus-ha' AND state = 'idle in transaction'
      AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.relation = 'citus_ha.lead_lock'::regclass)`
    return (await server(name).query(sql, [], { database: scenario.cluster.database })).length
  }
  const held = async (names: readonly string[] = all) => await Promise.all(names.map(holders))
  const isGone = async () => (await held()).every((count) => count === 0)

  async function holder(ttlMs: number): Promise<ChildProcess> {
    const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
    const order = { coordinators, database: scenario.cluster.database, group: 1, ttlMs }
    const child = spawn(process.execPath, [HOLDER, JSON.stringify(order)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    children.push(child)
    const [report] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => [{ outcome: 'it ended' }]),
    ])
    expect(report).toMatchObject({ outcome: 'fenced', groups: [1] })
    return child
  }

  /** What a write of one row comes to that waits 300 ms for a lock at most. */
  async function write(entry: string, id: number): Promise<string> {
    const session = await client(server(entry), scenario.cluster.database)
    open.push(session)
    await session.query(`SET lock_timeout = '300ms'`)
    return await insert(session, id).then(
      () => 'written',
      (error: { code?: string }) => error.code ?? 'failed',
    )
  }

  it('is held on every copy, told of, taken once more and released', async () => {
    const { events } = await watch()
    const report = await hold({ group: 1, ttlMs: LONG_MS })
    expect(report).toMatchObject({ outcome: 'fenced', groups: [1], unfenced: [], warnings: [] })
    expect([...report.fenced].sort()).toEqual(all.map(at).sort())
    expect(await held()).toEqual([1, 1, 1])
    expect(watching?.state.groups.find(({ group }) => group === 1)?.fencedMs).toBeGreaterThan(LONG_MS / 2)
    const again = await hold({ group: 1, ttlMs: 2 * LONG_MS })
    expect(again).toMatchObject({ outcome: 'renewed' })
    expect(Date.parse(again.until ?? '')).toBeGreaterThan(Date.parse(report.until ?? '') + LONG_MS / 2)
    expect(await held()).toEqual([1, 1, 1])
    expect(await letGo(1)).toMatchObject({ released: true })
    expect(await held()).toEqual([0, 0, 0])
    expect(events.filter(({ kind }) => kind === 'fence')).toMatchObject([
      { group: 1, now: 'held' },
      { group: 1, now: 'ended', detail: 'it was released' },
    ])
    expect(await letGo(1)).toMatchObject({ released: false, heldMs: null })
  })

  it('is refused for a group that does not exist, and for longer than anybody needs', async () => {
    await watch()
    await expect(hold({ group: 9, ttlMs: LONG_MS })).rejects.toThrow('there is no group 9')
    await expect(hold({ group: 1, ttlMs: 100 * LONG_MS })).rejects.toThrow('10 minutes at most')
    await expect(hold({ database: 'other', group: 1, ttlMs: 1 })).rejects.toThrow('not watched')
  })

  it('ends when its time is over', async () => {
    const { events } = await watch()
    await hold({ group: 1, ttlMs: 400 })
    await waitUntil('it ends', isGone, { limitMs: 5000 })
    expect(events).toContainEqual(expect.objectContaining({ kind: 'fence', detail: 'its time was over' }))
  })

  it('is ended by the servers when its time is over and its holder was stopped', async () => {
    const child = await holder(1500)
    child.kill('SIGSTOP')
    expect(await held()).toEqual([1, 1, 1])
    await waitUntil('it ends', isGone, { limitMs: 5000 })
    expect(child).toMatchObject({ exitCode: null, signalCode: null })
  })

  it('ends at once when its holder is killed', async () => {
    const child = await holder(LONG_MS)
    expect(await held()).toEqual([1, 1, 1])
    child.kill('SIGKILL')
    await waitUntil('it ends', isGone, { limitMs: 2000 })
  })

  it.each([
    ['takes another', -1],
    ['has no slot for another', 0],
  ])('ends when it has a hole: a node’s session broke, and the node %s', async (_, limit) => {
    const { events } = await watch()
    await hold({ group: 1, ttlMs: LONG_MS })
    await server('worker-2').query(`ALTER ROLE citus_ha CONNECTION LIMIT ${limit}`)
    await server('worker-2').query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'citus-ha'`,
    )
    await waitUntil('it ends', isGone, { limitMs: 5000 }).finally(() =>
      server('worker-2').query('ALTER ROLE citus_ha CONNECTION LIMIT -1'),
    )
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: 'fence',
        now: 'ended',
        detail: `the connection to ${at('worker-2')} broke`,
      }),
    )
  })

  it('names a copy that it can’t be held on', async () => {
    await server('worker-2').kill()
    await watch()
    const report = await hold({ group: 1, ttlMs: LONG_MS })
    expect(report).toMatchObject({ outcome: 'fenced', unfenced: [{ node: at('worker-2') }] })
    expect(report.warnings.join()).toContain(`${at('worker-2')} is not fenced`)
    expect(await held(['coordinator', 'worker-1'])).toEqual([1, 1])
  })

  it('lets another group fail over meanwhile', async () => {
    await watch()
    await hold({ group: 2, ttlMs: LONG_MS })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await watching?.changed(1)
    await expectRight(scenario, after.map(server), truthOf(scenario, 'coordinator'))
    await waitUntil('it is held on the promoted node', async () => (await holders('worker-1-standby')) === 1)
    expect(await held(after)).toEqual([1, 1, 1])
  })

  it('has the change of its own group happen inside, and ends with it', async () => {
    const { events } = await watch()
    await hold({ group: 1, ttlMs: LONG_MS })
    await server('worker-1').stop('fast')
    await server('worker-1-standby').promote()
    await watching?.changed(1)
    await expectRight(scenario, after.map(server), truthOf(scenario, 'coordinator'))
    await waitUntil('it ends', async () => (await held(after)).every((count) => count === 0))
    expect(events).toContainEqual(
      expect.objectContaining({ kind: 'fence', now: 'ended', detail: 'a change used it' }),
    )
  })

  it('survives a round of its change that comes to nothing', async () => {
    await watch()
    await hold({ group: 1, ttlMs: LONG_MS })
    const { database } = scenario.cluster
    // On a node that no change can do without: any other would be left out.
    const blocker = await openTransaction(
      server('coordinator'),
      database,
      'LOCK TABLE pg_dist_node IN SHARE MODE',
    )
    open.push(blocker)
    await server('worker-1').stop('fast')
    await server('worker-1-standby').promote()
    await waitUntil('a try fails', () => watching?.of('acted').some(({ failures }) => failures > 0))
    expect(await held(['coordinator', 'worker-2'])).toEqual([1, 1])
    await blocker.query('ROLLBACK')
    await watching?.changed(1)
    await expectRight(scenario, after.map(server), truthOf(scenario, 'coordinator'))
  })

  // Without shards, as on the stand-in, it keeps nobody from a change.
  it.skipIf(standin)('is used by a watcher that follows: nobody else can change the group', async () => {
    const leader = await Watching.start(scenario)
    try {
      await watch()
      await waitUntil('it follows', () => watching?.state.leadership === 'following')
      await hold({ group: 1, ttlMs: LONG_MS })
      await server('worker-1').stop('fast')
      await server('worker-1-standby').promote()
      await watching?.changed(1)
      await expectRight(scenario, after.map(server), truthOf(scenario, 'coordinator'))
    } finally {
      await leader.stop()
    }
  })

  describe('by command', () => {
    let door: HttpServer | null = null
    afterEach(() => door?.close())

    /** The two orders over HTTP, as the watcher's listener takes them. */
    async function listening(): Promise<string> {
      const service = watching?.service
      door = createServer(async (request, reply) => {
        const [, group = '', verb = ''] = /groups\/(\d+)\/(\w+)/.exec(request.url ?? '') ?? []
        const { ttl = '' } = JSON.parse(await text(request))
        const about = { database: null, group: Number(group) }
        const document =
          verb === 'fence'
            ? fenceDocument((await service?.fence({ ...about, ttlMs: parseDuration(ttl) ?? 0 })) ?? [])
            : releaseDocument((await service?.release(about)) ?? [])
        reply.setHeader('content-type', 'application/json').end(JSON.stringify(document))
      })
      await once(door.listen(0, '127.0.0.1'), 'listening')
      const { port } = door.address() as AddressInfo
      return await scenario.configFile({
        control: {
          token: 'as long as it has to be'.replaceAll(' ', '-'),
          connect: `http://127.0.0.1:${port}`,
        },
      })
    }

    it('the watcher holds it when the command has ended', async () => {
      await watch()
      const config = await listening()
      const fenced = await scenario.run('fence', '--config', config, '--group', '1', '--ttl', '1m')
      expect(fenced, fenced.stderr).toMatchObject({ exitCode: 0 })
      expect(fenced.stdout).toContain('group 1 in app: fenced until')
      expect(await held()).toEqual([1, 1, 1])
      const again = await scenario.run('fence', '--config', config, '--group', '1', '--json')
      expect(JSON.parse(again.stdout)).toMatchObject({ outcome: 'renewed', exitCode: 0 })
      const released = await scenario.run('release', '--config', config, '--group', '1')
      expect(released.stdout).toMatch(/^group 1 in app: released after \d+ ms\n$/)
      expect(await held()).toEqual([0, 0, 0])
      const nothing = await scenario.run('release', '--config', config, '--group', '1', '--json')
      expect(JSON.parse(nothing.stdout)).toMatchObject({ released: false, heldMs: null, exitCode: 0 })
    })

    it('says in one line that nobody is there to hold it', async () => {
      const ran = await scenario.run('fence', '--group', '1')
      expect(ran).toMatchObject({ exitCode: 4, stdout: '' })
      expect(ran.stderr).toMatch(/^citus-ha: a fence needs a running "citus-ha watch".*\n$/)
    })
  })

  describe.skipIf(standin)('with clients', () => {
    it('keeps the group’s writes standing and nothing else', async () => {
      const { cluster } = scenario
      await watch()
      const [one, two] = [await keysOf(cluster, 1), await keysOf(cluster, 2)]
      await hold({ group: 1, ttlMs: LONG_MS })
      for (const [n, entry] of [...entries, 'worker-1'].entries()) {
        expect(await write(entry, one[n] ?? 0), `group 1 through ${entry}`).toBe('55P03')
        expect(await write(entry, two[n] ?? 0), `group 2 through ${entry}`).toBe('written')
        const read = `SELECT note FROM items WHERE id = ${await oldKeyOf(cluster, 1)}`
        expect(await server(entry).query(read, [], { database: cluster.database })).toHaveLength(1)
      }
      const waiting = await client(server('worker-2'), cluster.database)
      open.push(waiting)
      const [last = 0] = one.slice(9)
      const written = insert(waiting, last)
      await letGo(1)
      await expect(written).resolves.toBeUndefined()
    })

    it('keeps every kind of write to the group waiting, through every node', async () => {
      const { cluster } = scenario
      const { database } = cluster
      const run = (sql: string) => cluster.coordinator.query(sql, [], { database })
      await run('CREATE TABLE countries (id int PRIMARY KEY, note text)')
      await run(`SELECT create_reference_table('countries')`)
      await run(`INSERT INTO countries SELECT i, 'before' FROM generate_series(1, 20) i`)
      const old = await oldKeyOf(cluster, 1)
      const writes: Record<string, (session: pg.Client, id: number) => Promise<unknown>> = {
        insert,
        'a prepared insert': (session, id) =>
          session.query({ name: 'one', text: `INSERT INTO items VALUES ($1, 'x')`, values: [id] }),
        'an insert of many': (session, id) =>
          session.query(`INSERT INTO items VALUES (${id}, 'x'), (${-id}, 'x')`),
        'a COPY': (session, id) => copyIn(session, 'COPY items FROM STDIN', `${id}\tx\n`),
        'an update': (session) => session.query(`UPDATE items SET note = 'x' WHERE id = ${old}`),
        'an update of all shards': (session) => session.query(`UPDATE items SET note = 'y'`),
        'a delete': (session, id) => session.query(`DELETE FROM items WHERE id = ${id}`),
        'INSERT … SELECT': (session, id) =>
          session.query(
            `INSERT INTO items SELECT ${id} * 1000 + id, note FROM items WHERE id BETWEEN 1 AND 200`,
          ),
        'an update in a CTE': (session) =>
          session.query(`WITH u AS (UPDATE items SET note = 'z' RETURNING id) SELECT count(*) FROM u`),
        'an insert, reference table': (session, id) =>
          session.query(`INSERT INTO countries VALUES (${id}, 'x')`),
        'an update, reference table': (session) => session.query(`UPDATE countries SET note = 'x'`),
        'a COPY, reference table': (session, id) =>
          copyIn(session, 'COPY countries FROM STDIN', `${-id}\tx\n`),
        'INSERT … SELECT, reference table': (session, id) =>
          session.query(
            `INSERT INTO countries SELECT ${id} * 1000 + id, note FROM items WHERE id BETWEEN 1 AND 200`,
          ),
      }
      const ids = await keysOf(cluster, 1)
      const attempts = [...entries, 'worker-1'].flatMap((entry, at) =>
        Object.entries(writes).map(([kind, write], n) => ({
          name: `${kind} through ${entry}`,
          entry,
          write,
          id: ids[at * 100 + n] ?? 0,
        })),
      )
      // Everything passes without a fence: what waits below does so because of it.
      const outcomes = async (limit: string) => {
        const seen: Record<string, string> = {}
        for (const entry of [...entries, 'worker-1']) {
          const session = await client(server(entry), database)
          open.push(session)
          await session.query(`SET lock_timeout = '${limit}'`)
          for (const { name, write, id } of attempts.filter((each) => each.entry === entry))
            seen[name] = await write(session, id).then(
              () => 'written',
              (error: { code?: string }) => error.code ?? String(error),
            )
        }
        return seen
      }
      const each = (outcome: string) => Object.fromEntries(attempts.map(({ name }) => [name, outcome]))
      await watch()
      await hold({ group: 1, ttlMs: LONG_MS })
      expect(await outcomes('20ms')).toEqual(each('55P03'))
      await letGo(1)
      expect(await outcomes('10s')).toEqual(each('written'))
    })

    it('waits for an open transaction, names it, and ends it only where that is asked for', async () => {
      const { cluster } = scenario
      const [id = 0] = await keysOf(cluster, 1)
      const writer = await openTransaction(
        server('worker-2'),
        cluster.database,
        `INSERT INTO items VALUES (${id}, 'open')`,
      )
      open.push(writer)
      const patient = await watch({ apply: { deadline: '4s' } })
      const blocked = await hold({ group: 1, ttlMs: LONG_MS })
      expect(blocked).toMatchObject({ outcome: 'blocked', until: null, fenced: [] })
      expect(blocked.blockers.map(({ application }) => application)).toContain('the-idle-one')
      expect(await held()).toEqual([0, 0, 0])
      await patient.stop()
      await watch({ apply: { force: '300ms' } })
      const report = await hold({ group: 1, ttlMs: LONG_MS })
      expect(report).toMatchObject({ outcome: 'fenced' })
      expect(report.ended.map(({ application }) => application)).toContain('the-idle-one')
      await expect(commit(writer)).rejects.toThrow()
    })

    it('a failover inside it fails no write and loses none', async () => {
      const { cluster } = scenario
      const keys = await keysOf(cluster, 1)
      await watch()
      writers = entries.map(
        (entry, n) =>
          new Writer(server(entry), cluster.database, shareOf(keys, n, entries.length), insert, 'one'),
      )
      const count = () => writers.map(({ acknowledged }) => acknowledged.length)
      await waitUntil('every writer writes', () => count().every((each) => each > 20))
      expect(await hold({ group: 1, ttlMs: LONG_MS })).toMatchObject({ outcome: 'fenced' })
      await cluster.waitForReplay(server('worker-1-standby'), server('worker-1'))
      await server('worker-1').stop('fast')
      await server('worker-1-standby').promote()
      await watching?.changed(1)
      const then = count()
      await waitUntil('every writer goes on', () => count().every((each, n) => each > (then[n] ?? 0) + 20))
      await Promise.all(writers.map((writer) => writer.stop()))
      expect(writers.flatMap(({ failures }) => failures)).toEqual([])
      const ids = writers.flatMap(({ acknowledged }) => acknowledged.map(({ id }) => id))
      const sql = 'SELECT count(*)::int AS n FROM items WHERE id = ANY ($1)'
      expect(await cluster.coordinator.query(sql, [ids], { database: cluster.database })).toEqual([
        { n: ids.length },
      ])
    })

    it('is not spent on reads while the primary is away, and that is told', async () => {
      const { cluster } = scenario
      const about = await watch({ routing: { primaryDown: 'secondary' } })
      await hold({ group: 1, ttlMs: LONG_MS })
      await cluster.waitForReplay(server('worker-1-standby'), server('worker-1'))
      await server('worker-1').stop('fast')
      const told = await waitUntil('it is told', () => about.of('held').find(({ why }) => why === 'fenced'))
      expect(told).toMatchObject({ group: 1, would: [expect.stringContaining('degraded: node 2')] })
      expect(about.changes).toEqual([])
      await server('worker-1-standby').promote()
      await about.changed(1)
      expect(about.changes[0]?.changes[0]).toMatchObject({ group: 1, kind: 'primary-moved' })
      expect(about.of('fence').at(-1)).toMatchObject({ now: 'ended', detail: 'a change used it' })
    })

    it('gives way to another group’s failover that a reference table keeps from its locks', async () => {
      const { cluster } = scenario
      const run = (sql: string) => cluster.coordinator.query(sql, [], { database: cluster.database })
      await run('CREATE TABLE everywhere (id int PRIMARY KEY)')
      await run(`SELECT create_reference_table('everywhere')`)
      await scenario.settle()
      const { events } = await watch()
      await hold({ group: 2, ttlMs: LONG_MS })
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      await watching?.changed(1)
      await expectRight(scenario, after.map(server), truthOf(scenario, 'coordinator'))
      expect(events).toContainEqual(
        expect.objectContaining({
          kind: 'fence',
          now: 'ended',
          detail: expect.stringContaining('another group'),
        }),
      )
    })
  })
})
