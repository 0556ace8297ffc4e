import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Settings of one server by name, without quotes; null takes a setting out again. */
export type Settings = Readonly<Record<string, string | null>>

const FILE = 'postgresql.conf'

/** The settings every server has. Durability is given up for speed: nothing here outlives the demo or test. */
export function baseSettings(major: number): Settings {
  return {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    shared_buffers: '16MB',
    dynamic_shared_memory_type: 'mmap', // in the data directory, so that a SIGKILL leaves no file in /dev/shm
    max_connections: '100',
    max_worker_processes: '20',
    max_wal_senders: '20',
    max_replication_slots: '20',
    max_prepared_transactions: '50', // Citus sets it only where it is unset
    wal_level: 'logical', // Citus moves shards by logical replication
    hot_standby: 'on',
    ...(major >= 13 ? { wal_keep_size: '256MB' } : { wal_keep_segments: '64' }),
    min_wal_size: '32MB',
    max_wal_size: '512MB',
    checkpoint_timeout: '30min',
    wal_receiver_status_interval: '1s',
    wal_retrieve_retry_interval: '100ms',
    fsync: 'off',
    full_page_writes: 'off',
    ...(major >= 11 ? { jit: 'off' } : {}),
    ...(major >= 18 ? { io_method: 'sync' } : {}),
    log_line_prefix: '%m [%p] %q%a ',
    log_timezone: 'UTC',
    timezone: 'UTC',
    lc_messages: 'C',
  }
}

/** Reads the settings of a data directory that `changeSettings` wrote. */
export async function readSettings(data: string): Promise<Map<string, string>> {
  const text = await readFile(join(data, FILE), 'utf8')
  const found = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, name, value] = /^(\S+) = '(.*)'$/.exec(line) ?? []
    if (name !== undefined && value !== undefined) found.set(name, value.replaceAll("''", "'"))
  }
  return found
}

/** Changes some settings in a data directory's `postgresql.conf`; the server has to be told. */
export async function changeSettings(data: string, changes: Settings): Promise<void> {
  const settings = await readSettings(data)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) settings.delete(name)
    else settings.set(name, value)
  }
  await writeSettings(data, settings)
}

/** Replaces `postgresql.conf`. */
export async function writeSettings(data: string, settings: ReadonlyMap<string, string>): Promise<void> {
  const lines = [...settings].map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
  await writeFile(join(data, FILE), lines.join(''))
}
