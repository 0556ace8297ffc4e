import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import type { Manager } from '../../../src/model/manager.ts'
import { formatAddress } from '../../../src/model/node.ts'
import { keysOf, shareOf, standin } from '../clients.ts'
import { lentTo, Scenario } from '../scenario.ts'
import { killServer, put, type Tool, type Workshop, workshopIn } from './process.ts'
import { CallableProgram } from './program.ts'
import { SteadyWriter } from './writer.ts'

/** What happened to the clients, and how long it took until every copy was right. */
export interface Told {
  readonly what: string
  readonly rightMs: number
  readonly failed: number
  readonly longestMs: number
}

const ENTRIES = ['coordinator', 'worker-2'] as const
// All nodes are on this machine: what a tool would do over there is done here.
const SSH = `#!/bin/sh
while [ "$1" != 127.0.0.1 ]; do shift; done
shift
exec sh -c "$*"
`

const LIMIT = { limitMs: 40_000, everyMs: 10 }

/**
 * A cluster whose group 1, a primary and a standby, is handed over to a tool, with clients that write into it all the
 * time, through the coordinator and through the other worker, where there is real Citus.
 */
export class Trial {
  readonly scenario: Scenario
  readonly shop: Workshop
  readonly program: CallableProgram
  readonly config: string
  readonly told: Told[] = []
  readonly #name: string
  readonly #tools: Tool[] = []
  #writers: SteadyWriter[] = []

  private constructor(
    name: string,
    scenario: Scenario,
    shop: Workshop,
    program: CallableProgram,
    config: string,
  ) {
    this.#name = name
    this.scenario = scenario
    this.shop = shop
    this.program = program
    this.config = config
  }

