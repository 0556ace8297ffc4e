import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/config/config-error.ts'
import type { ConnectionSettings } from '../../src/config/connection.ts'
import { Secret } from '../../src/config/secret.ts'
import type { Environment } from '../../src/config/url.ts'
import { passwordIn } from '../../src/db/passfile.ts'
import { pgClientConfig, postgresOptions, resolveTarget } from '../../src/db/target.ts'

const ADDRESS = { host: 'w1.example', port: 5433 }
let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'citus-ha-target-'))
})

afterEach(async () => {
  await rm(home, { recursive: true })
})

function resolve(settings: ConnectionSettings, env: Environment = {}, database: string | null = 'app') {
  return resolveTarget(ADDRESS, database, settings, { HOME: home, ...env })
}

async function put(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(home, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

async function complaint(resolving: Promise<unknown>): Promise<string> {
  const error = await resolving.catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ConfigError)
  return (error as ConfigError).message
}

describe('a target', () => {
  test('has the defaults of libpq where nothing is said', async () => {
    expect(await resolve({}, {}, null)).toEqual({
      ...ADDRESS,
      user: userInfo().username,
      database: userInfo().username,
      password: undefined,
      noPassword: `PGPASSWORD is not set, and there is no password file ${home}/.pgpass`,
      ssl: expect.objectContaining({
        mode: 'prefer',
        verify: 'nothing',
        roots: [],
        cert: undefined,
        crl: undefined,
      }),
      connectTimeoutMs: 10_000,
      options: undefined,
      warnings: [],
    })
  })

  const env = {
    PGUSER: 'env_user',
    PGDATABASE: 'env_db',
    PGPASSWORD: 'env_password',
    PGSSLMODE: 'require',
    PGCONNECT_TIMEOUT: '7',
    PGOPTIONS: '-c a=b',
  }

  test('has what PG* variables say, over the defaults', async () => {
    const target = await resolve({}, env, null)
    expect(target).toMatchObject({
      user: 'env_user',
      database: 'env_db',
      connectTimeoutMs: 7000,
      options: '-c a=b',
    })
    expect(target.ssl.mode).toBe('require')
    expect(target.password?.reveal()).toBe('env_password')
  })

  test('has what the settings say, over the variables', async () => {
    const target = await resolve(
      { user: 'u', password: new Secret('p'), sslmode: 'disable', connectTimeoutMs: 1500, options: '-c c=d' },
      env,
    )
    expect(target).toMatchObject({ user: 'u', database: 'app', connectTimeoutMs: 1500, options: '-c c=d' })
    expect(target.ssl.mode).toBe('disable')
    expect(target.password?.reveal()).toBe('p')
  })

  test('and the options made of it print no password and no key', async () => {
    const sslcert = await put('c.crt', 'certificate')
    const sslkey = await put('c.key', 'hunter2')
    const target = await resolve({ password: new Secret('hunter2'), sslcert, sslkey })
    for (const each of [target, pgClientConfig(target), postgresOptions(target)]) {
      expect(JSON.stringify(each)).not.toContain('hunter2')
      expect(inspect(each, { depth: null })).not.toContain('hunter2')
    }
    expect(postgresOptions(target).pass()).toBe('hunter2')
    expect(target.ssl.key?.reveal()).toBe('hunter2')
  })

  test.each([
    undefined,
    '',
    '-c search_path=evil',
    '-c a=b\\',
    '-c a=b\\\\',
    '--row_security=on -c work_mem=1MB',
  ])('and both drivers have the settings of our sessions last, after %j', async (options) => {
    const target = await resolve(options === undefined ? {} : { options })
    const { connection } = postgresOptions(target)
    expect(connection.options).toBe(pgClientConfig(target).options)
    expect(connection.options).toMatch(
      /(^|(?<!\\)(\\\\)* )-c search_path=pg_catalog,pg_temp -c standard_conforming_strings=on -c DateStyle=ISO,MDY /,
    )
    expect(connection.options).toContain('-c default_transaction_isolation=read\\ committed')
  })

  test('with nonsense in a variable is refused', async () => {
    expect(await complaint(resolve({}, { PGSSLMODE: 'on' }))).toMatch(
      /^PGSSLMODE: expected one of disable, allow/,
    )
    expect(await complaint(resolve({}, { PGCONNECT_TIMEOUT: 'soon' }))).toBe(
      'PGCONNECT_TIMEOUT: expected a whole number of seconds',
    )
  })
})

describe('certificates', () => {
  test.each([
    ['prefer', 'chain'],
    ['require', 'chain'],
    ['verify-ca', 'chain'],
    ['verify-full', 'chain-and-host'],
  ] as const)('~/.postgresql/root.crt under %s: verify %s', async (sslmode, verify) => {
    await put('.postgresql/root.crt', 'ROOT')
    expect((await resolve({ sslmode })).ssl).toMatchObject({ verify, roots: ['ROOT'] })
  })

  test.each(['verify-ca', 'verify-full'] as const)('%s insists on a root certificate', async (sslmode) => {
    expect(await complaint(resolve({ sslmode }))).toContain(
      `root certificate file ${home}/.postgresql/root.crt does not exist`,
    )
    expect(await complaint(resolve({}, { PGSSLMODE: sslmode, PGSSLROOTCERT: '/nosuch.crt' }))).toContain(
      '/nosuch.crt',
    )
  })

  test('require without the root certificate that was named goes on, as libpq does, and warns', async () => {
    const { ssl, warnings } = await resolve({ sslmode: 'require', sslrootcert: '/nosuch.crt' })
    expect(ssl.verify).toBe('nothing')
    expect(warnings).toEqual([
      'root certificate file /nosuch.crt does not exist: under sslmode require no certificate is verified',
    ])
  })

  test('sslrootcert=system means verify-full with the roots of the system', async () => {
    const SSL_CERT_FILE = await put('system.crt', 'SYSTEM')
    const system = { mode: 'verify-full', verify: 'chain-and-host' }
    expect((await resolve({ sslrootcert: 'system' }, { SSL_CERT_FILE })).ssl).toMatchObject({
      ...system,
      roots: ['SYSTEM'],
    })
    expect((await resolve({ sslrootcert: 'system' }, { SSL_CERT_FILE: '/nosuch' })).ssl).toMatchObject({
      ...system,
      roots: rootCertificates,
    })
    expect(await complaint(resolve({ sslrootcert: 'system', sslmode: 'require' }))).toContain('too weak')
  })

  test('a client certificate needs its key, which nobody else may read', async () => {
    await put('.postgresql/postgresql.crt', 'CERT')
    expect(await complaint(resolve({}))).toMatch(/no private key file .*\/\.postgresql\/postgresql\.key$/)
    await put('.postgresql/postgresql.key', 'KEY', 0o644)
    expect(await complaint(resolve({}))).toContain('has group or world access')
    await put('.postgresql/postgresql.key', 'KEY', 0o600)
    expect((await resolve({})).ssl.cert).toBe('CERT')
    expect((await resolve({ sslmode: 'disable' })).ssl.cert).toBeUndefined()
  })
})

describe('the password file', () => {
  const LINE = 'w1.example:5433:app:u:from file\n'
  const found = async (settings: ConnectionSettings, env: Environment = {}) => {
    const { password, warnings } = await resolve({ user: 'u', ...settings }, env)
    return { password: password?.reveal(), warnings }
  }

  test('is ~/.pgpass, PGPASSFILE over it, passfile over both', async () => {
    expect(await found({})).toEqual({ password: undefined, warnings: [] })
    await put('.pgpass', LINE)
    const PGPASSFILE = await put('env', LINE.replace('file', 'env'))
    const passfile = await put('passfile', LINE.replace('file', 'passfile'))
    expect((await found({})).password).toBe('from file')
    expect((await found({}, { PGPASSFILE })).password).toBe('from env')
    expect((await found({ passfile }, { PGPASSFILE })).password).toBe('from passfile')
    expect((await found({ passfile }, { PGPASSWORD: 'variable' })).password).toBe('variable')
  })

  test.each([0o640, 0o604, 0o620])('that others may touch (%o) is ignored with a warning', async (mode) => {
    const path = await put('.pgpass', LINE, mode)
    expect(await found({})).toEqual({
      password: undefined,
      warnings: [
        `password file ${path} has group or world access; permissions should be u=rw (0600) or less`,
      ],
    })
  })

  test('that systemd hands to a service is read, whatever its access control list looks like', async () => {
    const PGPASSFILE = await put('citus-ha.pgpass', LINE, 0o440)
    const CREDENTIALS_DIRECTORY = home
    expect(await found({}, { PGPASSFILE })).toMatchObject({ password: undefined })
    expect(await found({}, { PGPASSFILE, CREDENTIALS_DIRECTORY })).toEqual({
      password: 'from file',
      warnings: [],
    })
  })

  test('that is no plain file is ignored with a warning; a link to one is followed', async () => {
    expect(await found({ passfile: home })).toEqual({
      password: undefined,
      warnings: [`password file ${home}: is a directory`],
    })
    const path = await put('real', LINE)
    await symlink(path, join(home, '.pgpass'))
    expect((await found({})).password).toBe('from file')
  })

  const QUERY = { host: 'h', port: 5432, database: 'd', user: 'u' }
  test.each([
    ['h:5432:d:u:p', QUERY, 'p'],
    ['*:*:*:*:p', QUERY, 'p'],
    ['h:5432:d:u:first\n*:*:*:*:second', QUERY, 'first'],
    ['other:5432:d:u:no\nh:5432:d:u:p', QUERY, 'p'],
    ['#h:5432:d:u:no\n\nh:5432:d:u:p\r\n', QUERY, 'p'],
    ['h:5432:d:u:a\\:b\\\\c:d#', QUERY, 'a:b\\c:d#'],
    ['h:5432:d:u: p ', QUERY, ' p '],
    ['h:5432:d\\:1:u\\\\:p', { ...QUERY, database: 'd:1', user: 'u\\' }, 'p'],
    ['\\:\\:1:5432:d:u:p', { ...QUERY, host: '::1' }, 'p'],
    ['\\*:5432:d:u:no\n', QUERY, undefined],
    ['h:5432:d:u:', QUERY, undefined],
    ['h:5432:d:u', QUERY, undefined],
    ['h:05432:d:u:p', QUERY, undefined],
  ])('%j', (text, query, expected) => {
    expect(passwordIn(text, query)).toBe(expected)
  })
})
