import { chmod, copyFile, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConnectionSettings, SslMode } from '../../src/config/connection.ts'
import { parseUrl } from '../../src/config/url.ts'
import { Session } from '../../src/db/pg.ts'
import { openProbe } from '../../src/db/postgres.ts'
import { resolveTarget } from '../../src/db/target.ts'
import { ENCRYPTED, outcome, PASSWORD, type ServerState, TlsSite } from '../support/tls.ts'

let site: TlsSite

beforeAll(async () => {
  site = await TlsSite.start()
}, 120_000)

afterAll(async () => {
  await site?.stop()
})

const NO_TLS = 'ERR_TLS_NOT_OFFERED'
const NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'
const CHAIN = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'
/** The server sends its root along, as far as it has it in ssl_ca_file. */
const ROOT = 'SELF_SIGNED_CERT_IN_CHAIN'

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
const TABLE: readonly { state: ServerState; host: string; cells: readonly string[] }[] = [
  {
    state: 'off',
    host: 'localhost',
    cells: ['plain', 'plain', 'plain', NO_TLS, 'plain', 'plain', NO_TLS, NO_TLS, NO_TLS],
  },
  {
    state: 'good',
    host: 'localhost',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    state: 'good',
    host: '127.0.0.1',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    state: 'other name',
    host: 'localhost',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  },
  {
    state: 'other name',
    host: '127.0.0.1',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  },
  {
    state: 'name only',
    host: 'localhost',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    state: 'name only',
    host: '127.0.0.1',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  },
  {
    state: 'address only',
    host: 'localhost',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', NAME],
  },
  {
    state: 'address only',
    host: '127.0.0.1',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    state: 'foreign CA',
    host: 'localhost',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'plain', CHAIN, CHAIN, CHAIN],
  },
  {
    state: 'foreign CA',
    host: '127.0.0.1',
    cells: ['plain', 'plain', 'tls', 'tls', 'plain', 'plain', CHAIN, CHAIN, CHAIN],
  },
]

describe.each(TABLE)('a server with TLS $state, reached as $host', ({ state, host, cells }) => {
  beforeAll(() => site.serve(state), 30_000)

  test.each(COLUMNS.map((column, i) => [column, cells[i] ?? '?'] as const))(
    'sslmode %s: %s',
    async (column, expected) => {
      const sslmode = column.replace('+', '') as SslMode
      const settings = column.endsWith('+') ? { sslmode, sslrootcert: site.file('ca.crt') } : { sslmode }
      await site.expectEverywhere(expected, settings, host)
    },
  )
})

describe('pg_hba.conf that takes one way only', () => {
  beforeAll(() => site.serve('good'), 30_000)

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
    await site.expectEverywhere(expected, { user, sslmode }, 'localhost', { PGPASSWORD: 'wrong' })
  })

  test('a wrong password is reported as such, and not as what the second way says', async () => {
    await site.expectEverywhere('28P01', { user: 'with_password', sslmode: 'prefer' }, 'localhost', {
      PGPASSWORD: 'wrong',
    })
  })
})

