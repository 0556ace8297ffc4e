import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConnectionSettings, SslMode } from '../../src/config/connection.ts'
import { parseUrl } from '../../src/config/url.ts'
import { Session } from '../../src/db/pg.ts'
import { openProbe } from '../../src/db/postgres.ts'
import { codeOf } from '../../src/db/sqlstate.ts'
import { pgClientConfig, resolveTarget, type Target } from '../../src/db/target.ts'
import { serverAccount } from '../../src/demo/account.ts'
import { type Cluster, startCluster } from '../../src/demo/cluster.ts'
import type { Server } from '../../src/demo/server.ts'

const run = promisify(execFile)
const ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
const PASSWORD = 'p:a\\ss wörd'

let cluster: Cluster
let server: Server
/** An empty home: no ~/.pgpass, no ~/.postgresql. */
let home: string
const file = (name: string) => join(home, name)

const SERVER_CERTIFICATES = {
  good: { ca: 'ca', names: 'DNS:localhost,IP:127.0.0.1' },
  'other name': { ca: 'ca', names: 'DNS:other.example,IP:192.0.2.1' },
  'name only': { ca: 'ca', names: 'DNS:localhost' },
  'address only': { ca: 'ca', names: 'IP:127.0.0.1' },
  'foreign CA': { ca: 'foreign', names: 'DNS:localhost,IP:127.0.0.1' },
} as const
type ServerState = keyof typeof SERVER_CERTIFICATES | 'off'

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'citus-ha-tls-'))
  const trusting = ['workers', 'coordinatorStandbys'] as const
  cluster = await startCluster({
    ...Object.fromEntries(trusting.map((none) => [none, []])),
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
  server = cluster.coordinator
  await server.query(`create role encrypted_only login; create role plain_only login; create role two_ways login;
    create role by_certificate login;
    create role with_password login password '${PASSWORD}';
    set password_encryption = md5; create role with_md5 login password '${PASSWORD}'`)
  await Promise.all(['ca', 'foreign'].map(makeAuthority))
  for (const [name, { ca, names }] of Object.entries(SERVER_CERTIFICATES))
    await makeCertificate(name, ca, names)
  await makeCertificate('by_certificate', 'ca', 'DNS:client')
}, 120_000)

afterAll(async () => {
  await cluster?.stop()
  await rm(home, { recursive: true, force: true })
})

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

async function makeAuthority(name: string): Promise<void> {
  const out = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)]
  await run('openssl', ['req', '-x509', ...EC, ...out, '-days', '2', '-subj', `/CN=citus-ha ${name}`])
}

async function makeCertificate(name: string, ca: string, names: string): Promise<void> {
  const [key, request, extensions] = [file(`${name}.key`), file(`${name}.csr`), file(`${name}.ext`)]
  await run('openssl', ['req', ...EC, '-keyout', key, '-out', request, '-subj', `/CN=${name}`])
  await writeFile(extensions, `subjectAltName=${names}\n`)
  const signer = ['-CA', file(`${ca}.crt`), '-CAkey', file(`${ca}.key`), '-CAcreateserial']
  const out = ['-days', '2', '-extfile', extensions, '-out', file(`${name}.crt`)]
  await run('openssl', ['x509', '-req', '-in', request, ...signer, ...out])
  await chmod(key, 0o600)
}

let state: ServerState | null = null

async function serve(wanted: ServerState): Promise<void> {
  if (state === wanted) return
  state = wanted
  if (wanted === 'off') return server.configure({ ssl: 'off' })
  const account = await serverAccount()
  for (const [from, to] of [
    [`${wanted}.crt`, 'server.crt'],
    [`${wanted}.key`, 'server.key'],
    ['ca.crt', 'root.crt'],
  ] as const) {
    const path = join(server.directory, to)
    await copyFile(file(from), path)
    await chmod(path, 0o600)
    if (account) await chown(path, account.uid, account.gid)
  }
  await server.configure({ ssl: 'on', ssl_ca_file: 'root.crt' })
}

/** Connects, and says how it went: `tls`, `plain`, or the error's code. */
type Door = (settings: ConnectionSettings, host: string, env?: Record<string, string>) => Promise<string>

async function targetFor(
  settings: ConnectionSettings,
  host: string,
  env: Record<string, string> = {},
): Promise<Target> {
  return resolveTarget(
    { host, port: server.port },
    'postgres',
    { user: 'postgres', ...settings },
    { HOME: home, ...env },
  )
}

