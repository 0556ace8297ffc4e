import { execFile, type PromiseWithChild } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
/** What a clone does not have. */
const NOT_CLONED = new Set(['.git', 'node_modules', 'dist'])
const NPM = '/usr/lib/node_modules/npm'
const BOOTSTRAP_LIMIT_MS = 600_000
const LONGEST_OUTPUT = 64 * 1024 * 1024

// Own mounts and processes: all of them end with the command.
const ALONE = ['--mount', '--pid', '--ipc', '--fork', '--kill-child']
const ENTER = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
mount --bind "$1" "$0/npm-cache" && shift && exec chroot "$0" "$@"`

/** What a command in the root ended with. */
export interface Ran {
  readonly exitCode: number
  /** Of both streams. */
  readonly output: string
}

/**
 * The smallest Debian, from the mirror of this machine's apt, with this machine's Node and npm, and this repository as
 * a clone has it: no PostgreSQL, no psql, no procps, no openssl.
 */
export class BareRoot {
  readonly #directory: string
  readonly #npm: Npm

  private constructor(directory: string, npm: Npm) {
    this.#directory = directory
    this.#npm = npm
  }

  /** @returns in one line why this machine can't make one */
  static async make(): Promise<BareRoot | string> {
    const impossible = await whyNot()
    if (impossible !== null) return impossible
    const { suite, mirror } = (await debian()) ?? {}
    if (suite === undefined || mirror === undefined) return 'apt knows no mirror of this Debian'
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-root-'))
    const root = new BareRoot(directory, await npmOfThisMachine())
    try {
      await run('debootstrap', ['--variant=minbase', suite, directory, mirror], {
        timeout: BOOTSTRAP_LIMIT_MS,
        maxBuffer: LONGEST_OUTPUT,
      })
    } catch (error) {
      await root.remove()
      return `debootstrap made no root of ${suite} from ${mirror}: ${lastLine(error)}`
    }
    await root.#furnish()
    const { exitCode, output } = await root.run('node --version && npm --version')
    if (exitCode === 0) return root
    await root.remove()
    return `this machine’s Node does not run in it: ${output.trim()}`
  }

  async #furnish(): Promise<void> {
    const within = (path: string) => join(this.#directory, path)
    // PostgreSQL’s servers are somebody else’s than root’s, who has to get in.
    await chmod(this.#directory, 0o755)
    await cp(await realpath(process.execPath), within('/usr/bin/node'))
    await cp(this.#npm.directory, within(NPM), { recursive: true })
    for (const name of ['npm', 'npx'])
      await symlink(join(NPM, `bin/${name}-cli.js`), within(`/usr/bin/${name}`))
    for (const file of ['/etc/resolv.conf', ...this.#npm.files]) {
      await mkdir(dirname(within(file)), { recursive: true })
      await cp(await realpath(file), within(file))
    }
    await writeFile(within('/etc/hosts'), '127.0.0.1 localhost\n')
    await mkdir(within('/npm-cache'))
    await cp(REPOSITORY, within('/srv/citus-ha'), {
      recursive: true,
      filter: (path) => !NOT_CLONED.has(path.slice(REPOSITORY.length)),
    })
  }

  /** Runs it by `sh` in the clone, as root; everything that it starts has ended afterwards. */
  async run(command: string, limitMs = 60_000): Promise<Ran> {
    const inside = ['sh', '-c', `cd /srv/citus-ha && { ${command}; } 2>&1`]
    const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/root', NO_COLOR: '1', ...this.#npm.env }
    const child: PromiseWithChild<{ stdout: string }> = run(
      'unshare',
      [...ALONE, 'sh', '-c', ENTER, this.#directory, this.#npm.cache, ...inside],
      { env, timeout: limitMs, killSignal: 'SIGKILL', maxBuffer: LONGEST_OUTPUT },
    )
    return await child.then(
      ({ stdout }) => ({ exitCode: 0, output: stdout }),
      ({ code, stdout, stderr }) => ({
        exitCode: typeof code === 'number' ? code : -1,
        output: stdout + stderr,
      }),
    )
  }

  /** Copies a file of this machine into it. */
  async put(file: string, path: string): Promise<void> {
    await cp(file, join(this.#directory, path))
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function whyNot(): Promise<string | null> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root on Linux can make one'
  const works = async (program: string, ...args: string[]) =>
    await run(program, args).then(
      () => true,
      () => false,
    )
  if (!(await works('unshare', ...ALONE, 'true'))) return 'unshare may not make namespaces here'
  if (!(await works('which', 'debootstrap'))) return 'no debootstrap'
  return null
}

/** Where apt has this release from. */
async function debian(): Promise<{ suite: string; mirror: string } | null> {
  const os = await readFile('/etc/os-release', 'utf8').catch(() => '')
  const suite = /^VERSION_CODENAME=(\S+)$/m.exec(os)?.[1]
  const format = '$(RELEASE) $(COMPONENT) $(REPO_URI)'
  const args = ['indextargets', '--format', format, 'Identifier: Packages']
  const { stdout } = await run('apt-get', args).catch(() => ({ stdout: '' }))
  const targets = stdout.split('\n').map((line) => line.split(' '))
  const mirror = targets.find(([release, part]) => release === suite && part === 'main')?.[2]
  return suite === undefined || mirror === undefined ? null : { suite, mirror }
}

/** How this machine's npm reaches its registry; what it has fetched already is not fetched again. */
interface Npm {
  readonly directory: string
  readonly cache: string
  readonly env: Readonly<Record<string, string>>
  /** Those that `env` names. */
  readonly files: readonly string[]
}

async function npmOfThisMachine(): Promise<Npm> {
  const { stdout: found } = await run('which', ['npm'])
  const { stdout: json } = await run('npm', ['config', 'list', '--long', '--json'], { cwd: '/' })
  const config: { registry: string; cache: string; cafile: string | null } = JSON.parse(json)
  const certificates = process.env.NODE_EXTRA_CA_CERTS
  const files = [config.cafile, certificates].filter((file) => file && existsSync(file)) as string[]
  const proxies = Object.entries(process.env).filter(([name]) => /^(https?|no)_proxy$/i.test(name))
  await mkdir(config.cache, { recursive: true })
  return {
    directory: dirname(dirname(await realpath(found.trim()))),
    cache: config.cache,
    env: {
      npm_config_cache: '/npm-cache',
      npm_config_prefer_offline: 'true',
      npm_config_registry: config.registry,
      ...(config.cafile && { npm_config_cafile: config.cafile }),
      ...(certificates && { NODE_EXTRA_CA_CERTS: certificates }),
      ...(Object.fromEntries(proxies) as Record<string, string>),
    },
    files: [...new Set(files)],
  }
}

function lastLine(error: unknown): string {
  const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string }
  return (stdout + stderr).trim().split('\n').at(-1) || message
}
