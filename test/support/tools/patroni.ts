import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { PortPool } from '../../../src/demo/ports.ts'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { Etcd } from './etcd.ts'
import { blockOf } from './page.ts'
import { killServer, put, Tool, tell } from './process.ts'
import type { Trial } from './trial.ts'

const PAGE = 'patroni.md'
const SCOPE = 'w1'

/** A Patroni cluster of its own for group 1, with etcd; it knows nothing of Citus. */
export class Patroni {
  readonly #trial: Trial
  readonly #ports = new PortPool()
  readonly #files = new Map<Server, string>()
  readonly #rests = new Map<Server, string>()
  readonly #running = new Map<Server, Tool>()

  constructor(trial: Trial) {
    this.#trial = trial
  }

  /** Takes over the running servers of group 1. */
  async start(): Promise<void> {
    const { shop, nodes } = this.#trial
    const etcd = await Etcd.start(shop, this.#ports)
    this.#trial.keep(etcd.tool)
    const dynamic = parse(await blockOf(PAGE, 'yaml', 0, {}))
    const fast = { loop_wait: 1, retry_timeout: 2, ttl: 6 }
    const settings = JSON.stringify({ ...dynamic, ...fast })
    await etcd.put(`/service/${SCOPE}/config`, settings)
    for (const [n, server] of nodes.entries()) await this.#configure(server, `w1${'ab'[n]}`, etcd.port)
    for (const server of [...nodes].reverse()) await server.stop()
    for (const server of nodes) {
      this.startPatroni(server)
      await waitUntil(`${server.name} is up`, () => server.query('SELECT 1', [], { database: 'postgres' }))
      if (server === nodes[0]) await waitUntil('it leads', async () => !(await server.isInRecovery()))
    }
  }

  /** The page's lines over what every Patroni needs. */
  async #configure(server: Server, name: string, etcd: number): Promise<void> {
    const { shop, program, config, scenario } = this.#trial
    const given = parse(
      await blockOf(PAGE, 'yaml', 1, {
        'w1a.example:5432': `127.0.0.1:${server.port}`,
        '/usr/local/bin/citus-ha': program.path,
        '/etc/citus-ha/citus-ha.yaml': config,
      }),
    )
    const rest = `127.0.0.1:${await this.#ports.take()}`
    this.#rests.set(server, rest)
    const text = stringify({
      ...given,
      name,
      etcd3: { host: `127.0.0.1:${etcd}` },
      restapi: { listen: rest, connect_address: rest },
      postgresql: {
        ...given.postgresql,
        listen: `127.0.0.1:${server.port}`,
        data_dir: server.directory,
        bin_dir: scenario.cluster.binaries.bindir,
        pgpass: join(shop.directory, `${name}.pgpass`),
        authentication: {
          superuser: { username: 'postgres' },
          replication: { username: 'postgres' },
          rewind: { username: 'postgres' },
        },
      },
    })
    this.#files.set(server, await put(shop, join(shop.directory, `${name}.yml`), text))
  }

  startPatroni(server: Server): void {
    const { shop } = this.#trial
    const file = this.#files.get(server) ?? ''
    this.#running.set(server, this.#trial.keep(Tool.start(shop, `patroni-${server.name}`, 'patroni', [file])))
  }

  /** Patroni and its server at once, as with the machine. */
  async lose(server: Server): Promise<void> {
    await this.#running.get(server)?.stop('SIGKILL')
    killServer(server)
  }

  /** Patroni alone: its server runs on. */
  async leave(server: Server): Promise<void> {
    await this.#running.get(server)?.stop('SIGKILL')
  }

  async switchover(from: Server, to: Server): Promise<void> {
    const name = (server: Server) => `w1${'ab'[this.#trial.nodes.indexOf(server)]}`
    const file = this.#files.get(to) ?? ''
    const who = ['--master', name(from), '--candidate', name(to)]
    await tell(this.#trial.shop, 'patronictl', '-c', file, 'switchover', SCOPE, ...who, '--force')
  }

  /** Patroni itself knows it for its synchronous standby: it may be promoted, and nothing acknowledged is lost. */
  async isSynchronous(standby: Server): Promise<void> {
    const url = `http://${this.#rests.get(standby)}/synchronous`
    await waitUntil(`${standby.name} is synchronous`, async () => (await fetch(url)).ok)
  }

  async stop(): Promise<void> {
    this.#ports.release()
    for (const tool of this.#running.values()) await tool.stop()
  }
}