async function outcome(encrypted: () => Promise<unknown>): Promise<string> {
  try {
    return (await encrypted()) === true ? 'tls' : 'plain'
  } catch (error) {
    const shown = error instanceof Error ? `${error.message} ${error.stack}` : ''
    expect(shown, 'the password must not be in an error').not.toContain(PASSWORD)
    return codeOf(error) ?? `an error without a code: ${shown}`
  }
}

const throughPg: Door = async (settings, host, env) => {
  const target = await targetFor(settings, host, env)
  return outcome(async () => {
    const session = await Session.open(target)
    try {
      return (await session.run(ENCRYPTED, 5000))[0]?.[0]?.ssl
    } finally {
      await session.close()
    }
  })
}

const throughPostgres: Door = async (settings, host, env) => {
  const probe = openProbe(await targetFor(settings, host, env), 5000)
  try {
    return await outcome(async () => ((await probe.one(ENCRYPTED)) as { ssl: boolean }).ssl)
  } finally {
    await probe.close()
  }
}

const LIBPQ_NAMES = {
  user: 'user',
  sslmode: 'sslmode',
  sslrootcert: 'sslrootcert',
  sslcert: 'sslcert',
  sslkey: 'sslkey',
} as const

/** The judge of the two others: says only `tls`, `plain` or `refused`. */
const throughLibpq: Door = async (settings, host, env) => {
  const words = Object.entries({ user: 'postgres', ...settings }).flatMap(([key, value]) =>
    key in LIBPQ_NAMES ? [`${key}='${value}'`] : [],
  )
  const conninfo = `host=${host} port=${server.port} dbname=postgres ${words.join(' ')}`
  const psql = join(cluster.binaries.bindir, 'psql')
  const options = { env: { HOME: home, ...env } }
  return run(psql, ['-XAtw', '-d', conninfo, '-c', ENCRYPTED], options).then(
    ({ stdout }) => (stdout.trim() === 't' ? 'tls' : 'plain'),
    () => 'refused',
  )
}

const DOORS = { pg: throughPg, postgres: throughPostgres, libpq: throughLibpq }
type DoorName = keyof typeof DOORS

/** Runs through both drivers; through psql too, where this PostgreSQL has one. */
async function expectEverywhere(
  expected: string,
  settings: ConnectionSettings,
  host: string,
  env?: Record<string, string>,
): Promise<void> {
  const judged = existsSync(join(cluster.binaries.bindir, 'psql'))
  const names: DoorName[] = judged ? ['pg', 'postgres', 'libpq'] : ['pg', 'postgres']
  const seen = await Promise.all(names.map(async (name) => [name, await DOORS[name](settings, host, env)]))
  const ends = new Set(['tls', 'plain'])
  const wanted = names.map((name) => [name, name === 'libpq' && !ends.has(expected) ? 'refused' : expected])
  expect(seen).toEqual(wanted)
}

const NO_TLS = 'ERR_TLS_NOT_OFFERED'
const NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'
const CHAIN = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'

