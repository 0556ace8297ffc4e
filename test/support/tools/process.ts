import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { chown, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Account, serverAccount } from '../../../src/demo/account.ts'
import { findBinaries } from '../../../src/demo/binaries.ts'
import { isAlive, killFamily, signal } from '../../../src/demo/processes.ts'
import type { Server } from '../../../src/demo/server.ts'
import { waitUntil } from '../../../src/demo/wait.ts'

const run = promisify(execFile)

/** Where a cluster's tools run: in its directory, so that what is left of them goes with it. */
export interface Workshop {
  readonly directory: string
  readonly account: Account | null
  readonly env: NodeJS.ProcessEnv
}

/** @param path directories of programs, before those of the environment */
export async function workshopIn(directory: string, path: readonly string[]): Promise<Workshop> {
  const env = {
    PATH: [...path, process.env.PATH, '/usr/sbin'].join(':'),
    HOME: directory,
    LC_ALL: 'C',
    PYTHONUNBUFFERED: '1',
  }
  return { directory, account: await serverAccount(), env }
}

/** Writes a file that the tools' account owns. */
export async function put(shop: Workshop, path: string, text: string, mode = 0o600): Promise<string> {
  await writeFile(path, text, { mode })
  if (shop.account) await chown(path, shop.account.uid, shop.account.gid)
  return path
}

/** SIGKILLs a server that a tool started, and all its children. */
export function killServer(server: Server): void {
  const file = join(server.directory, 'postmaster.pid')
  const [pid = ''] = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  if (pid !== '' && isAlive(Number(pid))) killFamily(Number(pid))
}

/** Runs a program to its end. @throws Error with what it said */
export async function tell(shop: Workshop, program: string, ...args: string[]): Promise<string> {
  const options = { ...shop.account, cwd: shop.directory, env: shop.env, timeout: 60_000 }
  const { stdout } = await run(program, args, options).catch(
    (error: { stderr?: string; stdout?: string }) => {
      throw new Error(`${program} ${args.join(' ')}: ${error.stderr || error.stdout}`, { cause: error })
    },
  )
  return stdout
}

/** A program that goes on running until it is stopped. Its output is in a file. */
export class Tool {
  readonly log: string
  readonly #name: string
  readonly #child: ChildProcess

  private constructor(name: string, log: string, child: ChildProcess) {
    this.#name = name
    this.log = log
    this.#child = child
    child.on('error', () => undefined)
    child.unref()
  }

  static start(shop: Workshop, name: string, program: string, args: readonly string[]): Tool {
    const log = `${shop.directory}/${name}.log`
    const out = openSync(log, 'a', 0o600)
    const { account, directory, env } = shop
    const stdio = ['ignore', out, out] as const
    try {
      return new Tool(
        name,
        log,
        spawn(program, args, { ...account, cwd: directory, env, stdio: [...stdio], detached: true }),
      )
    } finally {
      closeSync(out)
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** What it has said; its end is what a failed test needs. */
  said(lines = 30): string {
    return readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  }

  /** Ends it: first as it would like to be ended, then by force. No error where it has ended. */
  async stop(first: NodeJS.Signals = 'SIGTERM', limitMs = 15_000): Promise<void> {
    if (!this.isRunning) return
    signal(this.pid, first)
    const ended = waitUntil(`end of ${this.#name}`, () => !this.isRunning, { limitMs })
    await ended.catch(async () => {
      // Its children too: pg_autoctl's outlive it.
      killFamily(this.pid)
      await waitUntil(`end of ${this.#name}`, () => !this.isRunning)
    })
  }
}

/**
 * Whether the tool's programs are on this machine, and its extension in the PostgreSQL that the tests run; a line on stdout
 * where not.
 */
export async function installed(
  tool: string,
  programs: readonly string[],
  extension?: string,
): Promise<boolean> {
  const { bindir } = await findBinaries()
  const env = { ...process.env, PATH: `${bindir}:${process.env.PATH}:/usr/sbin` }
  const missing: string[] = []
  for (const program of [...programs, 'psql', 'pg_rewind', 'pg_basebackup']) {
    const found = await run('sh', ['-c', 'command -v "$0"', program], { env }).catch(() => null)
    if (!found) missing.push(program)
  }
  const shared = await run(join(bindir, 'pg_config'), ['--sharedir']).catch(() => ({ stdout: '' }))
  const control = join(shared.stdout.trim(), 'extension', `${extension}.control`)
  if (extension !== undefined && !existsSync(control)) missing.push(`the extension ${extension}`)
  if (missing.length > 0) process.stdout.write(`${tool}: skipped, not installed: ${missing.join(', ')}\n`)
  return missing.length === 0
}
