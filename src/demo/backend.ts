import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Binaries } from './binaries.ts'
import type { Settings } from './conf.ts'
import type { Server } from './server.ts'

/** What stands behind the node functions of a cluster. */
export interface Backend {
  readonly kind: 'citus' | 'standin'
  /** Such as `15.20`. */
  readonly postgres: string
  /** Such as `13.2.2`; null for the stand-in. */
  readonly citus: string | null
}

// The same from src/demo and dist/demo.
const STANDIN_SQL = new URL('../../sql/standin/', import.meta.url)

/** The settings that Citus, or the stand-in in its place, needs on every server. */
export function backendSettings(kind: Backend['kind']): Settings {
  const shared = { 'citus.node_conninfo': 'sslmode=prefer', 'citus.local_hostname': '127.0.0.1' }
  return kind === 'citus'
    ? { ...shared, shared_preload_libraries: 'citus', 'citus.enable_statistics_collection': 'off' }
    : shared
}

/** Gives a new database the node functions. */
export async function installBackend(server: Server, database: string, kind: Backend['kind']): Promise<void> {
  if (kind === 'citus') {
    await server.query('create extension citus', [], { database })
    return
  }
  await server.withClient(
    async (client) => {
      for (const { name, sql } of await standinScripts()) {
        await client.query(sql).catch((cause: unknown) => {
          throw new Error(`sql/standin/${name} failed on ${server.name}: ${String(cause)}`, { cause })
        })
      }
    },
    { database },
  )
}

async function standinScripts(): Promise<{ name: string; sql: string }[]> {
  const names = (await readdir(STANDIN_SQL)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name) => ({ name, sql: await readFile(new URL(name, STANDIN_SQL), 'utf8') })),
  )
}

/** The backend as it says itself. */
export async function identifyBackend(
  server: Server,
  binaries: Binaries,
  kind: Backend['kind'],
): Promise<Backend> {
  if (kind === 'standin') return { kind, postgres: binaries.version, citus: null }
  const [row] = await server.query<{ version: string }>('select citus_version() as version')
  const citus = /^Citus (\S+)/.exec(row?.version ?? '')?.[1] ?? binaries.citus
  return { kind, postgres: binaries.version, citus }
}

/** One line for people: `real Citus 13.2.2 on PostgreSQL 15.20`, `the stand-in on PostgreSQL 18.4`. */
export function describeBackend({ kind, postgres, citus }: Backend): string {
  return kind === 'citus'
    ? `real Citus ${citus} on PostgreSQL ${postgres}`
    : `the stand-in on PostgreSQL ${postgres}`
}

const LOOK_AGAIN_MS = 200

/**
 * Runs the stand-in's maintenance procedure in a session on a server of group 0 whenever that one is up and
 * writable, as Citus's own background worker would.
 */
export class MaintenanceDaemon {
  readonly #server: Server
  readonly #database: string
  readonly #abort = new AbortController()
  readonly #done: Promise<void>
  #close: () => void = () => {}

  constructor(server: Server, database: string) {
    this.#server = server
    this.#database = database
    this.#done = this.#keepRunning()
  }

  /** Ends the session and the watching. */
  async stop(): Promise<void> {
    this.#abort.abort()
    this.#close()
    await this.#done
  }

  async #keepRunning(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      // Whatever ends the session (a stop, a kill, a termination by a test), the answer is to look again.
      if (this.#server.isRunning) await this.#session().catch(() => {})
      await delay(LOOK_AGAIN_MS, undefined, { signal: this.#abort.signal, ref: false }).catch(() => {})
    }
  }

  async #session(): Promise<void> {
    const client = await this.#server.connect({ database: this.#database })
    this.#close = () => client.connection.stream.destroy()
    try {
      if (this.#abort.signal.aborted) return
      while (!this.#abort.signal.aborted) {
        const { rowCount } = await client.query('select 1 where not pg_is_in_recovery()')
        if (rowCount === 1) await runMaintenance(client)
        await delay(LOOK_AGAIN_MS, undefined, { signal: this.#abort.signal, ref: false })
      }
    } finally {
      this.#close = () => {}
      await client.end().catch(() => {})
    }
  }
}

/** Returns or fails when the procedure ends; a standby's session does not bear the name, as in real Citus. */
async function runMaintenance(client: pg.Client): Promise<void> {
  await client.query("set application_name = 'Citus Maintenance Daemon'")
  await client.query('call citus_standin.maintenance_daemon()')
}