  /** @param settings of all servers, over what a cluster has */
  static async start(name: string, settings: Readonly<Record<string, string>> = {}): Promise<Trial> {
    const scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, {}],
      coordinatorStandbys: [],
      settings: { wal_log_hints: 'on', full_page_writes: 'on', ...settings },
    })
    try {
      const { cluster } = scenario
      const shop = await workshopIn(cluster.directory, [cluster.binaries.bindir])
      const program = await CallableProgram.install(shop)
      const config = await scenario.configFile({
        coordinators: [{ url: cluster.coordinator.url(cluster.database, 'citus_ha') }],
      })
      return new Trial(name, scenario, shop, program, config)
    } catch (error) {
      await scenario.stop()
      throw error
    }
  }

  get nodes(): readonly [Server, Server] {
    return [this.scenario.cluster.server('worker-1'), this.scenario.cluster.server('worker-1-standby')]
  }

  /** A program `ssh` in the shop's directory. */
  async pretendSsh(): Promise<void> {
    await put(this.shop, join(this.shop.directory, 'ssh'), SSH, 0o755)
  }

  at(server: Server): string {
    return formatAddress(server)
  }

  /** Stopped again when the trial ends, the last first. */
  keep(tool: Tool): Tool {
    this.#tools.push(tool)
    return tool
  }

  /** Starts the clients. They need Citus; on the stand-in nobody writes. */
  async write(): Promise<void> {
    if (standin) return
    const { cluster } = this.scenario
    const keys = await keysOf(cluster, 1, 1000, 120_000)
    this.#writers = ENTRIES.map(
      (entry, n) =>
        new SteadyWriter(cluster.server(entry), cluster.database, shareOf(keys, n, ENTRIES.length)),
    )
    await this.#allWrite()
  }

  async #allWrite(): Promise<void> {
    const since = performance.now()
    await waitUntil(
      'every client writes',
      () => this.#writers.every((writer) => writer.since(since) > 20),
      LIMIT,
    )
  }

  /** Does something that ends with `primary` as group 1's, waits until every copy says so, and the clients write on. */
  async expectPrimary(
    what: string,
    primary: Server,
    standby: Server,
    begin: () => Promise<unknown>,
  ): Promise<void> {
    const began = performance.now()
    const failures = this.#failures
    await begin()
    const truth = this.truth(primary, standby)
    const copies = [this.scenario.cluster.coordinator, this.scenario.cluster.server('worker-2'), primary]
    await waitUntil(
      `${what}: every copy is right`,
      async () => {
        for (const copy of copies) expect(await this.scenario.rows(copy)).toEqual(truth)
        return true
      },
      LIMIT,
    )
    const rightMs = Math.round(performance.now() - began)
    await this.#allWrite()
    const longestMs = Math.max(0, ...this.#writers.map((writer) => writer.longestGapMs(began)))
    this.told.push({ what, rightMs, failed: this.#failures - failures, longestMs })
  }

  get #failures(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.failures, 0)
  }

  /** `citus-ha switchover` of group 1, which a program manages: nothing is touched, and the program's own command is printed. */
  async expectRefusedSwitchover(program: Manager, command: string): Promise<void> {
    const [primary, standby] = this.nodes
    await this.scenario.install('--switchover')
    await this.follows(standby, primary)
    const ran = await this.scenario.run('switchover', '--group', '1', '--yes', '--json')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 3 })
    const why = `group 1: ${program} decides who its primary is`
    const told: readonly string[] = JSON.parse(ran.stdout).refusals
    const [line] = told.filter((each) => each.startsWith(why))
    expect(line, told.join('\n')).toContain(this.at(primary))
    expect(line).toContain(`; next: ${command}`)
    expect([await primary.isInRecovery(), await standby.isInRecovery()]).toEqual([false, true])
  }

  truth(primary: Server, standby: Server): string[] {
    const { cluster } = this.scenario
    return [
      `1 group 0 primary ${this.at(cluster.coordinator)}`,
      `2 group 1 primary ${this.at(primary)}`,
      `3 group 2 primary ${this.at(cluster.server('worker-2'))}`,
      // As soon as the tool has it follow; its reads go to the primary until then.
      expect.stringMatching(new RegExp(`^4 group 1 secondary (${this.at(standby)}|${lentTo(primary)})$`)),
    ]
  }

  /** Stops the clients. @returns what they were told is written and is not there */
  async lost(): Promise<{ readonly id: number; readonly at: number }[]> {
    await Promise.all(this.#writers.map((writer) => writer.stop()))
    if (standin) return []
    const { cluster } = this.scenario
    const rows = await cluster.coordinator.query<{ id: number }>('SELECT id FROM items', [], {
      database: cluster.database,
    })
    const there = new Set(rows.map(({ id }) => id))
    return this.#writers.flatMap((writer) => writer.acknowledged).filter(({ id }) => !there.has(id))
  }

  /** Replication is asynchronous: rows acknowledged just before the kill may be gone with the old primary. No others. */
  async expectLostBefore(at: number): Promise<void> {
    const lost = await this.lost()
    process.stdout.write(
      `${this.#name}: ${lost.length} rows acknowledged before the kill were lost with the primary\n`,
    )
    expect(lost.filter((row) => row.at > at)).toEqual([])
  }

  /** Waits until it has replayed all that the primary has by now. */
  async follows(standby: Server, primary: Server): Promise<void> {
    await this.scenario.cluster.waitForReplay(standby, primary, LIMIT.limitMs)
  }

  /** One line a change on stdout: what the clients noticed of it. */
  #report(): void {
    for (const { what, rightMs, failed, longestMs } of this.told) {
      process.stdout.write(
        `${this.#name}, ${what}: right on every copy after ${rightMs} ms; ${failed} writes failed, longest gap ${longestMs} ms\n`,
      )
    }
  }

  /** Does a test's work; what fails is thrown with the logs of everything. The calls of citus-ha have to have been good. */
  async run(work: () => Promise<void>): Promise<void> {
    await work().catch(async (cause: unknown) => {
      const calls = (await this.program.calls()).map(
        (call) => `${call.args.join(' ')}\n${call.exitCode}: ${call.said}`,
      )
      throw new Error([...calls, this.#logs()].join('\n'), { cause })
    })
    this.#report()
    for (const { args, exitCode, ms, said } of await this.program.calls()) {
      // A loop that asks a monitor hears its word before the promotion is through (D022), or, in the round in which the
      // monitor gives its order, still the word of before it (D023): refused then, truly, and asked again a second later.
      const isEarly =
        args.includes('pg_auto_failover') && /promotion-running \(D022\)|lineage-mismatch \(D023\)/.test(said)
      expect(exitCode, `${args.join(' ')}\n${said}`).toBe(isEarly ? 3 : 0)
      // A promotion that is not through is waited for no longer than --timeout, 10 s; then there is the process itself.
      expect(ms, `${args.join(' ')}\n${said}`).toBeLessThan(15_000)
    }
  }

  #logs(): string {
    const tools = this.#tools.map((tool) => `--- ${tool.log}\n${tool.said()}`)
    const servers = this.nodes.map((server) => `--- ${server.name}\n${server.logTail(10)}`)
    return [...tools, ...servers].join('\n')
  }

  async stop(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()))
    for (const tool of [...this.#tools].reverse()) await tool.stop()
    for (const server of this.nodes) killServer(server)
    const keep = process.env.CITUS_HA_TOOL_LOGS
    if (keep) await cp(this.shop.directory, keep, { recursive: true, filter: isLog })
    await this.scenario.stop()
  }
}

function isLog(path: string): boolean {
  return !path.includes('/') || /\.log$|\/calls$|\/citus-ha-\w+$/.test(path)
}
