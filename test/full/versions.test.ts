import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Answered, Observation, Testimony } from '../../src/model/observation.ts'
import { heardFrom } from '../../src/observe/receivers.ts'
import { Connections } from '../../src/walk/connections.ts'
import type { Noticed } from '../../src/watch/event.ts'
import { Pulse } from '../../src/watch/pulse.ts'
import { primaryRow, secondaryRow } from '../support/builders.ts'
import { Pair } from '../support/pair.ts'
import { POSTGRES_VERSIONS, postgresOf } from '../support/postgres-versions.ts'

const DATABASE = 'postgres'
/** Between beats, where nothing is measured. */
const OFTEN_MS = 250
/** Between beats, where the notice must not be that of the next beat. */
const SELDOM_MS = 1000
/** From something that happens to its notice, two busy processors included. */
const AT_ONCE_MS = 500
const TIMEOUT_MS = 1000
const FRESHNESS_MS = 2000
const DOWNLOAD_LIMIT_MS = 180_000

type Heard = Noticed & { readonly at: number }

/** The pulses of both servers and what they told, by the role that may only read statistics. */
class Watch {
  readonly heard: Heard[] = []
  readonly #pulses: Pulse[]

  constructor(pair: Pair, access: Connections, intervalMs: number) {
    const options = {
      database: DATABASE,
      intervalMs,
      timeoutMs: TIMEOUT_MS,
      open: (address: Server | Noticed['node']) => access.open(address, DATABASE),
      notice: (noticed: Noticed) => void this.heard.push({ ...noticed, at: performance.now() }),
    }
    this.#pulses = [pair.primary, pair.standby].map(({ host, port }) => new Pulse({ host, port }, options))
  }

  /** What was told of a server since then, in order. */
  of(server: Server, since: number): Noticed['what'][] {
    return this.#since(server, since).map(({ what }) => what)
  }

  #since(server: Server, since: number): Heard[] {
    return this.heard.filter(({ node, at }) => node.port === server.port && at >= since)
  }

  async notice(server: Server, what: Noticed['what'], since: number): Promise<Heard> {
    return await waitUntil(
      `notice that ${server.name} is ${what}`,
      () => this.#since(server, since).find((heard) => heard.what === what),
      { limitMs: 10_000, everyMs: 5 },
    )
  }

  /** Both have been heard once more from now on: whatever there is to tell was told. */
  async beat(): Promise<void> {
    const from = performance.now()
    await waitUntil('a beat of both', () =>
      this.#pulses.every(({ state }) => {
        const at = performance.now() - (state.heardMsAgo ?? Number.POSITIVE_INFINITY)
        return state.state === 'up' && at > from
      }),
    )
  }

  async stop(): Promise<void> {
    await Promise.all(this.#pulses.map((pulse) => pulse.stop()))
  }
}

/** Reaches both servers as a role, with the limits under test. */
async function accessAs(user: string, { primary, standby }: Pair): Promise<Connections> {
  const config = await loadConfig({
    file: 'citus-ha.yaml',
    readFile: async () => `detect: { timeout: ${TIMEOUT_MS}ms }`,
    coordinators: [primary, standby].map((server) => server.url(DATABASE, user)),
    env: {},
  })
  return new Connections(config, {})
}

const address = ({ host, port }: Server) => ({ host, port })

