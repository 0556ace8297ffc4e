import { execFile } from 'node:child_process'
import { appendFile, copyFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { serverAccount } from '../../src/demo/account.ts'
import type { Cluster } from '../../src/demo/cluster.ts'
import { initialize } from '../../src/demo/data-directory.ts'
import type { Server } from '../../src/demo/server.ts'

const run = promisify(execFile)

/**
 * Takes a server through PostgreSQL's own pg_upgrade, with what Citus asks for before and after ("Upgrading PostgreSQL version" in
 * its documentation). To the same version here: it is another system all the same, on the first timeline. Its standbys are not.
 */
export async function pgUpgrade({ binaries, database }: Cluster, server: Server): Promise<void> {
  const account = await serverAccount()
  const { directory, port } = server
  const fresh = `${directory}.new`
  await server.query('SELECT citus_prepare_pg_upgrade()', [], { database })
  await server.stop('fast')
  await initialize(fresh, binaries, account)
  // It comes by a socket of its own.
  await appendFile(join(directory, 'pg_hba.conf'), 'local all all trust\n')
  for (const file of ['postgresql.conf', 'pg_hba.conf'])
    await copyFile(join(directory, file), join(fresh, file))
  const { bindir } = binaries
  const paths = ['-b', bindir, '-B', bindir, '-d', directory, '-D', fresh]
  const how = ['-U', 'postgres', '-p', `${port}`, '-P', `${port}`, '-s', dirname(directory)]
  await run(join(bindir, 'pg_upgrade'), [...paths, ...how], { ...account, cwd: dirname(directory) }).catch(
    (cause: Error & { readonly stdout?: string }) => {
      throw new Error(`pg_upgrade of ${server.name}: ${cause.stdout ?? ''}`, { cause })
    },
  )
  await rename(directory, `${directory}.old`)
  await rename(fresh, directory)
  await rm(`${directory}.old`, { recursive: true })
  await server.start()
  await server.query('SELECT citus_finish_pg_upgrade()', [], { database })
}
