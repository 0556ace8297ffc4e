import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, cp, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { serverAccount } from '../../src/demo/account.ts'
import { backendSettings, installBackend } from '../../src/demo/backend.ts'
import { baseSettings } from '../../src/demo/conf.ts'
import { initialize, writeConfiguration } from '../../src/demo/data-directory.ts'
import type { Server } from '../../src/demo/server.ts'
import { citusHa, type Scenario } from './scenario.ts'

const run = promisify(execFile)

/** A lost volume: initdb anew at the server's address, with Citus and our role. The snapshot puts the old one back. */
export async function makeAnew({ cluster }: Scenario, server: Server): Promise<void> {
  const { binaries, database, backend } = cluster
  await server.stop('immediate')
  await rm(server.directory, { recursive: true })
  await initialize(server.directory, binaries, await serverAccount())
  const own = { port: String(server.port), cluster_name: server.name }
  const settings = { ...baseSettings(binaries.major), ...backendSettings(backend.kind), ...own }
  await writeConfiguration(server.directory, settings)
  await server.start()
  await server.query(`CREATE DATABASE "${database}"`, [], { database: 'postgres' })
  await installBackend(server, database, backend.kind)
  await server.query('CREATE ROLE citus_ha LOGIN', [], { database })
}

/** Somebody else's coordinator at the server's address, with a cluster and a schema citus_ha of its own. */
export async function makeForeign(scenario: Scenario, server: Server): Promise<void> {
  const { database } = scenario.cluster
  await makeAnew(scenario, server)
  await server.query('SELECT citus_set_coordinator_host($1, $2)', [server.host, server.port], { database })
  const ran = await citusHa(['install', '--coordinator', server.url(database)])
  if (ran.exitCode !== 0) throw new Error(`install on a foreign cluster: ${ran.stdout}${ran.stderr}`)
}

/** Restarts a server with something in its environment; others that start later don't get it. */
export async function restartWith(server: Server, env: Readonly<Record<string, string>>): Promise<void> {
  await server.stop()
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, env)
  // The child has its environment when this returns.
  const started = server.start()
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  await started
}

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'

export const noFakeTime = (): string | null =>
  existsSync(FAKETIME) ? null : 'needs libfaketime (Debian: libfaketime)'

/** @param by such as `+1h`: between clocks of machines, which are off by as much all the time */
export async function setClock(server: Server, by: string): Promise<void> {
  await restartWith(server, { LD_PRELOAD: FAKETIME, FAKETIME: by, FAKETIME_DONT_FAKE_MONOTONIC: '1' })
}

const LOCALES = '/usr/share/i18n/locales/de_DE'

export function noTranslation({ cluster }: Scenario): string | null {
  const messages = `/usr/share/locale/de/LC_MESSAGES/postgres-${cluster.binaries.major}.mo`
  const missing = [LOCALES, messages].filter((file) => !existsSync(file))
  return missing.length === 0 ? null : `needs ${missing.join(' and ')} (Debian: locales)`
}

/** Its messages, and those of its libpq, are German. The locale is made once, and goes with the cluster. */
export async function translate({ cluster }: Scenario, server: Server): Promise<void> {
  const directory = join(cluster.directory, 'locales')
  if (!existsSync(directory)) {
    await mkdir(directory)
    await run('localedef', ['-i', 'de_DE', '-f', 'UTF-8', join(directory, 'de_DE.UTF-8')])
    await run('chmod', ['-R', 'a+rX', directory])
  }
  await restartWith(server, { LOCPATH: directory })
  await server.configure({ lc_messages: 'de_DE.UTF-8' })
  const [told] = await server.query<{ lc_messages: string }>('SHOW lc_messages')
  if (told?.lc_messages !== 'de_DE.UTF-8') throw new Error(`lc_messages is ${told?.lc_messages}`)
}

export const noMount = (): string | null =>
  process.platform === 'linux' && process.getuid?.() === 0 ? null : 'only root may mount a small file system'

const SEGMENT = 4 * 1024 * 1024

/** Puts a server's WAL on a file system of its own, which is full when the segment is that it writes now. @returns unmounts it */
export async function fillWal(server: Server): Promise<() => Promise<void>> {
  const account = await serverAccount()
  const wal = join(server.directory, 'pg_wal')
  const full = await mkdtemp(join(tmpdir(), 'citus-ha-wal-'))
  await server.stop()
  const used = await sizeOf(wal)
  const size = Math.ceil(used / SEGMENT) * SEGMENT + 3 * SEGMENT
  await run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', full])
  const heal = async () => {
    await server.kill()
    await rm(wal)
    await run('umount', [full])
    await rm(full, { recursive: true })
  }
  try {
    await cp(wal, full, { recursive: true, preserveTimestamps: true })
    if (account) {
      await run('chown', ['-R', `${account.uid}:${account.gid}`, full])
      await chown(full, account.uid, account.gid)
    }
    await rm(wal, { recursive: true })
    await symlink(full, wal)
    await server.start()
    await fill(server, full)
    return heal
  } catch (error) {
    await heal()
    throw error
  }
}

async function fill(server: Server, full: string): Promise<void> {
  const [now] = await server.query<{ standby: boolean; lsn: string }>(
    `SELECT pg_is_in_recovery() AS standby, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
            ELSE pg_current_wal_insert_lsn() END::text AS lsn`,
  )
  // Those that were made ready for later.
  const segment = now ? segmentOf(now.lsn) : ''
  const later = (await readdir(full)).filter((name) => /^[0-9A-F]{24}$/.test(name) && name.slice(8) > segment)
  for (const name of later) await rm(join(full, name))
  await run('dd', ['if=/dev/zero', `of=${join(full, 'filled')}`, 'bs=64k']).catch(
    (error: { stderr?: string }) => {
      if (!/No space left/.test(error.stderr ?? '')) throw error
    },
  )
  // What it writes next has no room any more.
  if (now && !now.standby) await server.query('SELECT pg_switch_wal()').catch(() => undefined)
}

/** The name of the segment that a WAL position is in, without its timeline. */
function segmentOf(lsn: string): string {
  const [high = '0', low = '0'] = lsn.split('/')
  const hex = (n: number) => n.toString(16).toUpperCase().padStart(8, '0')
  return hex(Number.parseInt(high, 16)) + hex(Math.floor(Number.parseInt(low, 16) / SEGMENT))
}

async function sizeOf(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true })
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Makes a primary a standby of nobody. */
export async function putInRecovery(server: Server): Promise<void> {
  await server.stop()
  const signal = join(server.directory, 'standby.signal')
  await writeFile(signal, '')
  const account = await serverAccount()
  if (account) await chown(signal, account.uid, account.gid)
  await server.start()
}
