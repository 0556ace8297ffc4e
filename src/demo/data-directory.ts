import { execFile } from 'node:child_process'
import type { Dirent } from 'node:fs'
import { chown, copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './account.ts'
import type { Binaries } from './binaries.ts'
import { changeSettings, type Settings, writeSettings } from './conf.ts'
import type { Server } from './server.ts'
import { all } from './wait.ts'

const run = promisify(execFile)

// Contents that a base backup leaves out ("Backing Up The Data Directory" in PostgreSQL's manual).
const EMPTIED = new Set(
  'pg_wal pg_replslot pg_dynshmem pg_notify pg_serial pg_snapshots pg_stat_tmp pg_subtrans'.split(' '),
)
const LEFT_OUT =
  /^(postmaster\.(pid|opts)|backup_label.*|tablespace_map.*|standby\.signal|pg_internal\.init.*)$/

/** Runs initdb: trust authentication, the superuser `postgres`, no durability. */
export async function initialize(data: string, binaries: Binaries, account: Account | null): Promise<void> {
  const options = [
    '-D',
    data,
    '-U',
    'postgres',
    '-A',
    'trust',
    '--encoding',
    'UTF8',
    '--locale',
    'C',
    '--no-sync',
  ]
  if (binaries.major >= 11) options.push('--wal-segsize', '4')
  if (binaries.major >= 14) options.push('--no-instructions')
  await run(join(binaries.bindir, 'initdb'), options, { ...account, cwd: dirname(data) })
}

/** Writes `postgresql.conf` and `pg_hba.conf` anew; `hba` lines come before "everybody is trusted". */
export async function writeConfiguration(
  data: string,
  settings: Settings,
  hba: readonly string[] = [],
): Promise<void> {
  const set = Object.entries(settings).filter((entry): entry is [string, string] => entry[1] !== null)
  await writeSettings(data, new Map(set))
  const lines = [
    ...hba,
    'host all,replication all 127.0.0.1/32 trust',
    'host all,replication all samehost trust',
  ]
  await writeFile(join(data, 'pg_hba.conf'), `${lines.join('\n')}\n`)
}

/** Copies the data directory of a server that does not run. */
export async function copyCold(from: string, to: string): Promise<void> {
  await run('cp', ['-a', from, to], { cwd: dirname(to) })
}

/** What makes a data directory a streaming standby of `upstream`. */
export async function makeStandby(
  data: string,
  name: string,
  upstream: { readonly host: string; readonly port: number },
  account: Account | null,
): Promise<void> {
  const conninfo = `host=${upstream.host} port=${upstream.port} user=postgres application_name=${name}`
  await changeSettings(data, { primary_conninfo: conninfo })
  await writeOwned(join(data, 'standby.signal'), '', account)
}

/**
 * A base backup of a running server without pg_basebackup: pg_backup_start, a copy of the files, and
 * pg_backup_stop in one session. The WAL is left to streaming.
 */
export async function copyOnline(
  from: Server,
  major: number,
  to: string,
  account: Account | null,
): Promise<void> {
  const [start, stop] =
    major >= 15
      ? ["select pg_backup_start('citus-ha', true)", 'select labelfile from pg_backup_stop(false)']
      : [
          "select pg_start_backup('citus-ha', true, false)",
          'select labelfile from pg_stop_backup(false, false)',
        ]
  await rm(to, { recursive: true, force: true })
  await from.withClient(
    async (client) => {
      await client.query(start)
      await copyTree(from.directory, to, account)
      const { rows } = await client.query<{ labelfile: string }>(stop)
      const [label] = rows
      if (label === undefined) throw new Error(`${from.name} gave no backup label`)
      await writeOwned(join(to, 'backup_label'), label.labelfile, account)
    },
    { database: 'postgres' },
  )
  await writeOwned(join(to, 'postgresql.auto.conf'), '', account)
}

/** Copies a directory whose files may vanish meanwhile. */
async function copyTree(from: string, to: string, account: Account | null): Promise<void> {
  await mkdir(to, { mode: 0o700 })
  if (account) await chown(to, account.uid, account.gid)
  const entries = (await readdir(from, { withFileTypes: true }).catch(ignoreVanished)) ?? []
  const kept = entries.filter(({ name }) => !LEFT_OUT.test(name))
  await all(kept.map((entry) => copyEntry(entry, join(from, entry.name), join(to, entry.name), account)))
}

async function copyEntry(
  entry: Dirent,
  source: string,
  target: string,
  account: Account | null,
): Promise<void> {
  if (entry.isDirectory()) {
    if (EMPTIED.has(entry.name)) await makeEmpty(source, target, account)
    else await copyTree(source, target, account)
  } else if (entry.isFile()) {
    await copyFile(source, target).catch(ignoreVanished)
    if (account) await chown(target, account.uid, account.gid).catch(ignoreVanished)
  }
}

async function makeEmpty(source: string, target: string, account: Account | null): Promise<void> {
  await mkdir(target, { mode: 0o700 })
  if (account) await chown(target, account.uid, account.gid)
  for (const entry of await readdir(source, { withFileTypes: true })) {
    if (entry.isDirectory() && source.endsWith('pg_wal'))
      await makeEmpty(join(source, entry.name), join(target, entry.name), account)
  }
}

function ignoreVanished(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}

async function writeOwned(path: string, text: string, account: Account | null): Promise<void> {
  await writeFile(path, text, { mode: 0o600 })
  if (account) await chown(path, account.uid, account.gid)
}