// Rows: the server. Columns: the sslmode; "+" with a root certificate file.
const COLUMNS = [
  'disable',
  'allow',
  'prefer',
  'require',
  'allow+',
  'prefer+',
  'require+',
  'verify-ca+',
  'verify-full+',
] as const
const TABLE: readonly (readonly [ServerState, string, ...string[]])[] = [
  ['off', 'localhost', 'plain', 'plain', 'plain', NO_TLS, 'plain', 'plain', NO_TLS, NO_TLS, NO_TLS],
  ['good', 'localhost', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  ['good', '127.0.0.1', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  ['other name', 'localhost', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  ['other name', '127.0.0.1', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  ['name only', 'localhost', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  ['name only', '127.0.0.1', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  ['address only', 'localhost', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  ['address only', '127.0.0.1', 'plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  ['foreign CA', 'localhost', 'plain', 'plain', 'tls', 'tls', 'plain', 'plain', CHAIN, CHAIN, CHAIN],
  ['foreign CA', '127.0.0.1', 'plain', 'plain', 'tls', 'tls', 'plain', 'plain', CHAIN, CHAIN, CHAIN],
]

describe.each(TABLE)('a server with TLS %s, reached as %s', (serverState, host, ...cells) => {
  beforeAll(() => serve(serverState), 30_000)

  test.each(COLUMNS.map((column, i) => [column, cells[i] ?? '?'] as const))(
    'sslmode %s: %s',
    async (column, expected) => {
      const sslmode = column.replace('+', '') as SslMode
      const settings = column.endsWith('+') ? { sslmode, sslrootcert: file('ca.crt') } : { sslmode }
      await expectEverywhere(expected, settings, host)
    },
  )
})

describe('pg_hba.conf that takes one way only', () => {
  beforeAll(() => serve('good'), 30_000)

  test.each([
    ['encrypted_only', 'disable', '28000'],
    ['encrypted_only', 'allow', 'tls'],
    ['encrypted_only', 'prefer', 'tls'],
    ['plain_only', 'allow', 'plain'],
    ['plain_only', 'prefer', 'plain'],
    ['plain_only', 'require', '28000'],
    // The server first asks for a password, which is wrong, and only then says no.
    ['two_ways', 'allow', 'tls'],
    ['two_ways', 'disable', '28P01'],
  ] as const)('%s under %s: %s', async (user, sslmode, expected) => {
    await expectEverywhere(expected, { user, sslmode }, 'localhost', { PGPASSWORD: 'wrong' })
  })

  test('a wrong password is reported as such, and not as what the second way says', async () => {
    await expectEverywhere('28P01', { user: 'with_password', sslmode: 'prefer' }, 'localhost', {
      PGPASSWORD: 'wrong',
    })
  })
})

describe('what the environment and files say', () => {
  beforeAll(() => serve('good'), 30_000)

  test('PGSSLMODE and PGSSLROOTCERT count where the settings are silent', async () => {
    const env = { PGSSLMODE: 'disable', PGSSLROOTCERT: file('foreign.crt') }
    await expectEverywhere('plain', {}, 'localhost', env)
    await expectEverywhere(CHAIN, { sslmode: 'require' }, 'localhost', env)
    await expectEverywhere('tls', { sslmode: 'require', sslrootcert: file('ca.crt') }, 'localhost', env)
  })

  test('~/.postgresql/root.crt makes require behave like verify-ca', async () => {
    const profile = await mkdtemp(join(home, 'profile-'))
    await mkdir(join(profile, '.postgresql'))
    await copyFile(file('foreign.crt'), join(profile, '.postgresql/root.crt'))
    await expectEverywhere(CHAIN, { sslmode: 'require' }, 'localhost', { HOME: profile })
    await expectEverywhere('plain', { sslmode: 'prefer' }, 'localhost', { HOME: profile })
  })

  test('a client certificate opens what asks for one', async () => {
    const own = { sslcert: file('by_certificate.crt'), sslkey: file('by_certificate.key') }
    await expectEverywhere('tls', { user: 'by_certificate', sslmode: 'require', ...own }, 'localhost')
    await expectEverywhere('28000', { user: 'by_certificate', sslmode: 'require' }, 'localhost')
  })

  test.each(['with_password', 'with_md5'])(
    'the password file lets %s in, unless others may read it',
    async (user) => {
      const passfile = file(`pgpass-${user}`)
      const escaped = PASSWORD.replace(/[:\\]/g, '\\$&')
      await writeFile(
        passfile,
        `# ours\nlocalhost:1:*:*:no\nlocalhost:${server.port}:postgres:${user}:${escaped}\n`,
        { mode: 0o600 },
      )
      const env = { PGPASSFILE: passfile }
      await expectEverywhere('tls', { user }, 'localhost', env)
      await expectEverywhere('28P01', { user }, '127.0.0.1', env)
      await chmod(passfile, 0o640)
      await expectEverywhere('28P01', { user }, 'localhost', env)
      expect((await targetFor({ user }, 'localhost', env)).warnings).toEqual([
        `password file ${passfile} has group or world access; permissions should be u=rw (0600) or less`,
      ])
    },
  )

  test('a URL may carry it all', async () => {
    const password = encodeURIComponent(PASSWORD)
    const root = encodeURIComponent(file('ca.crt'))
    const url = `postgres://with_password:${password}@localhost:1/x?sslmode=verify-full&sslrootcert=${root}`
    const { settings } = parseUrl(url, {})
    expect(await throughPg(settings, 'localhost')).toBe('tls')
    expect(await throughPostgres(settings, 'localhost')).toBe('tls')
  })

  test('the drivers look at no variable of their own', async () => {
    const names = { PGPASSWORD: PASSWORD, PGSSLMODE: 'disable', PGSSLNEGOTIATION: 'direct', PGUSER: 'nosuch' }
    const before = { ...process.env }
    Object.assign(process.env, names)
    try {
      expect(await throughPg({ user: 'with_password' }, 'localhost')).toBe('28P01')
      expect(await throughPostgres({ user: 'with_password' }, 'localhost')).toBe('28P01')
      expect(await throughPg({}, 'localhost')).toBe('tls')
      expect(await throughPostgres({}, 'localhost')).toBe('tls')
    } finally {
      for (const name of Object.keys(names)) delete process.env[name]
      Object.assign(process.env, before)
    }
  })
})

describe('sessions over the stream', () => {
  beforeAll(() => serve('good'), 30_000)

  test.each(['disable', 'prefer'] as const)('carry large values both ways under %s', async (sslmode) => {
    const target = await targetFor({ sslmode }, 'localhost')
    const text = 'x'.repeat(8_000_000)
    const session = await Session.open(target)
    const [rows] = await session.run(`select '${text}' as text, repeat('y', 8000000) as answer`, 20_000)
    expect(rows?.[0]?.text === text && rows[0].answer === 'y'.repeat(8_000_000)).toBe(true)
    await session.close()
    const probe = openProbe(target, 20_000)
    const row = (await probe.one('select $1 as text', [text])) as { text: string }
    expect(row.text === text).toBe(true)
    await probe.close()
  })

  test('a probe that failed works again when the server is back', async () => {
    const probe = openProbe({ ...(await targetFor({}, 'localhost')), connectTimeoutMs: 2000 }, 5000)
    const ssl = () => outcome(async () => ((await probe.one(ENCRYPTED)) as { ssl: boolean }).ssl)
    expect(await ssl()).toBe('tls')
    await server.stop('immediate')
    const failures = [await ssl(), await ssl(), await ssl()]
    expect(failures.at(-1)).toBe('ECONNREFUSED')
    await server.start()
    expect(await ssl()).toBe('tls')
    await probe.close()
  })
})

describe('a peer that is no PostgreSQL', () => {
  async function withPeer<T>(
    onData: (socket: Socket) => void,
    use: (port: number) => Promise<T>,
  ): Promise<T> {
    const sockets = new Set<Socket>()
    const peer = createServer((socket) => {
      sockets.add(socket.on('error', () => {}))
      socket.on('data', () => onData(socket))
    })
    await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve))
    const address = peer.address()
    try {
      return await use(typeof address === 'object' && address !== null ? address.port : 0)
    } finally {
      for (const socket of sockets) socket.destroy()
      peer.close()
    }
  }

  async function errorsAt(port: number, sslmode: SslMode): Promise<string[]> {
    const settings = { user: 'u', password: undefined, sslmode }
    const { password: _, ...rest } = settings
    const target = await resolveTarget({ host: '127.0.0.1', port }, 'd', rest, { HOME: home })
    const hasty = { ...target, connectTimeoutMs: 300 }
    const probe = openProbe(hasty, 1000)
    const seen = [await outcome(() => Session.open(hasty)), await outcome(() => probe.one('select 1'))]
    await probe.close()
    return seen
  }

  test.each(['disable', 'prefer', 'require'] as const)(
    'and says nothing is given up in time under %s',
    async (sslmode) => {
      const began = performance.now()
      const [throughSession, throughProbe] = await withPeer(
        () => {},
        (port) => errorsAt(port, sslmode),
      )
      expect(throughSession).toContain('timeout')
      expect(throughProbe).toBe('CONNECT_TIMEOUT')
      expect(performance.now() - began).toBeLessThan(5000)
    },
  )

  test('and slips in bytes before the handshake is refused', async () => {
    const slip = (socket: Socket) => socket.write('Sslipped in')
    expect(await withPeer(slip, (port) => errorsAt(port, 'require'))).toEqual([
      'ERR_TLS_ANSWER',
      'ERR_TLS_ANSWER',
    ])
  })
})

test('driver options show no password', async () => {
  const target = await targetFor({ sslmode: 'disable' }, 'localhost', { PGPASSWORD: PASSWORD })
  expect(JSON.stringify([target, pgClientConfig(target)])).not.toContain(
    JSON.stringify(PASSWORD).slice(1, -1),
  )
})
