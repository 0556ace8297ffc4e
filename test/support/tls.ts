import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import type { ConnectionSettings } from '../../src/config/connection.ts'
import { Session } from '../../src/db/pg.ts'
import { openProbe } from '../../src/db/postgres.ts'
import { codeOf } from '../../src/db/sqlstate.ts'
import { resolveTarget, type Target } from '../../src/db/target.ts'
import { serverAccount } from '../../src/demo/account.ts'
import { type Cluster, startCluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'
import { Authority, type Certificate } from './certificates.ts'

const run = promisify(execFile)

/** Whether this session is encrypted. */
export const ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
/** Of the roles with_password and with_md5. */
export const PASSWORD = 'p:a\\ss wörd'

const SERVER_CERTIFICATES = {
  good: { by: 'ca', names: ['DNS:localhost', 'IP:127.0.0.1'] },
  'other name': { by: 'ca', names: ['DNS:other.example', 'IP:192.0.2.1'] },
  'name only': { by: 'ca', names: ['DNS:localhost'] },
  'address only': { by: 'ca', names: ['IP:127.0.0.1'] },
  'foreign CA': { by: 'foreign', names: ['DNS:localhost', 'IP:127.0.0.1'] },
} as const

/** Which certificate the server shows, or that it has none. */
export type ServerState = keyof typeof SERVER_CERTIFICATES | 'off'

type Env = Readonly<Record<string, string>>
/** Connects, and says how it went: `tls`, `plain`, or the error's code. */
type Door = (settings: ConnectionSettings, host: string, env?: Env) => Promise<string>

/** A PostgreSQL server whose TLS can be changed, roles that may come in in one way only, and an empty home. */
export class TlsSite {
  readonly server: Server
  /** No ~/.pgpass, no ~/.postgresql; the certificates. */
  readonly home: string
  readonly #cluster: Cluster
  readonly #certificates = new Map<string, Certificate>()
  #state: ServerState | null = null

  private constructor(cluster: Cluster, home: string) {
    this.#cluster = cluster
    this.server = cluster.coordinator
    this.home = home
  }

  static async start(): Promise<TlsSite> {
    const home = await mkdtemp(join(tmpdir(), 'citus-ha-tls-'))
    const cluster = await startCluster({
      workers: [],
      coordinatorStandbys: [],
      backend: 'standin',
      hba: [
        'hostnossl all encrypted_only 127.0.0.1/32 reject',
        'hostssl all plain_only 127.0.0.1/32 reject',
        'hostnossl all two_ways 127.0.0.1/32 scram-sha-256',
        'hostssl all two_ways 127.0.0.1/32 trust',
        'hostssl all by_certificate 127.0.0.1/32 cert',
        'host all with_password 127.0.0.1/32 scram-sha-256',
        'host all with_md5 127.0.0.1/32 md5',
      ],
    })
    const site = new TlsSite(cluster, home)
    await site.server.query(`create role encrypted_only login; create role plain_only login;
      create role two_ways login; create role by_certificate login;
      set password_encryption = 'scram-sha-256'; create role with_password login password '${PASSWORD}';
      set password_encryption = md5; create role with_md5 login password '${PASSWORD}'`)
    const [ca, foreign] = [await Authority.make(home, 'ca'), await Authority.make(home, 'foreign')]
    await ca.sign('by_certificate', ['DNS:client'])
    for (const [name, { by, names }] of Object.entries(SERVER_CERTIFICATES)) {
      site.#certificates.set(name, await (by === 'ca' ? ca : foreign).sign(name, names))
    }
    await ca.revoke('none', [])
    await ca.revoke(
      'good',
      [...site.#certificates].flatMap(([name, each]) => (name === 'good' ? [each] : [])),
    )
    return site
  }

  async stop(): Promise<void> {
    await this.#cluster.stop()
    await rm(this.home, { recursive: true, force: true })
  }

  /** A file of the home: `ca.crt`, `foreign.crt`, `ca-by_certificate.crt`, `ca-by_certificate.key`, `ca-none.crl`, `ca-good.crl`. */
  file(name: string): string {
    return join(this.home, name)
  }

  /** Has the server show this certificate from now on. */
  async serve(wanted: ServerState): Promise<void> {
    if (this.#state === wanted) return
    this.#state = wanted
    if (wanted === 'off') return this.server.configure({ ssl: 'off' })
    const account = await serverAccount()
    const { cert, key } = this.#certificates.get(wanted) ?? { cert: '', key: '' }
    const files = { 'server.crt': cert, 'server.key': key, 'root.crt': this.file('ca.crt') }
    for (const [to, from] of Object.entries(files)) {
      const path = join(this.server.directory, to)
      await copyFile(from, path)
      await chmod(path, 0o600)
      if (account) await chown(path, account.uid, account.gid)
    }
    await this.server.configure({ ssl: 'on', ssl_ca_file: 'root.crt' })
  }

  target(settings: ConnectionSettings, host: string, env: Env = {}): Promise<Target> {
    const { port } = this.server
    return resolveTarget(
      { host, port },
      'postgres',
      { user: 'postgres', ...settings },
      { HOME: this.home, ...env },
    )
  }

  readonly throughPg: Door = async (settings, host, env) => {
    const target = await this.target(settings, host, env)
    return outcome(async () => {
      const session = await Session.open(target)
      try {
        return (await session.run(ENCRYPTED, 5000))[0]?.[0]?.ssl
      } finally {
        await session.close()
      }
    })
  }

  readonly throughPostgres: Door = async (settings, host, env) => {
    const probe = openProbe(await this.target(settings, host, env), 5000)
    try {
      return await outcome(async () => ((await probe.one(ENCRYPTED)) as { ssl: boolean }).ssl)
    } finally {
      await probe.close()
    }
  }

  /** The judge of the two others: says only `tls`, `plain` or `refused`. */
  readonly #throughLibpq: Door = async (settings, host, env) => {
    const words = Object.entries({ user: 'postgres', ...settings }).map(([key, value]) => `${key}='${value}'`)
    const conninfo = `host=${host} port=${this.server.port} dbname=postgres ${words.join(' ')}`
    const options = { env: { HOME: this.home, ...env } }
    return run(this.#psql, ['-XAtw', '-d', conninfo, '-c', ENCRYPTED], options).then(
      ({ stdout }) => (stdout.trim() === 't' ? 'tls' : 'plain'),
      () => 'refused',
    )
  }

  get #psql(): string {
    return join(this.#cluster.binaries.bindir, 'psql')
  }

  /** Asserts it through both drivers; through psql too, where this PostgreSQL has one. */
  async expectEverywhere(
    expected: string,
    settings: ConnectionSettings,
    host: string,
    env?: Env,
  ): Promise<void> {
    const [pg, postgres, libpq] = await Promise.all([
      this.throughPg(settings, host, env),
      this.throughPostgres(settings, host, env),
      existsSync(this.#psql) ? this.#throughLibpq(settings, host, env) : null,
    ])
    const judged = expected === 'tls' || expected === 'plain' ? expected : 'refused'
    expect({ pg, postgres, libpq: libpq ?? judged }).toEqual({
      pg: expected,
      postgres: expected,
      libpq: judged,
    })
  }
}

/** `tls` or `plain`, or the code of the error. */
export async function outcome(encrypted: () => Promise<unknown>): Promise<string> {
  try {
    return (await encrypted()) === true ? 'tls' : 'plain'
  } catch (error) {
    const shown = error instanceof Error ? `${error.message} ${error.stack}` : ''
    expect(shown, 'the password must not be in an error').not.toContain(PASSWORD)
    return codeOf(error) ?? `an error without a code: ${shown}`
  }
}