describe('what the environment and files say', () => {
  beforeAll(() => site.serve('good'), 30_000)

  test('PGSSLMODE and PGSSLROOTCERT count where the settings are silent', async () => {
    const env = { PGSSLMODE: 'disable', PGSSLROOTCERT: site.file('foreign.crt') }
    await site.expectEverywhere('plain', {}, 'localhost', env)
    await site.expectEverywhere(ROOT, { sslmode: 'require' }, 'localhost', env)
    await site.expectEverywhere(
      'tls',
      { sslmode: 'require', sslrootcert: site.file('ca.crt') },
      'localhost',
      env,
    )
  })

  test('~/.postgresql/root.crt makes require behave like verify-ca', async () => {
    const profile = await mkdtemp(join(site.home, 'profile-'))
    await mkdir(join(profile, '.postgresql'))
    await copyFile(site.file('foreign.crt'), join(profile, '.postgresql/root.crt'))
    await site.expectEverywhere(ROOT, { sslmode: 'require' }, 'localhost', { HOME: profile })
    await site.expectEverywhere('plain', { sslmode: 'prefer' }, 'localhost', { HOME: profile })
  })

  test('a client certificate opens what asks for one', async () => {
    const own = { sslcert: site.file('ca-by_certificate.crt'), sslkey: site.file('ca-by_certificate.key') }
    await site.expectEverywhere('tls', { user: 'by_certificate', sslmode: 'require', ...own }, 'localhost')
    await site.expectEverywhere('28000', { user: 'by_certificate', sslmode: 'require' }, 'localhost')
  })

  test.each(['with_password', 'with_md5'])(
    'the password file lets %s in, unless others may read it',
    async (user) => {
      const passfile = site.file(`pgpass-${user}`)
      const escaped = PASSWORD.replace(/[:\\]/g, '\\$&')
      await writeFile(
        passfile,
        `# ours\nlocalhost:1:*:*:no\nlocalhost:${site.server.port}:postgres:${user}:${escaped}\n`,
        { mode: 0o600 },
      )
      const env = { PGPASSFILE: passfile }
      await site.expectEverywhere('tls', { user }, 'localhost', env)
      await site.expectEverywhere('28P01', { user }, '127.0.0.1', env)
      await chmod(passfile, 0o640)
      await site.expectEverywhere('28P01', { user }, 'localhost', env)
      expect((await site.target({ user }, 'localhost', env)).warnings).toEqual([
        `password file ${passfile} has group or world access; permissions should be u=rw (0600) or less`,
      ])
    },
  )

  test('a URL may carry it all', async () => {
    const password = encodeURIComponent(PASSWORD)
    const root = encodeURIComponent(site.file('ca.crt'))
    const url = `postgres://with_password:${password}@localhost:1/x?sslmode=verify-full&sslrootcert=${root}`
    const { settings } = parseUrl(url, {})
    expect(await site.throughPg(settings, 'localhost')).toBe('tls')
    expect(await site.throughPostgres(settings, 'localhost')).toBe('tls')
  })

  test('the drivers look at no variable of their own', async () => {
    const names = { PGPASSWORD: PASSWORD, PGSSLMODE: 'disable', PGSSLNEGOTIATION: 'direct', PGUSER: 'nosuch' }
    const before = { ...process.env }
    Object.assign(process.env, names)
    try {
      expect(await site.throughPg({ user: 'with_password' }, 'localhost')).toBe('28P01')
      expect(await site.throughPostgres({ user: 'with_password' }, 'localhost')).toBe('28P01')
      expect(await site.throughPg({}, 'localhost')).toBe('tls')
      expect(await site.throughPostgres({}, 'localhost')).toBe('tls')
    } finally {
      for (const name of Object.keys(names)) delete process.env[name]
      Object.assign(process.env, before)
    }
  })
})

describe('what a URL says of TLS beyond its mode', () => {
  beforeAll(() => site.serve('good'), 30_000)

  test.each<[string, () => Partial<ConnectionSettings>, string]>([
    ['a list that revokes nothing', () => ({ sslcrl: site.file('ca-none.crl') }), 'tls'],
    ['a list that revokes it', () => ({ sslcrl: site.file('ca-good.crl') }), 'CERT_REVOKED'],
    ['the lowest version', () => ({ sslMinProtocol: 'TLSv1.3' }), 'tls'],
    [
      'versions that exclude each other',
      () => ({ sslMinProtocol: 'TLSv1.3', sslMaxProtocol: 'TLSv1.2' }),
      'ERR_SSL_NO_PROTOCOLS_AVAILABLE',
    ],
  ])('%s', async (_, more, expected) => {
    const settings = { sslmode: 'verify-ca', sslrootcert: site.file('ca.crt'), ...more() } as const
    expect(await site.throughPg(settings, 'localhost')).toContain(expected)
    expect(await site.throughPostgres(settings, 'localhost')).toContain(expected)
  })
})

describe('sessions over the stream', () => {
  beforeAll(() => site.serve('good'), 30_000)

  test.each(['disable', 'prefer'] as const)('carry large values both ways under %s', async (sslmode) => {
    const target = await site.target({ sslmode }, 'localhost')
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
    const probe = openProbe({ ...(await site.target({}, 'localhost')), connectTimeoutMs: 2000 }, 5000)
    const ssl = () => outcome(async () => ((await probe.one(ENCRYPTED)) as { ssl: boolean }).ssl)
    expect(await ssl()).toBe('tls')
    await site.server.stop('immediate')
    const failures = [await ssl(), await ssl(), await ssl()]
    expect(failures.at(-1)).toBe('ECONNREFUSED')
    await site.server.start()
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
    const settings = { user: 'u', sslmode }
    const target = await resolveTarget({ host: '127.0.0.1', port }, 'd', settings, { HOME: site.home })
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
      expect(throughSession).toBe('CONNECT_TIMEOUT')
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
