import { appendFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { changeSettings } from '../../../src/demo/conf.ts'
import { PortPool } from '../../../src/demo/ports.ts'
import { killFamily } from '../../../src/demo/processes.ts'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { blockOf } from './page.ts'
import { killServer, put, Tool, tell, type Workshop } from './process.ts'
import type { Trial } from './trial.ts'

/** Seconds instead of half a minute; what is tried does not depend on it. */
const FAST = `
pgautofailover.health_check_period = 1000
pgautofailover.health_check_timeout = 1000
pgautofailover.health_check_max_retries = 1
pgautofailover.health_check_retry_delay = 500
pgautofailover.node_considered_unhealthy_timeout = 3000
pgautofailover.primary_demote_timeout = 3000
pgautofailover.startup_grace_period = 1000
`

/** pg_auto_failover with a monitor of its own for group 1, as a plain PostgreSQL formation. */
export class AutoFailover {
  readonly #trial: Trial
  readonly #ports = new PortPool()
  readonly #running = new Map<Server, Tool>()
  #shop: Workshop
  /** The monitor's, as `pg_autoctl show uri --monitor` has it. */
  monitor = ''

  constructor(trial: Trial) {
    this.#trial = trial
    this.#shop = trial.shop
  }

  /** Takes over group 1: the primary as it is, its standby by a base backup. */
  async start(): Promise<void> {
    const { nodes, shop, scenario } = this.#trial
    const { directory } = shop
    this.#shop = { ...shop, env: { ...shop.env, XDG_RUNTIME_DIR: directory } }
    const port = await this.#ports.take()
    const data = join(directory, 'monitor')
    const common = ['--auth', 'trust', '--no-ssl', '--hostname', '127.0.0.1']
    const pgctl = ['--pgctl', join(scenario.cluster.binaries.bindir, 'pg_ctl')]
    await this.#autoctl('create', 'monitor', '--pgdata', data, '--pgport', String(port), ...common, ...pgctl)
    await appendFile(join(data, 'postgresql.conf'), FAST)
    this.#trial.keep(Tool.start(this.#shop, 'monitor', 'pg_autoctl', ['run', '--pgdata', data]))
    this.monitor = `postgres://autoctl_node@127.0.0.1:${port}/pg_auto_failover`
    await waitUntil('the monitor answers', () => this.#autoctl('show', 'state', '--monitor', this.monitor))
    for (const server of [...nodes].reverse()) await server.stop()
    // Crash recovery before a rewind listens on a socket alone.
    await changeSettings(nodes[0].directory, { unix_socket_directories: directory })
    await appendFile(join(nodes[0].directory, 'pg_hba.conf'), 'local all,replication all trust\n')
    await rm(nodes[1].directory, { recursive: true })
    for (const [n, server] of nodes.entries()) {
      const own = ['--pgdata', server.directory, '--pghost', '127.0.0.1', '--pgport', String(server.port)]
      const name = ['--name', `w1${'ab'[n]}`, '--username', 'postgres']
      await this.#autoctl(
        'create',
        'postgres',
        ...own,
        ...name,
        '--monitor',
        this.monitor,
        ...common,
        ...pgctl,
      )
      this.startNode(server)
    }
    await this.settled(nodes[0], nodes[1])
  }

  startNode(server: Server): void {
    const args = ['run', '--pgdata', server.directory]
    const tool = Tool.start(this.#shop, `pg_autoctl-${server.name}`, 'pg_autoctl', args)
    this.#running.set(server, this.#trial.keep(tool))
  }

  /** The monitor has both where they should be: the standby is synchronous, and may be promoted. */
  async settled(primary: Server, standby: Server): Promise<void> {
    await waitUntil(
      'the monitor has a primary and a secondary',
      async () => {
        const state = JSON.parse(await this.#autoctl('show', 'state', '--json', '--monitor', this.monitor))
        const of = ({ port }: Server) =>
          state.find((node: Record<string, unknown>) => node.nodeport === port || node.node_port === port)
        const both = JSON.stringify([of(primary), of(standby)])
        return /"primary".*"primary".*"secondary".*"secondary"/.test(both)
      },
      { limitMs: 60_000, everyMs: 200 },
    )
  }

  /** pg_autoctl and its server at once, as with the machine. */
  async lose(server: Server): Promise<void> {
    const tool = this.#running.get(server)
    if (tool?.isRunning) killFamily(tool.pid)
    killServer(server)
  }

  async switchover(): Promise<void> {
    await this.#autoctl('perform', 'switchover', '--monitor', this.monitor)
  }

  /** The page's loop that asks the monitor. */
  async poll(): Promise<Tool> {
    const { program, config } = this.#trial
    const text = await blockOf('pg_auto_failover.md', 'sh', 0, {
      '/usr/local/bin/citus-ha': program.path,
      '/etc/citus-ha/citus-ha.yaml': config,
      // Of several hosts the one that answers is asked: nobody listens at the first.
      'postgres://autoctl_node@monitor.example:5432/pg_auto_failover': this.monitor.replace(
        '@',
        '@127.0.0.1:1,',
      ),
    })
    const file = await put(this.#shop, join(this.#shop.directory, 'poll.sh'), text, 0o755)
    return this.#trial.keep(Tool.start(this.#shop, 'poll', 'sh', [file]))
  }

  async #autoctl(...args: string[]): Promise<string> {
    return await tell(this.#shop, 'pg_autoctl', ...args)
  }

  stop(): void {
    this.#ports.release()
  }
}
