import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { keysOf, standin } from '../support/clients.ts'
import { apply, CLIENT, describeProfile, PROFILES, type Profile, packs } from '../support/profiles.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

/** The tests’ own sessions are as they would be without. */
const OWN = Object.entries({
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read\\ committed',
  client_encoding: 'UTF8',
  search_path: '"$user",\\ public',
  DateStyle: 'ISO',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  ...{ statement_timeout: '0', lock_timeout: '0' },
  ...{ idle_in_transaction_session_timeout: '0', idle_session_timeout: '0' },
  client_min_messages: 'warning',
  ...{ temp_file_limit: '-1', work_mem: '4MB' },
  session_replication_role: 'origin',
  'citus.use_secondary_nodes': 'never',
})
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ')

describe.skipIf(standin)('whatever others have set', () => {
  let scenario: Scenario
  let watching: Watching | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    process.env.PGOPTIONS = OWN
    scenario = await Scenario.start({
      install: 'no',
      coordinatorStandbys: [{ kind: 'standby' }],
      workers: [{ standbys: [{}] }, { standbys: [{ registered: false }] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await watching?.stop()
    watching = null
  })
  afterAll(async () => {
    delete process.env.PGOPTIONS
    await scenario?.stop()
  })

  async function ran(exitCode: number, ...args: string[]): Promise<string> {
    const told = await scenario.run(...args)
    const text = `${told.stdout}${told.stderr}`
    expect(told.exitCode, `${args.join(' ')}: ${told.exitCode}\n${text}`).toBe(exitCode)
    return text
  }

  /** A client’s write, and the row read again. */
  async function writes(group: number, from = 'coordinator', limitMs = 20_000): Promise<void> {
    const { cluster } = scenario
    const [id] = await keysOf(cluster, group, 1000 + Math.trunc(Math.random() * 30_000))
    const session = await server(from).connect({ database: cluster.database, user: CLIENT })
    try {
      await session.query(`SET statement_timeout = ${limitMs}`)
      await session.query(`INSERT INTO items VALUES ($1, 'written') ON CONFLICT DO NOTHING`, [id])
      const { rows } = await session.query('SELECT note FROM items WHERE id = $1', [id])
      expect(rows).toEqual([{ note: 'written' }])
    } finally {
      await session.end()
    }
  }

  async function alike(...names: string[]): Promise<void> {
    const [first = '', ...others] = names
    const rows = await scenario.rows(server(first))
    for (const name of others) expect(await scenario.rows(server(name)), name).toEqual(rows)
  }

  /** All that citus-ha is for, one after the other on one cluster. */
  async function life(profiles: readonly Profile[]): Promise<void> {
    const { cluster, options } = scenario
    const { database } = cluster
    const standbys = [{ group: 2, address: at('worker-2-standby') }]
    const file = await scenario.configFile({ register: true, standbys })

    const candidates = [cluster.coordinator, ...cluster.coordinatorStandbys]
    const urls = candidates.flatMap((each) => ['--coordinator', each.url(database)])
    const installed = await citusHa(['install', ...urls, '--config', file, '--switchover'])
    expect(installed.exitCode, `install: ${installed.stdout}${installed.stderr}`).toBe(0)
    await scenario.settle()
    await ran(0, 'status')
    const readable = profiles.every(({ standbys }) => standbys !== 'unreadable')
    const unreadable = `${at('worker-2-standby')} has no row in pg_dist_node and is not registered: `
    const said = await ran(readable ? 0 : 3, 'doctor')
    if (!readable) expect(said).toMatch(/cannot use serializable mode in a hot standby/)

    const registered = await ran(0, 'reconcile', '--config', file)
    const row = `group 2 secondary ${at('worker-2-standby')}`
    const rows = (await scenario.rows(server('coordinator'))).join('\n')
    if (readable) expect(rows, 'register').toContain(row)
    else expect(registered, 'register').toContain(unreadable)

    watching = await Watching.start(scenario, {
      detect: { interval: '500ms', timeout: '2s', cooldown: '0s', witnessFreshness: '3s' },
    })
    const [fenced] = await watching.service.fence({ database: null, group: 1, ttlMs: 60_000 })
    expect(fenced, JSON.stringify(fenced)).toMatchObject({ outcome: 'fenced', unfenced: [] })
    await expect(writes(1, 'coordinator', 300), 'fence').rejects.toMatchObject({ code: '57014' })
    await watching.service.release({ database: null, group: 1 })
    await writes(1)
    await watching.stop()
    watching = null

    await ran(0, 'switchover', '--yes', '--group', '1')
    await alike('coordinator', 'worker-1-standby', 'worker-2')
    await writes(1)
    await server('worker-1').stop()

    await server('worker-2').kill()
    await server('worker-2-standby').promote()
    await ran(0, 'reconcile', '--group', '2', '--config', file)
    await alike('coordinator', 'worker-1-standby', 'worker-2-standby')
    await writes(2)
    await writes(1, 'worker-2-standby')

    if (readable) await ran(0, 'forget', '--group', '2', at('worker-2'))
    expect((await scenario.rows(server('coordinator'))).join('\n'), 'forget').not.toContain(at('worker-2'))

    const gid = await leavePrepared('worker-1-standby')
    const recovered = await ran(0, 'recover')
    const left = await server('worker-1-standby').query(`SELECT FROM pg_prepared_xacts WHERE gid = '${gid}'`)
    expect(left, `recover of ${gid}: ${recovered}`).toEqual([])

    await server('coordinator').kill()
    await server('coordinator-standby').promote()
    await ran(0, 'reconcile')
    await alike('coordinator-standby', 'worker-1-standby', 'worker-2-standby')
    const session = await server('coordinator-standby').connect({ database, user: CLIENT })
    try {
      await waitUntil('a client writes through the new coordinator', async () => {
        const sql = `INSERT INTO items VALUES (50000, 'written') ON CONFLICT DO NOTHING`
        return await session.query(sql).then(
          () => true,
          () => false,
        )
      })
    } finally {
      await session.end()
    }
    await ran(0, 'history')
    expect(options.length).toBeGreaterThan(0)
  }

  /** As a change leaves it that died before its decision. */
  async function leavePrepared(name: string): Promise<string> {
    const { database } = scenario.cluster
    const change = `SELECT gids FROM citus_ha.change WHERE gids <> '{}' ORDER BY epoch DESC LIMIT 1`
    const [last] = await server('coordinator').query<{ gids: string[] }>(change, [], { database })
    const gid = `${last?.gids[0]}`.replace(/_[0-9a-f]+_(\d+)$/, '_0badcafe_$1')
    const session = new pg.Client({
      connectionString: server(name).url(database, 'citus_ha'),
      options: '-c statement_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0',
    })
    await session.connect()
    try {
      await session.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
      await session.query(`SELECT citus_ha.fence('{}')`)
      await session.query(`PREPARE TRANSACTION '${gid}'`)
    } finally {
      await session.end()
    }
    return gid
  }

  /** @returns what failed; null: nothing */
  async function tried(profiles: readonly Profile[]): Promise<string | null> {
    const began = performance.now()
    const tell = (what: string) =>
      process.stdout.write(
        `${profiles.map(({ name }) => name).join(', ')}: ${what}, ${Math.round(performance.now() - began)} ms\n`,
      )
    try {
      await apply(scenario.cluster, profiles)
      await life(profiles)
      tell('well')
      return null
    } catch (error) {
      tell(String(error))
      return error instanceof Error ? error.message : String(error)
    } finally {
      await watching?.stop()
      watching = null
    }
  }

  it('with nothing set', { timeout: 120_000 }, async () => {
    expect(await tried([])).toBe(null)
  })

  /** What fails of a pack that fails: each profile with what became of it, or those that fail only together. */
  async function culprits(pack: readonly Profile[], together: string): Promise<string[]> {
    const [first] = pack
    if (first && pack.length === 1) return [`${describeProfile(first)}: ${together}`]
    const found: string[] = []
    const middle = Math.ceil(pack.length / 2)
    for (const half of [pack.slice(0, middle), pack.slice(middle)]) {
      await scenario.restore()
      const failed = await tried(half)
      if (failed !== null) found.push(...(await culprits(half, failed)))
    }
    return found.length > 0 ? found : [`${pack.map(describeProfile).join(' and ')}, together: ${together}`]
  }

  it.each(packs(PROFILES).map((pack, n) => [n + 1, pack] as const))(
    'pack %i of settings',
    { timeout: 3_600_000 },
    async (_, pack) => {
      const together = await tried(pack)
      if (together !== null) throw new Error((await culprits(pack, together)).join('\n\n'))
    },
  )
})
