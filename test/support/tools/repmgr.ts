import { join } from 'node:path'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { blockOf } from './page.ts'
import { put, Tool, tell } from './process.ts'
import type { Trial } from './trial.ts'

/** repmgr with repmgrd for group 1. */
export class Repmgr {
  readonly #trial: Trial
  readonly #files = new Map<Server, string>()

  constructor(trial: Trial) {
    this.#trial = trial
  }

  /** Registers the running servers of group 1, and starts a repmgrd for each. */
  async start(): Promise<void> {
    const { nodes, scenario } = this.#trial
    const [primary] = nodes
    await this.#trial.pretendSsh()
    for (const [n, server] of nodes.entries()) await this.#configure(server, n + 1)
    await primary.query('CREATE DATABASE repmgr', [], { database: 'postgres' })
    for (const server of nodes) {
      await scenario.cluster.waitForReplay(nodes[1], primary)
      await this.#repmgr(server, server === primary ? 'primary' : 'standby', 'register', '--force')
    }
    for (const server of nodes) this.#startDaemon(server)
    await waitUntil('both daemons run', async () => {
      const status = await this.#repmgr(primary, 'daemon', 'status', '--csv')
      return status.split('\n').filter((line) => /,1,\d+,0,/.test(line)).length === 2
    })
  }

  async #configure(server: Server, id: number): Promise<void> {
    const { shop, program, config, scenario } = this.#trial
    const file = join(shop.directory, `repmgr-${id}.conf`)
    const lines = await blockOf('repmgr.md', 'ini', 0, {
      'node_id = 2': `node_id = ${id}`,
      "'w1b'": `'${server.name}'`,
      'host=w1b.example user=repmgr': `host=127.0.0.1 port=${server.port} user=postgres`,
      'w1b.example:5432': `127.0.0.1:${server.port}`,
      '/var/lib/postgresql/15/main': server.directory,
      '/etc/repmgr.conf': file,
      '/usr/local/bin/citus-ha': program.path,
      '/etc/citus-ha/citus-ha.yaml': config,
    })
    const fast = `
pg_bindir = '${scenario.cluster.binaries.bindir}'
pg_ctl_options = '-l ${server.directory}-repmgr.log'
monitor_interval_secs = 1
reconnect_attempts = 2
reconnect_interval = 1
connection_check_type = connection
log_level = INFO
`
    this.#files.set(server, await put(shop, file, lines + fast))
  }

  #startDaemon(server: Server): void {
    const args = ['-f', this.#files.get(server) ?? '', '--daemonize=false', '--no-pid-file']
    this.#trial.keep(Tool.start(this.#trial.shop, `repmgrd-${server.name}`, 'repmgrd', args))
  }

  async #repmgr(server: Server, ...args: string[]): Promise<string> {
    const { shop } = this.#trial
    const env = { ...shop.env, PATH: `${shop.directory}:${shop.env.PATH}` }
    return await tell({ ...shop, env }, 'repmgr', '-f', this.#files.get(server) ?? '', ...args)
  }

  /** What a person does with the machine that comes back, as the page says. */
  async rejoin(server: Server, primary: Server): Promise<void> {
    const { shop, scenario } = this.#trial
    const single = join(scenario.cluster.binaries.bindir, 'postgres')
    // Shut down cleanly, as pg_rewind wants it, without ever taking a connection.
    await tell(shop, 'sh', '-c', '"$0" --single -D "$1" template1 < /dev/null', single, server.directory)
    // Until its first checkpoint the promoted node's control file has the old timeline, and pg_rewind believes it.
    await primary.query('CHECKPOINT', [], { database: 'postgres' })
    const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres dbname=repmgr`
    await this.#repmgr(
      server,
      'node',
      'rejoin',
      '-d',
      conninfo,
      '--force-rewind',
      '--config-files=postgresql.conf',
    )
  }

  /** Run on the node that is to be promoted. */
  async switchover(to: Server): Promise<void> {
    await this.#repmgr(to, 'standby', 'switchover')
  }
}
