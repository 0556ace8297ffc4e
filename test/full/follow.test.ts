import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { oldKeyOf, standin } from '../support/clients.ts'
import { citusHa, client, Scenario } from '../support/scenario.ts'

/** How often a statement is run before a failover: past the fifth, PostgreSQL may keep a generic plan. */
const RUNS = 7

/** A client that never reconnects, with prepared statements, as applications have them. */
class Session {
  readonly name: string
  readonly #connection: pg.Client
  readonly #id: number

  private constructor(name: string, connection: pg.Client, id: number) {
    this.name = name
    this.#connection = connection
    this.#id = id
  }

  static async open(scenario: Scenario, name: string, id: number): Promise<Session> {
    const server = scenario.cluster.server(name)
    return new Session(name, await client(server, scenario.cluster.database), id)
  }

  async read(): Promise<string | null> {
    const prepared = { name: 'read', text: 'SELECT note FROM items WHERE id = $1', values: [this.#id] }
    const { rows } = await this.#connection.query<{ note: string }>(prepared)
    return rows[0]?.note ?? null
  }

  async write(note: string): Promise<number | null> {
    const text = 'UPDATE items SET note = $2 WHERE id = $1'
    return (await this.#connection.query({ name: 'write', text, values: [this.#id, note] })).rowCount
  }

  async close(): Promise<void> {
    await this.#connection.end().catch(() => undefined)
  }
}

describe.skipIf(standin)('open sessions with prepared statements', () => {
  let scenario: Scenario
  const sessions: Session[] = []
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
      workers: [{ standbys: [{}] }, { standbys: [{}] }, { standbys: [] }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await Promise.all(sessions.map((session) => session.close()))
    await scenario?.stop()
  })

  it('follow a worker’s primary from A to B to A to B to A, through every kind of coordinator', async () => {
    const id = await oldKeyOf(scenario.cluster, 1)
    const open = async (name: string) => {
      const session = await Session.open(scenario, name, id)
      sessions.push(session)
      return session
    }
    const writers = await Promise.all(['coordinator', 'worker-2', 'worker-3'].map(open))
    const readers = await Promise.all(['coordinator-standby', 'coordinator-expand'].map(open))
    for (let run = 0; run < RUNS; run++) {
      for (const writer of writers) expect(await writer.write(`before ${run}`)).toBe(1)
      await scenario.settle()
      for (const each of [...writers, ...readers]) expect(await each.read()).toBe(`before ${run}`)
    }

    let [primary, standby] = [server('worker-1'), server('worker-1-standby')]
    for (let turn = 1; turn <= 4; turn++) {
      await primary.kill()
      await standby.promote()
      const report = await scenario.reconcile()
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      for (const writer of writers)
        expect(await writer.write(`${writer.name} ${turn}`), `${writer.name}, turn ${turn}`).toBe(1)
      const last = `${writers.at(-1)?.name} ${turn}`
      for (const each of [...writers, ...readers])
        expect(await each.read(), `${each.name}, turn ${turn}`).toBe(last)
      await scenario.cluster.rejoin(primary, standby)
      await scenario.streams(primary)
      await scenario.cluster.waitForReplay(primary, standby)
      // The remedy for those who read secondaries ends: they read the standby that is back.
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
      for (const reader of readers) expect(await reader.read(), reader.name).toBe(last)
      ;[primary, standby] = [standby, primary]
    }
  })
})

describe('a coordinator’s failover', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  const status = async () => JSON.parse((await scenario.run('status', '--json')).stdout)

  it('and a worker’s at once are one change; who still streams from the old one is shown as stale until it follows', async () => {
    await server('coordinator').kill()
    await server('worker-1').kill()
    await server('coordinator-standby').promote()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    const moved = report.changes.filter(({ kind }) => kind === 'primary-moved')
    expect(moved).toMatchObject([
      { group: 0, from: at('coordinator'), to: at('coordinator-standby') },
      { group: 1, from: at('worker-1'), to: at('worker-1-standby') },
    ])
    const [changes] = await server('coordinator-standby').query<{ n: number }>(
      'SELECT count(*)::int AS n FROM citus_ha.change',
      [],
      { database: scenario.cluster.database },
    )
    expect(changes).toEqual({ n: 1 })
    for (const name of ['coordinator-standby', 'worker-2', 'worker-1-standby']) {
      const rows = await scenario.rows(server(name))
      expect(rows, name).toContain(`1 group 0 primary ${at('coordinator-standby')}`)
      expect(rows, name).toContain(`2 group 1 primary ${at('worker-1-standby')}`)
    }
    const expand = { node: at('coordinator-expand'), state: 'does not follow' }
    expect(report.copies).toContainEqual(expect.objectContaining(expand))
    const stale = `${at('coordinator-expand')}, expand coordinator (physical standby), is stale`
    expect((await status()).problems.join('\n')).toContain(stale)

    await scenario.cluster.rejoin(server('coordinator-expand'), server('coordinator-standby'))
    await scenario.streams(server('coordinator-expand'))
    await scenario.cluster.waitForReplay(server('coordinator-expand'), server('coordinator-standby'))
    expect((await status()).problems.join('\n')).not.toContain('is stale')
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', changes: [] })
  })

  it('with the old coordinator alive: the higher timeline decides, and the old one keeps its rows', async () => {
    // A standby of the old one that goes on streaming has more than the promoted one, and speaks against it.
    await server('coordinator-expand').stop()
    await server('coordinator-standby').promote()
    const old = await scenario.rows(server('coordinator'))
    const report = await scenario.reconcile()
    expect(report.changes).toMatchObject([{ group: 0, kind: 'primary-moved', to: at('coordinator-standby') }])
    expect(await scenario.rows(server('worker-1'))).toContain(
      `1 group 0 primary ${at('coordinator-standby')}`,
    )
    expect(await scenario.rows(server('coordinator'))).toEqual(old)
    // Whoever asks the old one alone is refused: it is retired.
    const alone = ['--coordinator', server('coordinator').url(scenario.cluster.database, 'citus_ha')]
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const refused = await citusHa(['reconcile', ...alone, '--timeout', '1s'])
    expect(refused).toMatchObject({ exitCode: 4, stdout: '' })
    expect(refused.stderr).toContain(`${at('coordinator')}: retired`)
    expect(await scenario.rows(server('coordinator'))).toEqual(old)
  })
})
