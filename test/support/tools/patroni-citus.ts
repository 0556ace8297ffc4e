import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { PortPool } from '../../../src/demo/ports.ts'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { Scenario } from '../scenario.ts'
import { Etcd } from './etcd.ts'
import { killServer, put, Tool, tell, type Workshop, workshopIn } from './process.ts'

/** Whether Patroni's section `citus` is on: then it writes `pg_dist_node`; else each group is a Patroni cluster by itself. */
export type PatroniMode = 'with its Citus mode' | 'without its Citus mode'

/** Where Patroni's programs are, if not on the PATH: of a release that is not this system's. */
export const PATRONI_BINDIR = process.env.CITUS_HA_PATRONI_BINDIR ?? '/usr/bin'

/** Patroni's release as numbers, or null without Patroni. Since 4.0 its Citus mode registers standbys as secondaries. */
export async function patroniVersion(): Promise<number[] | null> {
  const asked = promisify(execFile)(join(PATRONI_BINDIR, 'patroni'), ['--version'])
  const { stdout } = await asked.catch(() => ({ stdout: '' }))
  const found = /(\d+)\.(\d+)\.(\d+)/.exec(stdout)
  return found === null ? null : found.slice(1).map(Number)
}

interface Member {
  readonly server: Server
  readonly group: number
  readonly name: string
  readonly rest: string
  readonly file: string
}

/** A Citus cluster of six servers, two a group, that Patroni manages. */
export class PatroniCitus {
  readonly scenario: Scenario
  readonly shop: Workshop
  readonly #ports = new PortPool()
  readonly #members: Member[] = []
  readonly #running = new Map<Server, Tool>()
  readonly #isCitus: boolean
  #etcd: Etcd | null = null

  private constructor(scenario: Scenario, shop: Workshop, mode: PatroniMode) {
    this.scenario = scenario
    this.shop = shop
    this.#isCitus = mode === 'with its Citus mode'
  }

  /** Hands the running servers over to Patroni, and waits until it leads every group and has its standbys stream. */
  static async start(mode: PatroniMode = 'with its Citus mode'): Promise<PatroniCitus> {
    const scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }],
      settings: { wal_log_hints: 'on', full_page_writes: 'on' },
    })
    const { cluster } = scenario
    const shop = await workshopIn(cluster.directory, [PATRONI_BINDIR, cluster.binaries.bindir]).catch(
      async (error: unknown) => {
        await scenario.stop()
        throw error
      },
    )
    const patroni = new PatroniCitus(scenario, shop, mode)
    try {
      await patroni.#takeOver()
      return patroni
    } catch (error) {
      await patroni.stop()
      throw error
    }
  }

  async #takeOver(): Promise<void> {
    const { cluster } = this.scenario
    this.#etcd = await Etcd.start(this.shop, this.#ports)
    const groups = [
      [cluster.coordinator, ...cluster.coordinatorStandbys],
      ...cluster.workers.map(({ primary, standbys }) => [primary, ...standbys]),
    ]
    for (const [group, servers] of groups.entries()) {
      const key = this.#isCitus ? `${this.#scope(group)}/${group}` : this.#scope(group)
      await this.#etcd.put(`/service/${key}/config`, JSON.stringify(dynamic))
      for (const server of servers) this.#members.push(await this.#configure(server, group))
    }
    for (const { server } of [...this.#members].reverse()) await server.stop()
    for (const [primary, ...standbys] of groups) {
      if (primary === undefined) continue
      this.startPatroni(primary)
      await this.leads(primary)
      for (const standby of standbys) this.startPatroni(standby)
    }
    for (const [, ...standbys] of groups) for (const standby of standbys) await this.scenario.streams(standby)
  }

  async #configure(server: Server, group: number): Promise<Member> {
    const { cluster } = this.scenario
    const rest = `127.0.0.1:${await this.#ports.take()}`
    const superuser = { username: 'postgres' }
    const address = `127.0.0.1:${server.port}`
    const text = stringify({
      scope: this.#scope(group),
      name: server.name,
      ...(this.#isCitus && { citus: { group, database: cluster.database } }),
      etcd3: { host: `127.0.0.1:${this.#etcd?.port}` },
      restapi: { listen: rest, connect_address: rest },
      postgresql: {
        listen: address,
        connect_address: address,
        data_dir: server.directory,
        bin_dir: cluster.binaries.bindir,
        pgpass: join(this.shop.directory, `${server.name}.pgpass`),
        authentication: { superuser, replication: superuser, rewind: superuser },
      },
    })
    const file = await put(this.shop, join(this.shop.directory, `patroni-${server.name}.yml`), text)
    return { server, group, name: server.name, rest, file }
  }

  #member(server: Server): Member {
    const found = this.#members.find((member) => member.server === server)
    if (found === undefined) throw new Error(`Patroni does not run ${server.name}`)
    return found
  }

  startPatroni(server: Server): void {
    const { file } = this.#member(server)
    this.#running.set(server, Tool.start(this.shop, `patroni-${server.name}`, 'patroni', [file]))
  }

  /** Its Patroni says that it is the primary, and holds the leader's lock. */
  async leads(server: Server): Promise<void> {
    await this.#answers(server, 'primary')
  }

  async #answers(server: Server, path: 'primary' | 'replica'): Promise<void> {
    const url = `http://${this.#member(server).rest}/${path}`
    await waitUntil(`${server.name} is ${path}`, async () => (await fetch(url)).ok, { limitMs: 60_000 })
  }

  /** Its Patroni says that it is a standby, and it streams. */
  async follows(server: Server): Promise<void> {
    await this.#answers(server, 'replica')
    await this.scenario.streams(server)
  }

  /** `patronictl switchover`. It returns when the new primary leads. */
  async switchover(from: Server, to: Server): Promise<void> {
    await this.#patronictl(to, 'switchover', '--leader', from.name, '--candidate', to.name)
  }

  /** `patronictl restart` of a server, which keeps its role. */
  async restart(server: Server): Promise<void> {
    await this.#patronictl(server, 'restart', server.name)
  }

  async #patronictl(server: Server, command: string, ...args: readonly string[]): Promise<void> {
    const { file, group } = this.#member(server)
    const of = this.#isCitus ? ['--group', String(group)] : []
    await tell(this.shop, 'patronictl', '-c', file, command, this.#scope(group), ...of, ...args, '--force')
  }

  #scope(group: number): string {
    return this.#isCitus ? 'shop' : `shop-${group}`
  }

  /** Patroni and its server at once, as with the machine. */
  async lose(server: Server): Promise<void> {
    await this.#running.get(server)?.stop('SIGKILL')
    killServer(server)
  }

  /** The end of what a server's Patroni has said. */
  said(server: Server, lines = 30): string {
    return this.#running.get(server)?.said(lines) ?? ''
  }

  async stop(): Promise<void> {
    for (const tool of this.#running.values()) await tool.stop()
    await this.#etcd?.tool.stop()
    for (const { server } of this.#members) killServer(server)
    this.#ports.release()
    await this.scenario.stop()
  }
}

/** The cluster's configuration in Patroni's store: shorter intervals than its defaults, and what Citus needs. */
const dynamic = {
  loop_wait: 1,
  retry_timeout: 2,
  ttl: 6,
  postgresql: {
    use_pg_rewind: true,
    parameters: { max_prepared_transactions: 200, max_worker_processes: 20, wal_level: 'logical' },
  },
}
