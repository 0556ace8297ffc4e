import { chown, mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../config/config-error.ts'
import type { Account } from './account.ts'
import { type Backend, backendSettings, installBackend } from './backend.ts'
import type { Binaries } from './binaries.ts'
import { baseSettings, readSettings, writeSettings } from './conf.ts'
import { copyCold, copyOnline, initialize, makeStandby, writeConfiguration } from './data-directory.ts'
import type { PortPool } from './ports.ts'
import { Server } from './server.ts'
import type { ClusterSpec, Planned } from './topology.ts'
import { all } from './wait.ts'

/** What all servers of a cluster share. */
export interface Site {
  readonly spec: ClusterSpec
  readonly directory: string
  readonly binaries: Binaries
  readonly account: Account | null
  readonly ports: PortPool
  readonly kind: Backend['kind']
  readonly database: string
}

/** A planned server that has an address and a data directory now. */
export interface Placed extends Planned {
  readonly server: Server
}

/** The cluster's directory: `citus-ha-…` in the temporary one by default; readable by nobody else. */
export async function makeDirectory(wanted: string | undefined, account: Account | null): Promise<string> {
  const directory = wanted ?? (await temporary())
  if (wanted !== undefined) await mkdir(wanted, { mode: 0o700 })
  if (account) await chown(directory, account.uid, account.gid)
  return directory
}

/** @throws ConfigError where the directory for temporary files cannot be used */
async function temporary(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), 'citus-ha-'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError(`TMPDIR: no directory can be created in ${tmpdir()} (${code})`)
  }
}

/** A server object on a free port; nothing exists on disk yet. */
export async function newServer(site: Site, name: string): Promise<Server> {
  const { binaries, account, database } = site
  const port = await site.ports.take()
  return new Server({ name, port, directory: join(site.directory, name), binaries, account, database })
}

/** Makes the data directories of a primary (a system identifier of its own) and of its standbys. */
export async function createGroup(site: Site, primary: Placed, placed: readonly Placed[]): Promise<void> {
  const { directory } = primary.server
  await initialize(directory, site.binaries, site.account)
  const standbys = placed.filter(({ upstream }) => upstream === primary.name)
  // A primary that has never started is the cheapest base backup there is.
  await all(standbys.map(({ server }) => copyCold(directory, server.directory)))
  await configure(site, primary)
  for (const standby of standbys) {
    await configure(site, standby)
    await makeStandby(standby.server.directory, standby.name, primary.server, site.account)
  }
}

async function configure({ spec, binaries, kind }: Site, { server, settings }: Placed): Promise<void> {
  const common = { ...baseSettings(binaries.major), ...backendSettings(kind) }
  const own = { port: String(server.port), cluster_name: server.name }
  await writeConfiguration(server.directory, { ...common, ...own, ...spec.settings, ...settings }, spec.hba)
}

/** Creates the databases on a primary and gives them the node functions. */
export async function createDatabases(
  site: Site,
  primary: Server,
  databases: readonly string[],
): Promise<void> {
  for (const database of databases) {
    if (database !== 'postgres') {
      await primary.query(`create database "${database.replaceAll('"', '""')}"`, [], { database: 'postgres' })
    }
    await installBackend(primary, database, site.kind)
  }
}

/**
 * Makes `server`, which does not run, a standby of `upstream` by a fresh base backup. Settings it had before it
 * keeps; a new one takes its upstream's.
 */
export async function copyStandby(site: Site, upstream: Server, server: Server): Promise<void> {
  const before = await readSettings(server.directory).catch(() => null)
  await copyOnline(upstream, site.binaries.major, server.directory, site.account)
  const settings = before ?? (await readSettings(server.directory))
  settings.set('port', String(server.port)).set('cluster_name', server.name)
  await writeSettings(server.directory, settings)
  await makeStandby(server.directory, server.name, upstream, site.account)
}
