import { execFile } from 'node:child_process'
import { chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Account, reachableBinaries, serverAccount } from '../../src/demo/account.ts'
import type { Binaries } from '../../src/demo/binaries.ts'
import { makeDirectory } from '../../src/demo/build.ts'
import { baseSettings, changeSettings } from '../../src/demo/conf.ts'
import { copyCold, initialize, writeConfiguration } from '../../src/demo/data-directory.ts'
import { guard, type Release } from '../../src/demo/guard.ts'
import { PortPool } from '../../src/demo/ports.ts'
import { waitForReplay } from '../../src/demo/replication.ts'
import { Server } from '../../src/demo/server.ts'
import { removeSharedMemory } from '../../src/demo/shared-memory.ts'
import { all, waitUntil } from '../../src/demo/wait.ts'

const run = promisify(execFile)

/** What every server runs with. */
interface Site {
  readonly binaries: Binaries
  readonly account: Account | null
  readonly directory: string
  readonly ports: PortPool
}

/** The role that watches has this and nothing else. */
const ROLE = `CREATE ROLE citus_ha LOGIN; GRANT pg_read_all_stats TO citus_ha`
const LIMIT_MS = 20_000

/** A primary with a streaming standby of any version from 10 on, without Citus, its stand-in or `citus-ha install`. */
export class Pair {
  readonly primary: Server
  readonly standby: Server
  readonly #site: Site
  readonly #release: Release

  private constructor(site: Site, primary: Server, standby: Server) {
    this.#site = site
    this.primary = primary
    this.standby = standby
    const { directory } = site
    this.#release = guard({ directory, servers: [primary, standby], stop: () => this.stop() })
  }

  /** @throws Error where a step failed; nothing is left running then */
  static async start(found: Binaries): Promise<Pair> {
    const account = await serverAccount()
    const directory = await makeDirectory(undefined, account)
    const binaries = await reachableBinaries(found, account, directory)
    const site = { binaries, account, directory, ports: new PortPool() }
    const pair = new Pair(site, await newServer(site, 'primary'), await newServer(site, 'standby'))
    try {
      await pair.#boot()
      return pair
    } catch (error) {
      await pair.stop()
      throw error
    }
  }

  async #boot(): Promise<void> {
    const { primary, standby } = this
    const { binaries, account } = this.#site
    await initialize(primary.directory, binaries, account)
    await copyCold(primary.directory, standby.directory)
    for (const server of [primary, standby]) {
      const settings = { ...baseSettings(binaries.major), port: String(server.port) }
      await writeConfiguration(server.directory, settings)
    }
    await this.#follow()
    await all([primary.start(), standby.start()])
    await primary.query(ROLE)
    await this.ready()
  }

  /** The standby's connection to its primary has a password, which nobody asks for, and a value with a space. */
  async #follow(): Promise<void> {
    const { primary, standby } = this
    const { binaries, account } = this.#site
    const conninfo = `user=postgres password=secret application_name='the standby' host=${primary.host} port=${primary.port}`
    const quoted = `'${conninfo.replaceAll("'", "''")}'`
    // Until PostgreSQL 11 there is a file for it, whose presence makes a standby.
    const before12 = `standby_mode = on\nrecovery_target_timeline = 'latest'\nprimary_conninfo = ${quoted}\n`
    const [name, text] = binaries.major < 12 ? ['recovery.conf', before12] : ['standby.signal', '']
    if (binaries.major >= 12) await changeSettings(standby.directory, { primary_conninfo: conninfo })
    const file = join(standby.directory, name)
    await writeFile(file, text, { mode: 0o600 })
    if (account) await chown(file, account.uid, account.gid)
  }

  /** Both run, and the standby streams and has all that the primary wrote. */
  async ready(): Promise<void> {
    const { primary, standby } = this
    for (const server of [primary, standby]) server.thaw()
    await all([primary.start(), standby.start()])
    await waitForReplay(standby, primary, LIMIT_MS)
  }

  /**
   * Promotes the standby; the same way in every version, `pg_promote` is there from 12 on.
   * @returns when it was seen to be out of recovery, by `performance.now()`, looking every millisecond
   */
  async promote(): Promise<number> {
    const { binaries, account } = this.#site
    const { standby } = this
    return await standby.withClient(async (client) => {
      const out = async () => (await client.query('SELECT WHERE NOT pg_is_in_recovery()')).rowCount === 1
      const seen = waitUntil('promotion of the standby', out, { limitMs: LIMIT_MS, everyMs: 1 }).then(() =>
        performance.now(),
      )
      const told = run(join(binaries.bindir, 'pg_ctl'), ['promote', '-W', '-D', standby.directory], {
        ...account,
        cwd: '/',
      })
      const [at] = await Promise.all([seen, told])
      return at
    })
  }

  /** Stops both and removes their files; never leaves one running. */
  async stop(): Promise<void> {
    const { directory, ports } = this.#site
    for (const server of [this.primary, this.standby]) {
      server.retire()
      await server.stop('immediate', 3000).catch(() => server.kill())
      removeSharedMemory(server.directory)
    }
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    ports.release()
    this.#release()
  }
}

async function newServer({ ports, directory, binaries, account }: Site, name: string): Promise<Server> {
  const port = await ports.take()
  return new Server({ name, port, directory: join(directory, name), binaries, account, database: 'postgres' })
}
