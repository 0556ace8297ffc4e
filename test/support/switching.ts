import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import type { ClusterSpec } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Ran } from './scenario.ts'
import { Scenario } from './scenario.ts'
import { Traffic } from './traffic.ts'
import { Watching } from './watching.ts'

/** A session keeps its connections between nodes no longer than that: it would meet dead ones on the way back. */
export const SHORT_LIVED = { 'citus.max_cached_connection_lifetime': '1s' }

/** Loopback too, and another machine to whoever looks at names. */
export const OTHER_HOST = '127.0.0.2'

/** Gives some servers another host in `pg_dist_node`, and has their standbys stream from there. */
export async function registerAt(
  { cluster }: Scenario,
  host: string,
  names: readonly string[],
): Promise<void> {
  const { coordinator, database } = cluster
  for (const name of names) {
    const { port } = cluster.server(name)
    const move = `SELECT citus_update_node((SELECT nodeid FROM pg_dist_node WHERE nodeport = $2), $1, $2)`
    const sql = name === 'coordinator' ? 'SELECT citus_set_coordinator_host($1, $2)' : move
    await coordinator.query(sql, [host, port], { database })
    const conninfo = `host=${host} port=${port} user=postgres application_name=${name}-standby`
    await cluster.server(`${name}-standby`).configure({ primary_conninfo: conninfo })
  }
}

interface SwitchingSpec extends ClusterSpec {
  /** Done with the cluster before `install`. */
  readonly before?: (scenario: Scenario) => Promise<void>
}

export interface Switched extends Ran {
  /** The document of `--json`. */
  // biome-ignore lint/suspicious/noExplicitAny: every test looks at its own part of it
  readonly report: any
}

/**
 * For the tests of a `describe`: one cluster to switch over, as it was before each of them, and what they start ended after each.
 * @param take gets it before the first
 */
export function restoredBeforeEach(take: (switching: Switching) => void, spec?: SwitchingSpec): void {
  let switching: Switching | null = null
  beforeAll(async () => {
    switching = await Switching.start(spec)
    take(switching)
  })
  beforeEach(async () => {
    await switching?.scenario.restore()
  })
  afterEach(async () => {
    await switching?.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })
}

/** A cluster to switch over, with what the tests of it start and end. */
export class Switching {
  readonly scenario: Scenario
  #traffic: Traffic[] = []
  #watching: Watching | null = null
  #open: pg.Client[] = []

  private constructor(scenario: Scenario) {
    this.scenario = scenario
  }

  /** With an ordinary standby coordinator and one that reads from secondaries, unless the spec says otherwise. */
  static async start({ before, ...spec }: SwitchingSpec = {}): Promise<Switching> {
    const coordinatorStandbys = [{ kind: 'standby' }, { kind: 'expand' }] as const
    const scenario = await Scenario.start({
      coordinatorStandbys,
      settings: SHORT_LIVED,
      ...spec,
      install: 'no',
    })
    await before?.(scenario)
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
    return new Switching(scenario)
  }

  /** Ends what a test has started, whatever became of it. */
  async tidy(): Promise<void> {
    await Promise.all(this.#traffic.map((each) => each.stop()))
    await this.#watching?.stop()
    await Promise.all(this.#open.map((session) => session.end().catch(() => undefined)))
    this.#traffic = []
    this.#watching = null
    this.#open = []
  }

  server(name: string): Server {
    return this.scenario.cluster.server(name)
  }

  at(name: string): string {
    return formatAddress(this.server(name))
  }

  /** A shell command that stops a server, and ends when it is stopped, as `pg_ctl stop` does. */
  stopping(name: string): string {
    const { pid } = this.server(name)
    return `kill -INT ${pid} && while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`
  }

  async switchover(...args: string[]): Promise<Switched> {
    const ran = await this.scenario.run('switchover', '--yes', '--json', ...args)
    return { ...ran, report: ran.stdout === '' ? {} : JSON.parse(ran.stdout) }
  }

  /** As `switchover`, which has to come through. */
  async switched(...args: string[]): Promise<Switched> {
    const ran = await this.switchover(...args)
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
    return ran
  }

  /**
   * Clients of every kind that write to groups 1 and 2, and read.
   * @param entries server names; `a or b` for clients that know several, and go where writes are taken
   */
  async clients(entries = ['coordinator', 'worker-2'], database?: string): Promise<Traffic> {
    const { cluster } = this.scenario
    const readers = cluster.coordinatorStandbys
    const servers = entries.map((names) => {
      const [first, ...more] = names.split(' or ').map((name) => this.server(name))
      return first && more.length === 0 ? first : [first, ...more].flatMap((server) => server ?? [])
    })
    const traffic = await Traffic.start(cluster, servers, readers, { ...(database && { database }) })
    this.#traffic.push(traffic)
    return traffic
  }

  /** The test's own session, ended by `tidy`. */
  keep(session: pg.Client): pg.Client {
    this.#open.push(session)
    return session
  }

  async watch(): Promise<Watching> {
    this.#watching = await Watching.start(this.scenario)
    return this.#watching
  }

  /** They go on, nothing has failed, and all that was acknowledged is there. */
  async expectAll(clients: Traffic, coordinator = 'coordinator'): Promise<void> {
    await clients.goesOn()
    await clients.stop()
    expect(clients.failures, clients.failures.join('; ')).toEqual([])
    expect(await clients.missing(this.server(coordinator))).toEqual([])
    expect(await clients.halves(this.server(coordinator))).toEqual([])
  }

  /** The group's primary by the rows of the coordinator, its own, and others; nothing is noted any more. */
  async expectPrimary(
    nodeid: number,
    name: string,
    { copies = [], database }: { readonly copies?: readonly string[]; readonly database?: string } = {},
  ): Promise<void> {
    const rows = await this.scenario.rows(this.server('coordinator'), database)
    expect(rows).toContain(`${nodeid} group ${nodeid - 1} primary ${this.at(name)}`)
    for (const copy of [name, ...copies])
      expect(await this.scenario.rows(this.server(copy), database), copy).toEqual(rows)
    await this.expectNoIntent(database)
    await this.expectWritable(name)
  }

  async expectNoIntent(database = this.scenario.cluster.database): Promise<void> {
    const { coordinator } = this.scenario.cluster
    expect(await coordinator.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
  }

  /** As if nothing had been. */
  async expectUntouched(name = 'worker-1'): Promise<void> {
    const nodeid = Number(name.slice(-1)) + 1
    expect(await this.scenario.rows(this.server('coordinator'))).toContain(
      `${nodeid} group ${nodeid - 1} primary ${this.at(name)}`,
    )
    await this.expectNoIntent()
    await this.expectWritable(name)
    expect(await this.server(`${name}-standby`).isInRecovery()).toBe(true)
  }

  async expectWritable(name: string): Promise<void> {
    expect(await this.server(name).query('SHOW default_transaction_read_only')).toEqual([
      { default_transaction_read_only: 'off' },
    ])
  }
}
