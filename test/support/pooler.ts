import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { serverAccount } from '../../src/demo/account.ts'
import { PortPool } from '../../src/demo/ports.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { HostPort } from '../../src/model/node.ts'

/** Whether a pgbouncer is installed here. */
export async function hasPooler(): Promise<boolean> {
  return await promisify(execFile)('pgbouncer', ['--version']).then(
    () => true,
    () => false,
  )
}

/** A pgbouncer of pool mode `session` in front of one server. */
export class Pooler {
  readonly address: HostPort
  readonly #process: ChildProcess
  readonly #directory: string
  readonly #ports: PortPool

  private constructor(address: HostPort, process: ChildProcess, directory: string, ports: PortPool) {
    this.address = address
    this.#process = process
    this.#directory = directory
    this.#ports = ports
  }

  /** @param ignored its `ignore_startup_parameters` */
  static async start(before: Server, ignored: string): Promise<Pooler> {
    const ports = new PortPool()
    const address = { host: '127.0.0.1', port: await ports.take() }
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-pooler-'))
    const users = join(directory, 'users')
    const file = join(directory, 'pgbouncer.ini')
    await writeFile(users, '"citus_ha" ""\n"postgres" ""\n', { mode: 0o644 })
    const settings = [
      ...['[databases]', `* = host=${before.host} port=${before.port}`, '[pgbouncer]'],
      ...[`listen_addr = ${address.host}`, `listen_port = ${address.port}`, 'unix_socket_dir ='],
      ...['auth_type = trust', `auth_file = ${users}`, 'pool_mode = session'],
      ...(ignored === '' ? [] : [`ignore_startup_parameters = ${ignored}`]),
    ]
    await writeFile(file, `${settings.join('\n')}\n`, { mode: 0o644 })
    await promisify(execFile)('chmod', ['755', directory])
    // It refuses to run as root, as PostgreSQL does.
    const account = (await serverAccount()) ?? {}
    const process = spawn('pgbouncer', [file], { ...account, cwd: '/', stdio: 'ignore' })
    const pooler = new Pooler(address, process, directory, ports)
    await waitUntil('the pooler listens', async () => {
      const socket = connect(address.port, address.host)
      return await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(() => false),
      ])
        .catch(() => false)
        .finally(() => socket.destroy())
    })
    return pooler
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null) {
      this.#process.kill('SIGINT')
      this.#process.kill('SIGTERM')
      await once(this.#process, 'exit')
    }
    await rm(this.#directory, { recursive: true, force: true })
    this.#ports.release()
  }
}
