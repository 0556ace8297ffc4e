import { join } from 'node:path'
import { PortPool } from '../../../src/demo/ports.ts'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { blockOf } from './page.ts'
import { put, Tool, tell, type Workshop } from './process.ts'
import type { Trial } from './trial.ts'

const PCP = 'pcp'

/** Pgpool-II in front of group 1. Nobody connects through it: what counts is that it watches and promotes. */
export class Pgpool {
  readonly #trial: Trial
  readonly #ports = new PortPool()
  #pcpPort = 0
  #shop: Workshop

  constructor(trial: Trial) {
    this.#trial = trial
    this.#shop = trial.shop
  }

  async start(): Promise<void> {
    const { shop, nodes, program, config } = this.#trial
    const { directory } = shop
    this.#pcpPort = await this.#ports.take()
    const passfile = await put(shop, join(directory, 'pcppass'), `*:*:${PCP}:secret\n`)
    this.#shop = {
      ...shop,
      env: { ...shop.env, PATH: `${directory}:${shop.env.PATH}`, PCPPASSFILE: passfile },
    }
    await this.#trial.pretendSsh()
    const md5 = (await tell(this.#shop, 'pg_md5', 'secret')).trim()
    await put(shop, join(directory, 'pcp.conf'), `${PCP}:${md5}\n`)
    const promote = await put(
      shop,
      join(directory, 'promote.sh'),
      await blockOf('pgpool.md', 'sh', 0, {}),
      0o755,
    )
    const follow = await put(shop, join(directory, 'follow.sh'), this.#followScript(), 0o755)
    const lines = await blockOf('pgpool.md', 'ini', 0, {
      '/etc/pgpool2/promote.sh': promote,
      '/etc/pgpool2/follow_primary.sh': follow,
      '/usr/local/bin/citus-ha': program.path,
      '/etc/citus-ha/citus-ha.yaml': config,
    })
    const file = await put(shop, join(directory, 'pgpool.conf'), lines + (await this.#rest(nodes)))
    const pcp = join(directory, 'pcp.conf')
    const args = ['-n', '-D', '-f', file, '-F', pcp, '-a', '/dev/null', '-k', '/dev/null']
    this.#trial.keep(Tool.start(this.#shop, 'pgpool', 'pgpool', args))
    for (const node of [0, 1]) await this.#isUp(node)
  }

  async #rest(nodes: readonly Server[]): Promise<string> {
    const { directory } = this.#trial.shop
    const backends = nodes.flatMap((server, n) => [
      `backend_hostname${n} = '127.0.0.1'`,
      `backend_port${n} = ${server.port}`,
      `backend_data_directory${n} = '${server.directory}'`,
      `backend_flag${n} = 'ALLOW_TO_FAILOVER'`,
    ])
    const own = [
      `listen_addresses = '127.0.0.1'`,
      `port = ${await this.#ports.take()}`,
      `pcp_listen_addresses = '127.0.0.1'`,
      `pcp_port = ${this.#pcpPort}`,
      ...['unix_socket_directories', 'pcp_socket_dir', 'logdir', 'work_dir'].map(
        (name) => `${name} = '${directory}'`,
      ),
      `pid_file_name = '${directory}/pgpool.pid'`,
      'num_init_children = 2',
      `sr_check_user = 'postgres'`,
      `health_check_user = 'postgres'`,
      'sr_check_period = 1',
      'health_check_period = 1',
      'health_check_timeout = 2',
      'health_check_max_retries = 1',
      'health_check_retry_delay = 1',
    ]
    return `\n${[...own, ...backends].join('\n')}\n`
  }

  /** The page's way to bring a node back, for servers whose configuration is in the data directory. */
  #followScript(): string {
    return `#!/bin/sh
# %d %D %H %r
set -e
psql -qAt -h "$3" -p "$4" -U postgres -d postgres -c CHECKPOINT
pg_ctl -D "$2" -m fast stop || true
cp "$2/postgresql.conf" "$2.conf"
pg_rewind -D "$2" --source-server="host=$3 port=$4 user=postgres dbname=postgres"
cp "$2.conf" "$2/postgresql.conf"
echo "primary_conninfo = 'host=$3 port=$4 user=postgres'" >> "$2/postgresql.auto.conf"
touch "$2/standby.signal"
pg_ctl -D "$2" -w -l "$2-follow.log" start
pcp_attach_node -w -h 127.0.0.1 -p ${this.#pcpPort} -U ${PCP} -n "$1"
`
  }

  async switchover(to: Server): Promise<void> {
    const node = String(this.#trial.nodes.indexOf(to))
    await this.#pcp('pcp_promote_node', '--switchover', '-n', node)
  }

  /**
   * Its follow_primary_command has brought it back, for the n-th time, and has ended: Pgpool-II gets confused by a
   * switchover before.
   */
  async broughtBack(server: Server, n: number): Promise<void> {
    await waitUntil(
      `${server.name} is brought back`,
      async () => {
        const calls = await this.#trial.program.calls()
        return calls.filter(({ args }) => args.includes('follow_primary')).length >= n
      },
      { limitMs: 40_000 },
    )
    await this.#isUp(this.#trial.nodes.indexOf(server))
  }

  async #isUp(node: number): Promise<void> {
    await waitUntil(
      `node ${node} is up`,
      async () => {
        const said = await this.#pcp('pcp_node_info', '-n', String(node))
        // Host, port, status (1, 2: attached), weight, the status in words, what was seen of it.
        return /^\S+ \d+ [12] \S+ \w+ up /.test(said)
      },
      { limitMs: 40_000, everyMs: 200 },
    )
  }

  async #pcp(program: string, ...args: string[]): Promise<string> {
    const access = ['-w', '-h', '127.0.0.1', '-p', String(this.#pcpPort), '-U', PCP]
    return await tell(this.#shop, program, ...access, ...args)
  }

  stop(): void {
    this.#ports.release()
  }
}