describe.each(POSTGRES_VERSIONS)('PostgreSQL %s', (version) => {
  const major = Number.parseInt(version, 10)
  let pair: Pair
  let access: Connections
  let superuser: Connections
  let watch: Watch | null = null
  let missing: string | null = null
  const figures: string[] = []

  const probeOf = (server: Server): Promise<Observation> => access.prober(DATABASE).probe(address(server))

  /** What the standby's WAL receiver says of the primary, after both were asked. */
  const testimony = async (): Promise<Testimony['says'] | undefined> => {
    const { primary, standby } = pair
    const nodes = await Promise.all([primary, standby].map(probeOf))
    const row = primaryRow(2, 1, { at: formatAddress(primary) })
    const catalog = [row, secondaryRow(3, 1, { at: formatAddress(standby) })]
    return heardFrom(nodes, catalog, row, FRESHNESS_MS)[0]?.says
  }

  const watching = async (intervalMs: number): Promise<Watch> => {
    watch = new Watch(pair, access, intervalMs)
    await watch.beat()
    return watch
  }

  const measured = (what: string, ms: number): number => {
    figures.push(`${what} ${Math.round(ms)} ms`)
    return ms
  }

  beforeAll(async () => {
    const binaries = await postgresOf(version)
    if (typeof binaries === 'string') {
      missing = `PostgreSQL ${version} is skipped: ${binaries}`
      return
    }
    pair = await Pair.start(binaries)
    access = await accessAs('citus_ha', pair)
    superuser = await accessAs('postgres', pair)
  }, DOWNLOAD_LIMIT_MS)
  beforeEach(async (context) => {
    if (missing !== null) context.skip(missing)
    await pair.ready()
  })
  afterEach(async () => {
    await watch?.stop()
    watch = null
  })
  afterAll(async () => {
    process.stdout.write(`${missing ?? `PostgreSQL ${version}: ${figures.join(', ')}`}\n`)
    await access?.close()
    await superuser?.close()
    await pair?.stop()
  })

  it('says of itself all that a survey wants', async () => {
    const { primary, standby } = pair
    const prober = superuser.prober(DATABASE)
    const [leads, follows] = await Promise.all([primary, standby].map((node) => prober.probe(address(node))))
    const both = {
      kind: 'answered',
      serverVersion: expect.toSatisfy((number) => Math.trunc(number / 10_000) === major),
      systemIdentifier: expect.stringMatching(/^\d{19}$/),
      timeline: 1,
      history: [],
      lsn: expect.toSatisfy((lsn) => lsn > 0n),
      citus: null,
      installed: null,
      readsStatistics: true,
    }
    expect(leads).toMatchObject({
      ...both,
      inRecovery: false,
      receiver: null,
      senders: [{ applicationName: 'the standby', state: 'streaming' }],
    })
    expect(follows).toMatchObject({
      ...both,
      inRecovery: true,
      receiver: {
        status: 'streaming',
        sender: address(primary),
        heardMsAgo: expect.any(Number),
        timeline: 1,
      },
      senders: [],
    })
    expect((follows as Answered).systemIdentifier).toBe((leads as Answered).systemIdentifier)
    expect((follows as Answered).instance).not.toBe((leads as Answered).instance)
  })

  it('shows the same to a role that may only read statistics, but for a standby’s timeline', async () => {
    expect(await probeOf(pair.primary)).toMatchObject({ timeline: 1, history: null, superuser: false })
    expect(await probeOf(pair.standby)).toMatchObject({
      receiver: { status: 'streaming', sender: address(pair.primary) },
      readsStatistics: true,
    })
    const row = await pair.standby.query(`SELECT conninfo FROM pg_stat_get_wal_receiver()`)
    expect(row).toEqual([{ conninfo: expect.stringContaining('password=******** ') }])
  })

  it('loses sessions by pg_terminate_backend: lost and back, never promoted', async () => {
    const { primary, standby } = pair
    const watch = await watching(OFTEN_MS)
    const began = performance.now()
    for (const server of [primary, standby]) {
      const sql = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'citus-ha watch'`
      expect(await server.query(sql)).toHaveLength(1)
    }
    for (const server of [primary, standby]) await watch.notice(server, 'back', began)
    await watch.beat()
    expect(watch.of(primary, began)).toEqual(['lost', 'back'])
    expect(watch.of(standby, began)).toEqual(['lost', 'back'])
  })

  it('replays while it is watched: no transaction of a pulse is long', async (context) => {
    if (major < 11) context.skip('PostgreSQL 10 cannot commit within a DO block')
    const { standby } = pair
    await watching(SELDOM_MS)
    const sql = `SELECT max(extract(epoch FROM clock_timestamp() - xact_start) * 1000)::float8 AS ms
                   FROM pg_stat_activity WHERE application_name = 'citus-ha watch' AND backend_xmin IS NOT NULL`
    const ages: number[] = []
    await standby.withClient(async (client) => {
      const until = performance.now() + SELDOM_MS
      while (performance.now() < until) {
        const { rows } = await client.query<{ ms: number | null }>(sql)
        ages.push(rows[0]?.ms ?? 0)
      }
    })
    expect(Math.max(...ages)).toBeGreaterThan(0)
    expect(measured('longest transaction', Math.max(...ages))).toBeLessThan(AT_ONCE_MS)
  })

  it('restarts its standby, and its primary: lost and back, never promoted', async () => {
    const { primary, standby } = pair
    const watch = await watching(OFTEN_MS)
    for (const server of [standby, primary]) {
      const began = performance.now()
      await server.restart()
      await watch.notice(server, 'back', began)
      await pair.ready()
      await watch.beat()
      expect(watch.of(server, began).slice(0, 2)).toEqual(['lost', 'back'])
    }
    expect(watch.heard.map(({ what }) => what)).not.toContain('promoted')
    expect(watch.heard.map(({ what }) => what)).not.toContain('demoted')
  })

  it('has a primary that hangs: alive no longer than its last message is fresh, though it “streams”', async () => {
    const { primary, standby } = pair
    const watch = await watching(OFTEN_MS)
    await primary.query(`SELECT pg_logical_emit_message(true, 'citus-ha', 'a sign of life')`)
    const began = performance.now()
    primary.freeze()
    expect(await testimony()).toBe('alive')
    await waitUntil('the primary is not vouched for', async () => (await testimony()) !== 'alive', {
      limitMs: FRESHNESS_MS + 2 * TIMEOUT_MS,
    })
    expect(performance.now() - began).toBeGreaterThan(FRESHNESS_MS - AT_ONCE_MS)
    expect(await probeOf(standby)).toMatchObject({ receiver: { status: 'streaming' } })
    expect(await testimony()).toBe('unknown')
    await watch.notice(primary, 'lost', began)
    primary.thaw()
    await watch.notice(primary, 'back', began)
    await watch.beat()
    expect(watch.of(primary, began)).toEqual(['lost', 'back'])
    expect(watch.of(standby, began)).toEqual([])
  })

  it('has a primary that dies: lost at once, and its standby, looked at once, proves nothing', async () => {
    const { primary, standby } = pair
    const watch = await watching(SELDOM_MS)
    const killed = primary.kill()
    const began = performance.now() // all its processes were told, and no notice could come yet
    await killed
    const lost = await watch.notice(primary, 'lost', began)
    const changed = await watch.notice(standby, 'receiver-changed', began)
    expect(measured('death noticed', lost.at - began)).toBeLessThan(AT_ONCE_MS)
    expect(measured('by its standby', changed.at - began)).toBeLessThan(AT_ONCE_MS)
    expect(changed.detail).toBe('its WAL receiver is gone')
    expect(await testimony()).toBe('unknown')
    expect(watch.heard.map(({ what }) => what)).not.toContain('promoted')
  })

  // The last one: there is no way back for the pair.
  it('is promoted: noticed at once, on a new timeline', async () => {
    const { standby } = pair
    const watch = await watching(SELDOM_MS)
    const began = performance.now()
    const out = await pair.promote()
    const promoted = await watch.notice(standby, 'promoted', began)
    // Below zero where the pulse had it before we saw it.
    expect(measured('promotion noticed', promoted.at - out)).toBeLessThan(AT_ONCE_MS)
    expect(promoted.ageMs).not.toBeNull()
    expect(promoted.ageMs).toBeGreaterThanOrEqual(0)
    expect(measured('by the server’s clock', promoted.ageMs ?? -1)).toBeLessThan(AT_ONCE_MS)
    expect(await probeOf(standby)).toMatchObject({ inRecovery: false, timeline: 2, receiver: null })
    await watch.beat()
    expect(watch.of(standby, began).filter((what) => what === 'promoted')).toHaveLength(1)
  })
})
