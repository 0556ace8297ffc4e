import { spawn } from 'node:child_process'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { serverAccount } from '../../src/demo/account.ts'
import type { Server } from '../../src/demo/server.ts'
import type { Ran, Scenario } from './scenario.ts'

/**
 * What a person has at a prompt: a shell, `citus-ha` as it is installed, PostgreSQL's own programs as the servers' account runs
 * them, and an `ssh` that is at home already. Words in CAPITALS are filled in; all else is run as it is printed.
 */
export class Machine {
  readonly #scenario: Scenario
  readonly #bin: string
  /** Of a data directory that is another server's copy: a machine of its own would have the port for itself. */
  readonly #ports = new Map<string, number>()

  private constructor(scenario: Scenario, bin: string) {
    this.#scenario = scenario
    this.#bin = bin
  }

  static async of(scenario: Scenario): Promise<Machine> {
    const { cluster } = scenario
    const bin = join(cluster.directory, 'machine')
    await mkdir(bin)
    const account = await serverAccount()
    const as = account ? `setpriv --reuid=${account.uid} --regid=${account.gid} --clear-groups ` : ''
    const { bindir } = cluster.binaries
    const program = async (name: string, body: string) => {
      await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`)
      await chmod(join(bin, name), 0o755)
    }
    const main = join(process.cwd(), 'dist/bin/citus-ha.js')
    await program('citus-ha', `exec ${process.execPath} ${main} "$@"`)
    await program('ssh', 'test "$1" != -- || shift; shift; exec sh -c "$*"')
    const own = `cd /; export PGUSER=postgres LC_ALL=C; exec ${as}${bindir}`
    for (const name of ['pg_rewind', 'pg_basebackup']) await program(name, `${own}/${name} "$@"`)
    const log = join(cluster.directory, 'machine.log')
    const options = `-w -l ${log} -o "-p $(cat ${bin}/port)"`
    await program(
      'pg_ctl',
      `case $1 in stop) set -- "$@" -w ;; *) set -- "$@" ${options} ;; esac\ntouch ${log}; chmod 666 ${log}\n${own}/pg_ctl "$@"`,
    )
    return new Machine(scenario, bin)
  }

  /** The data directory of a server that is made from another one's, and has that port. */
  directoryFor(server: Server, name: string): string {
    const directory = join(this.#scenario.cluster.directory, name)
    this.#ports.set(directory, server.port)
    return directory
  }

  /** Runs a line as it is printed, in the shell of somebody who may do no more in the database than citus-ha. */
  async run(line: string, fill: Readonly<Record<string, string>>): Promise<Ran> {
    const filled = Object.entries(fill).reduce(
      (text, [word, value]) => text.replace(new RegExp(`\\b${word}\\b`, 'g'), value),
      line,
    )
    const { cluster } = this.#scenario
    const directory = fill.DATA_DIRECTORY
    const server = cluster.servers.find((each) => each.directory === directory)
    await writeFile(join(this.#bin, 'port'), `${this.#ports.get(directory ?? '') ?? server?.port ?? ''}`)
    const env = {
      HOME: '/nonexistent',
      LC_ALL: 'C.UTF-8',
      PATH: `${this.#bin}:${process.env.PATH}`,
      PGUSER: 'citus_ha',
      ...(fill.PASSWORD && { PGPASSWORD: fill.PASSWORD }),
    }
    const child = spawn('sh', ['-c', filled], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const texts = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        texts[name] += text
      })
    // Not `close`: a server that it has started holds no pipe of ours, but a program of it may.
    const exitCode = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)))
    return { exitCode, ...texts }
  }

  /** Ends what was started by hand, of which the cluster does not know. */
  async stopStrays(): Promise<void> {
    const directories = [...this.#scenario.cluster.servers.filter((each) => !each.isRunning), ...this.#ports]
    for (const each of directories) {
      const directory = Array.isArray(each) ? each[0] : each.directory
      await this.run('pg_ctl stop -m immediate -D DATA_DIRECTORY', { DATA_DIRECTORY: directory })
    }
  }
}
