import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cluster } from '../../src/demo/cluster.ts'
import { readSettings, writeSettings } from '../../src/demo/conf.ts'
import { copyCold } from '../../src/demo/data-directory.ts'
import type { Server } from '../../src/demo/server.ts'
import { removeSharedMemory } from '../../src/demo/shared-memory.ts'

/** Makes a server, which does not run, one that finds no more WAL than it has, and starts it: it stays in recovery. */
export async function startAlone(server: Server): Promise<void> {
  const settings = await readSettings(server.directory)
  settings.set('primary_conninfo', '').set('recovery_target_timeline', 'current')
  await writeSettings(server.directory, settings)
  await server.start()
}

/** A backup of a running server as it is now: a stopped standby, in no row of Citus's. */
export async function takeBackup(cluster: Cluster, of: Server, name: string): Promise<Server> {
  const backup = await cluster.addStandby(of, name, { registered: false })
  await backup.stop()
  return backup
}

/**
 * What somebody does who restores a backup at a server's address: its data is what the backup has, and it is promoted.
 * @param archive a server of the same system whose timeline is known to the archive, so that the next number is taken
 */
export async function restoreAt(at: Server, backup: Server, archive?: Server): Promise<void> {
  const own = await readSettings(at.directory)
  await at.kill()
  removeSharedMemory(at.directory)
  await rm(at.directory, { recursive: true })
  await copyCold(backup.directory, at.directory)
  await writeSettings(at.directory, own)
  if (archive) {
    const [row] = await archive.query<{ name: string }>(
      `SELECT name FROM pg_ls_waldir() WHERE name LIKE '%.history' ORDER BY name DESC LIMIT 1`,
    )
    if (!row) throw new Error(`${archive.name} has no history file`)
    await copyCold(join(archive.directory, 'pg_wal', row.name), join(at.directory, 'pg_wal', row.name))
  }
  await startAlone(at)
  await at.promote()
}
