import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { ConfigError } from '../../src/config/config-error.ts'
import { exampleFile } from '../../src/config/example.ts'
import { type ConfigSources, defaultFiles, loadConfig, readConfig } from '../../src/config/load.ts'
import { type SchemaNode, schemaTree } from '../../src/config/problems.ts'
import { redact } from '../../src/config/redact.ts'
import { configSchema } from '../../src/config/schema.ts'
import { formatAddress } from '../../src/model/node.ts'
import { loadCluster } from '../../src/walk/cluster.ts'
import { describeError } from '../../src/walk/describe-error.ts'

const URL = 'postgres://citus_ha@cn1.example:5432/app'
const TOKEN = 'a-token-of-enough-characters'
const LISTEN = { host: '127.0.0.1', port: 8009 }
const ONE = `coordinators: [{ url: '${URL}' }]\n`

function load(yaml: string, sources: Partial<ConfigSources> = {}) {
  return loadConfig({ file: 'citus-ha.yaml', env: {}, readFile: async () => yaml, ...sources })
}

async function complaint(loading: Promise<unknown>): Promise<string> {
  const error = await loading.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ConfigError)
  const { message } = error as ConfigError
  expect(message).not.toContain('\n')
  return message
}

/** Without the lines of what is wrong with a value: `test/unit/config-slips` has them. */
const unplaced = (text: string) => text.replaceAll(/(citus-ha\.yaml):\d+:\d+: (?!not YAML)/g, '$1: ')

describe('the file', () => {
  test('of the design is understood, durations as milliseconds and sizes as bytes', async () => {
    const config = await load(`
cluster: orders
databases: [app]
coordinators:
  - url: postgres://citus_ha@cn1.example:5432/app
  - url: postgres://other@cn2.example:5433/app?sslmode=require
connection: { user: citus_ha, passfile: /etc/citus-ha/pgpass, sslmode: verify-full, sslrootcert: /etc/ca.crt }
standbys:
  - { group: 1, address: "w1c.example:5432" }
  - { group: 2, address: "w2c.example:5432", cluster: reports, rack: north }
register: true
addresses:
  "worker-1:5432": { connect: "10.0.0.11:6432", alias: "worker-1-alias:5432" }
detect: { interval: 1s, timeout: 2s, confirm: 3, witnessFreshness: 5s, cooldown: 10s }
apply: { lockTimeout: 200ms, deadline: 0.5m, decisionWait: 0s, force: 10s }
routing: { secondaryDown: auto, primaryDown: leave, maxLag: 16MB }
integrations: { nodes: { w1b: "worker-1b:5432" } }
http: { listen: "127.0.0.1:8008" }
log: { level: debug }
`)
    const shared = { passfile: '/etc/citus-ha/pgpass', sslrootcert: '/etc/ca.crt' }
    const first = { ...shared, user: 'citus_ha', sslmode: 'verify-full' }
    expect(config).toEqual({
      cluster: 'orders',
      discloseStatements: false,
      databases: ['app'],
      coordinators: [
        { address: { host: 'cn1.example', port: 5432 }, database: 'app', settings: first },
        {
          address: { host: 'cn2.example', port: 5433 },
          database: 'app',
          settings: { ...shared, user: 'other', sslmode: 'require' },
        },
      ],
      connection: first,
      standbys: [
        { group: 1, address: { host: 'w1c.example', port: 5432 }, cluster: 'default', rack: null },
        { group: 2, address: { host: 'w2c.example', port: 5432 }, cluster: 'reports', rack: 'north' },
      ],
      register: true,
      addresses: new Map([
        [
          'worker-1:5432',
          {
            connect: { host: '10.0.0.11', port: 6432 },
            alias: { host: 'worker-1-alias', port: 5432 },
            follows: null,
          },
        ],
      ]),
      detect: { interval: 1000, timeout: 2000, confirm: 3, witnessFreshness: 5000, cooldown: 10_000 },
      apply: { lockTimeout: 200, deadline: 30_000, decisionWait: 0, force: 10_000 },
      routing: { secondaryDown: 'auto', primaryDown: 'leave', readers: 'assumed', maxLag: 16 * 1024 * 1024 },
      integrations: { nodes: new Map([['w1b', { host: 'worker-1b', port: 5432 }]]) },
      http: { listen: { host: '127.0.0.1', port: 8008 }, page: false, hosts: [] },
      control: null,
      notify: null,
      log: { level: 'debug', format: 'auto' },
    })
  })

  test.each([
    ['only a coordinator', ONE],
    ['sections with nothing under them', `${ONE}cluster:\ndetect:\napply:\nlog:\n`],
    ['JSON', JSON.stringify({ coordinators: [{ url: URL }] })],
  ])('may be short: %s', async (_, yaml) => {
    expect(await load(yaml)).toEqual({
      cluster: null,
      discloseStatements: false,
      databases: null,
      coordinators: [
        { address: { host: 'cn1.example', port: 5432 }, database: 'app', settings: { user: 'citus_ha' } },
      ],
      connection: { user: 'citus_ha' },
      standbys: [],
      register: false,
      addresses: new Map(),
      detect: { interval: 1000, timeout: 2000, confirm: 3, witnessFreshness: 5000, cooldown: 10_000 },
      apply: { lockTimeout: 200, deadline: 30_000, decisionWait: 2000, force: 'never' },
      routing: { secondaryDown: 'auto', primaryDown: 'leave', readers: 'assumed', maxLag: 16 * 1024 * 1024 },
      integrations: { nodes: new Map() },
      http: null,
      control: null,
      notify: null,
      log: { level: 'info', format: 'auto' },
    })
  })

  test.each([
    ['8008', '127.0.0.1'],
    [':8008', '0.0.0.0'],
    ['"[::]:8008"', '::'],
  ])('listens at %s as people write it', async (listen, host) => {
    const { http } = await load(`${ONE}http: { listen: ${listen} }\n`)
    expect(http).toEqual({ listen: { host, port: 8008 }, page: false, hosts: [] })
  })

  test.each(['http: {}', 'http:', 'http: { }'])(
    'turns HTTP on by naming it, on loopback: %s',
    async (line) => {
      const { http } = await load(`${ONE}${line}\n`)
      expect(http).toEqual({ listen: { host: '127.0.0.1', port: 8008 }, page: false, hosts: [] })
    },
  )

  test.each([
    [
      `control: { token: ${TOKEN} }`,
      {
        listen: LISTEN,
        tls: null,
        connect: { url: 'http://127.0.0.1:8009', ca: null, cert: null, key: null },
      },
    ],
    [
      `control: { listen: '[::1]:0', tokenFile: /etc/citus-ha/token }`,
      { listen: { host: '::1', port: 0 }, token: { kind: 'file', file: '/etc/citus-ha/token' } },
    ],
    [
      `control: { listen: 'cn1.example:8009', tls: { cert: c, key: k, clientCa: a } }`,
      {
        token: null,
        tls: { cert: 'c', key: 'k', clientCa: 'a' },
        connect: { url: 'https://cn1.example:8009', ca: 'a', cert: 'c', key: 'k' },
      },
    ],
    [
      `control: { connect: 'https://cn1.example:8009', token: ${TOKEN} }`,
      { listen: null, connect: { url: 'https://cn1.example:8009', ca: null, cert: null, key: null } },
    ],
    [
      `control: { listen: 'localhost:8009', connect: { url: 'https://cn1.example', ca: a, cert: c, key: k }, token: ${TOKEN} }`,
      { connect: { url: 'https://cn1.example', ca: 'a', cert: 'c', key: 'k' } },
    ],
  ])('turns orders on by naming them, for whoever can show who he is: %s', async (line, expected) => {
    const { control } = await load(`${ONE}${line}\n`)
    expect(control).toMatchObject(expected)
    expect(inspect(control, { depth: 9 }) + JSON.stringify(control)).not.toContain(TOKEN)
  })

  test.each([
    [
      'control:',
      'control: expected token, tokenFile or tls.clientCa: control does not accept requests without authentication',
    ],
    ['control: { listen: "127.0.0.1:8009" }', 'control: expected token, tokenFile or tls.clientCa'],
    ['control: { tls: { cert: c, key: k } }', 'control: expected token, tokenFile or tls.clientCa'],
    ['control: { token: short }', 'control.token: expected 16 characters or more'],
    ['control: { token: "häslich häslich" }', 'control.token: expected'],
    ['control: { token: 1234567890123456 }', 'control.token: expected text, got a number: put it in quotes'],
    [
      `control: { token: ${TOKEN}, tokenFile: f }`,
      'control.tokenFile: expected token or tokenFile, not both',
    ],
    [
      `control: { token: ${TOKEN}, listen: "0.0.0.0:8009" }`,
      'control.listen: expected tls, or an address of this machine only, got 0.0.0.0:8009',
    ],
    [`control: { token: ${TOKEN}, listen: "cn1.example:1" }`, 'control.listen: expected tls'],
    [
      `control: { token: ${TOKEN}, connect: "http://cn1.example:8009" }`,
      'control.connect.url: expected https:',
    ],
    [
      `control: { token: ${TOKEN}, connect: "ftp://cn1.example" }`,
      'control.connect.url: expected a URL such as',
    ],
    [
      `control: { token: ${TOKEN}, connect: "https://cn1.example/v1" }`,
      'control.connect.url: expected a URL such as',
    ],
    [`control: { token: ${TOKEN}, connect: { cert: c } }`, 'control.connect.key: expected both cert and key'],
    [`control: { token: ${TOKEN}, tls: { cert: c } }`, 'control.tls.key: expected text, got nothing'],
    [`control: { tokn: ${TOKEN} }`, 'control.tokn: unknown key'],
  ])('refuses orders from whoever comes along, and a token on an open line: %s', async (line, expected) => {
    const message = unplaced(await complaint(load(`${ONE}${line}\n`)))
    expect(message).toMatch(
      new RegExp(`^citus-ha\\.yaml: ${expected.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`),
    )
    expect(message).not.toContain(TOKEN)
  })

  test('is read from disk, and http.listen may leave the port to the system', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-config-'))
    const file = join(directory, 'citus-ha.yaml')
    try {
      await writeFile(file, `${ONE}http: { listen: '[::1]:0' }`)
      const { http } = await loadConfig({ env: { CITUS_HA_CONFIG: file } })
      expect(http?.listen).toEqual({ host: '::1', port: 0 })
      const missing = join(directory, 'nosuch.yaml')
      expect(await complaint(loadConfig({ file: missing, env: {} }))).toBe(`${missing}: no such file`)
      expect(await complaint(loadConfig({ file: directory, env: {} }))).toBe(`${directory}: is a directory`)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

describe('what is wrong is said in one line', () => {
  const DURATION = 'expected a duration such as 200ms, 10s or 5m'
  test.each([
    ['detect: { interval: fast }', `detect.interval: ${DURATION}, got "fast"`],
    ['detect: { interval: 10 }', `detect.interval: ${DURATION}, got 10`],
    ['detect: { interval: 0s }', 'detect.interval: expected more than zero'],
    ['detect: { interval: 30d }', `detect.interval: ${DURATION}, got "30d"`],
    ['detect: { intervall: 1s }', 'detect.intervall: unknown key; did you mean interval?'],
    ['detect: { confirm: 0 }', 'detect.confirm: expected 1 or more'],
    ['detect: { confirm: 1.5 }', 'detect.confirm: expected a whole number, got a fraction'],
    ['detect: 3', 'detect: expected a mapping, got a number: write keys, such as “interval: …”'],
    ['detekt: {}', 'detekt: unknown key; did you mean detect?'],
    ['nosuch: {}', 'nosuch: unknown key'],
    ['lock_timeout: 1s', 'lock_timeout: unknown key; did you mean apply.lockTimeout?'],
    ['timeout: 1s', 'timeout: unknown key; did you mean detect.timeout or notify.timeout?'],
    ['connection: { pasword: 1 }', 'connection.pasword: unknown key; did you mean password?'],
    ['pasword: x', 'pasword: unknown key; did you mean connection.password?'],
    ['lisen: x', 'lisen: unknown key; did you mean http.listen or control.listen?'],
    ['connection: { password: 12345 }', 'connection.password: expected text, got a number: put it in quotes'],
    ['connection: { user: true }', 'connection.user: expected text, got true: put it in quotes'],
    [
      'apply: { force: always }',
      `apply.force: expected never or a duration such as 200ms, 10s or 5m, got "always"`,
    ],
    [
      'routing: { maxLag: 16 miles }',
      'routing.maxLag: expected a size such as 512kB, 16MB or 1GB, got "16 miles"',
    ],
    ['routing: { primaryDown: panic }', 'routing.primaryDown: expected one of leave, secondary'],
    ['cluster: Orders', 'cluster: expected a name of up to 40 of a-z, 0-9, _ and -, got "Orders"'],
    ['cluster: null\ndatabases: []', 'databases: expected at least one database'],
    ['databases: app', 'databases: expected a list, got text: begin each entry with “- ”'],
    [
      'standbys: [{ group: 1, address: w1c }]',
      'standbys[0].address: expected an address such as db1.example:5432, got "w1c"',
    ],
    ['standbys: [{ group: -1, address: "w1c:1" }]', 'standbys[0].group: expected 0 or more'],
    ['addresses: { worker-1: {} }', 'addresses.worker-1: expected an address such as worker-1:5432'],
    [
      'addresses: { "worker-1:5432": { conect: "a:1" } }',
      'addresses["worker-1:5432"].conect: unknown key; did you mean connect?',
    ],
    ['"postgres://u:hunter2@h/db": 1', '["postgres://u:***@h/db"]: unknown key'],
    [
      'http: { listen: 80080 }',
      'http.listen: expected an address such as 127.0.0.1:8008, or :8008 for all of the machine, got 80080',
    ],
    [
      `control: { token: ${TOKEN}, listen: :8009 }`,
      'control.listen: expected tls, or an address of this machine only, got 0.0.0.0:8009: the token would be sent unencrypted',
    ],
    [
      'connection: { sslmode: verify }',
      'connection.sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full',
    ],
  ])('%s', async (yaml, expected) => {
    expect(unplaced(await complaint(load(ONE + yaml)))).toBe(`citus-ha.yaml: ${expected}`)
  })

  test.each([
    [`${ONE}detect: { interval: 1s\n`, /^citus-ha\.yaml:2:9: not YAML: this bracket is not closed/],
    [
      `${ONE}detect: {}\ndetect: {}\nlog: {}\nlog: {}\n`,
      /^citus-ha\.yaml:3:1: not YAML: this key stands here twice; citus-ha\.yaml:5:1: not YAML: this key stands here twice$/,
    ],
    [`${ONE}detect: {}\ndetect: {}\n`, /^citus-ha\.yaml:3:1: not YAML: this key stands here twice$/],
    ['- coordinators', /^citus-ha\.yaml: read as text, not as a key; expected a colon: “coordinators: …”$/],
    ['- 1', /^citus-ha\.yaml: expected keys such as "coordinators:", got a list$/],
    [
      'coordinators: [postgres://cn1/app]',
      /^citus-ha\.yaml: coordinators\[0\]: expected a mapping, got text: write keys, such as “url: …”$/,
    ],
    ['coordinators: [{}]', /^citus-ha\.yaml: coordinators\[0\]\.url: expected text, got nothing$/],
  ])('%j', async (yaml, expected) => {
    expect(unplaced(await complaint(load(yaml)))).toMatch(expected)
  })

  test.each([
    [
      'detect: { a: 1, interval: fast, confirm: 0 }\nlog: { level: loud }',
      [
        'detect.a: unknown key',
        `detect.interval: ${DURATION}, got "fast"`,
        'detect.confirm: expected 1 or more',
        'log.level: expected one of silent, error, warn, info, debug, trace',
      ],
    ],
    [
      'coordinators: [{ uri: x }]',
      [
        'coordinators[0].uri: unknown key; did you mean url?',
        'coordinators[0].url: expected text, got nothing',
      ],
    ],
    ['coordinator: [{ url: x }]', ['coordinator: unknown key; did you mean coordinators?']],
  ])('and all of it at once: %s', async (yaml, expected) => {
    const error = await load(yaml).catch((thrown: unknown) => thrown)
    const lines = expected.map((line) => `citus-ha.yaml: ${line}`)
    const { problems, message } = error as ConfigError
    expect(problems.map(unplaced)).toEqual(lines)
    expect(describeError(error)).toEqual({ lines: problems, line: message, exitCode: 2 })
  })

  test('no coordinator at all', async () => {
    const give = 'no coordinator: give --coordinator URL, --config FILE or CITUS_HA_COORDINATOR'
    expect(await complaint(loadConfig({ env: {} }))).toBe(give)
    expect(await complaint(load('cluster: orders'))).toBe(`citus-ha.yaml: ${give}`)
    const files = defaultFiles({ HOME: '/nonexistent' }, '/nonexistent')
    expect(await complaint(loadConfig({ env: {}, defaultFiles: files }))).toBe(
      `${give}; there is no file ${files.join(' or ')}`,
    )
  })

  test('JSON that is none, by the name of its file', async () => {
    const file = 'citus-ha.JSON'
    expect(await complaint(load('{"detect": [}', { file }))).toMatch(/^citus-ha\.JSON:1:13: not JSON: /)
  })

  test.each([
    'connection: { password: *hunter2 }',
    'connection: { password: !hunter2 x }',
    'connection: { password: [hunter2] }',
    'connection: { password: "hunter2 }',
    'connection: { sslmode: hunter2 }',
    'detect: { interval: "postgres://u:hunter2@h" }',
    'coordinators: [{ url: "postgres://u:hunter2@h:x/db" }]',
    'coordinators: [{ url: "postgres://u:hun/hunter2@h/db" }]',
    'coordinators: [{ url: "postgres://u:h@hunter2@h/db" }]',
    'coordinators: [{ url: "postgres://u:%hunter2@h/db" }]',
    'coordinators: [{ url: "postgres://h/db?password=hunter2&nosuch=1" }]',
    'coordinators: [{ url: "mysql://u:hunter2@h/db" }]',
    'coordinators: [{ url: "u:hunter2@h/db" }]',
    'coordinators: [{ url: "host=h password=hunter2" }]',
    'coordinators: [{ url: "postgres://u:hunter2@h,h/db?port=1,2,3" }]',
  ])('without the password: %s', async (yaml) => {
    expect(await complaint(load(yaml))).not.toContain('hunter2')
  })
})

describe('coordinators', () => {
  async function candidates(url: string, env: ConfigSources['env'] = {}) {
    return (await loadConfig({ coordinators: [url], env })).coordinators
  }

  test('of one URL may be several, as libpq allows', async () => {
    const found = await candidates(
      'postgresql://u:p%40%3A%2F@a:1,[::1]:2,c/my%20db?connect_timeout=3&application_name=x',
    )
    expect(found.map(({ address }) => address)).toEqual([
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
      { host: 'c', port: 5432 },
    ])
    expect(found[0]).toMatchObject({ database: 'my db', settings: { user: 'u', connectTimeoutMs: 3000 } })
    expect(found[2]?.settings.password?.reveal()).toBe('p@:/')
  })

  test('may be said in parameters', async () => {
    const parameters =
      'host=a,b&port=1,2&user=u&password=p&dbname=d&sslmode=verify-ca&sslrootcert=r&sslcert=c&sslkey=k&passfile=f' +
      '&options=-c%20work_mem%3D1MB&target_session_attrs=any'
    const found = await candidates(`postgres://?${parameters}`)
    expect(found.map(({ address }) => address)).toEqual([
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ])
    expect(found[1]).toMatchObject({
      database: 'd',
      settings: {
        user: 'u',
        sslmode: 'verify-ca',
        sslrootcert: 'r',
        sslcert: 'c',
        sslkey: 'k',
        passfile: 'f',
        options: '-c work_mem=1MB',
      },
    })
    expect(found[1]?.settings.password?.reveal()).toBe('p')
  })

  // As `pg_autoctl show uri` prints them, and as people have them for other programs.
  test.each<[string, string[], string[]]>([
    [
      'postgres://autoctl_node@m:5000/pg_auto_failover?sslmode=verify-ca&sslrootcert=r&sslcrl=c',
      ['m:5000'],
      [],
    ],
    ['postgres://a:1,b:2/app?target_session_attrs=read-write&sslmode=prefer', ['a:1', 'b:2'], []],
    ['postgres://a/app?keepalives=1&keepalives_idle=9&keepalives_count=3&tcp_user_timeout=9', ['a:5432'], []],
    [
      'postgres://a/app?load_balance_hosts=random&client_encoding=auto&sslsni=0&gssencmode=prefer',
      ['a:5432'],
      [],
    ],
    ['postgres:///app?hostaddr=10.0.0.1,10.0.0.2&port=5,6', ['10.0.0.1:5', '10.0.0.2:6'], []],
    ['postgres://a/app?channel_binding=prefer', ['a:5432'], []],
    ['postgres://a/app?channel_binding=require', ['a:5432'], ['channel_binding is ignored']],
    ['postgres://a/app?require_auth=scram-sha-256', ['a:5432'], ['require_auth is ignored']],
    ['postgres://u:secret@a/app?sslcertmode=disable', ['a:5432'], ['sslcertmode is ignored']],
  ])('of libpq’s parameters none is unknown: %s', async (url, expected, ignored) => {
    const sources = { coordinators: [url], env: { USER: 'u', PGUSER: 'u' } }
    const { coordinators } = await loadConfig(sources)
    expect(coordinators.map(({ address }) => formatAddress(address))).toEqual(expected)
    const told = coordinators.flatMap(({ settings }) => settings.ignored ?? [])
    expect([...new Set(told)].map((text) => text.replace(/:.*/s, ''))).toEqual(ignored)
    expect(told.join()).not.toContain('secret')
    if (!url.includes('sslrootcert')) {
      const { warnings } = await loadCluster(sources)
      expect(warnings.map((text) => text.replace(/:.*/s, ''))).toEqual(ignored)
    }
  })

  test.each<[string, ConfigSources['env'], string[] | string]>([
    ['postgres://', { PGHOST: 'a,b', PGPORT: '1,2' }, ['a:1', 'b:2']],
    ['postgres://', { PGHOST: 'a,b', PGPORT: '1' }, ['a:1', 'b:1']],
    ['postgres://c,d:3/app', { PGHOST: 'a,b', PGPORT: '1,2' }, ['c:1', 'd:3']],
    ['postgres://h/app', { PGPORT: 'abc' }, 'PGPORT: expected a port from 1 to 65535, got "abc"'],
    ['postgres://h/app', { PGPORT: '1,2' }, 'PGPORT: 1 hosts, but 2 ports'],
    [
      'postgres:///app',
      { PGHOST: 'a b' },
      'PGHOST: expected a host, or several with commas between, got "a b"',
    ],
    ['postgres:///app', { PGHOST: '/run' }, 'PGHOST: a Unix socket is no address that other nodes can use'],
  ])('%s with %j', async (url, env, expected) => {
    const loading = candidates(url, env)
    if (typeof expected === 'string') expect(await complaint(loading)).toBe(expected)
    else expect((await loading).map(({ address }) => formatAddress(address))).toEqual(expected)
  })

  test('without a host or port: PGHOST and PGPORT, else localhost:5432', async () => {
    expect((await candidates('postgres://'))[0]?.address).toEqual({ host: 'localhost', port: 5432 })
    const env = { PGHOST: 'cn', PGPORT: '6000' }
    expect((await candidates('postgres:///app', env))[0]?.address).toEqual({ host: 'cn', port: 6000 })
  })

  test.each([
    ['postgres://h/db?nosuch=1', '--coordinator: unknown parameter "nosuch", in postgres://h/db?nosuch=1'],
    [
      'postgres://u:p@h:0/db',
      /^--coordinator: a port that is not between 1 and 65535, in postgres:\/\/u:\*\*\*@h:0\/db$/,
    ],
    [
      'postgres://u:p/w@h/db',
      /^--coordinator: a port that is not between 1 and 65535 \(.* need percent-encoding\), in postgres:\/\/u:\*\*\*@h\/db$/,
    ],
    ['postgres://u:p@w#x@h/db', /^--coordinator: expected a URL such as .* \(.* need percent-encoding\)$/],
    ['postgres://%2Fvar%2Frun/db', /Unix socket/],
    ['postgres://h/db?service=mine', /citus-ha does not read service/],
    ['postgres://h/db?__proto__=1', /unknown parameter "__proto__"/],
    ['postgres://h/db?ssl_min_protocol_version=SSLv3', /ssl_min_protocol_version: expected one of TLSv1, /],
    ['postgres://h/db?sslmode=on', /sslmode: expected one of disable, allow/],
    ['postgres://h/db?connect_timeout=soon', /connect_timeout: expected a whole number of seconds/],
    ['mysql://h/db', '--coordinator: expected a URL such as postgres://user@host:port/database'],
  ])('bad: %s', async (url, expected) => {
    expect(await complaint(loadConfig({ coordinators: [url], env: {} }))).toMatch(expected)
  })

  test('flags win over the environment, the environment over the file', async () => {
    const env = { CITUS_HA_COORDINATOR: 'postgres://e1,e2/app, postgres://e3/app postgres://e4/app' }
    const hosts = async (sources: Partial<ConfigSources>) =>
      (await load(`${ONE}connection: { user: filed }`, sources)).coordinators.map(({ address, settings }) =>
        [settings.user, address.host].join('@'),
      )
    expect(await hosts({ env, coordinators: ['postgres://f1', 'postgres://me@f2'] })).toEqual([
      'filed@f1',
      'me@f2',
    ])
    expect(await hosts({ env })).toEqual(['filed@e1', 'filed@e2', 'filed@e3', 'filed@e4'])
    expect(await hosts({})).toEqual(['citus_ha@cn1.example'])
    const bad = { CITUS_HA_COORDINATOR: 'nonsense' }
    expect(await complaint(loadConfig({ env: bad }))).toMatch(/^CITUS_HA_COORDINATOR: expected a URL/)
  })

  test('keep their passwords out of whatever prints a configuration', async () => {
    const config = await load(
      'coordinators: [{ url: "postgres://u:hunter2@h" }]\nconnection: { password: hunter2 }',
    )
    for (const text of [
      JSON.stringify(config),
      inspect(config, { depth: null }),
      String(config.connection.password),
    ]) {
      expect(text).not.toContain('hunter2')
    }
    expect(config.connection.password?.reveal()).toBe('hunter2')
  })
})

describe('without a file that is named', () => {
  const home = '/home/u/.config/citus-ha/citus-ha.yaml'
  const machine = '/etc/citus-ha/citus-ha.yaml'

  test.each<[ConfigSources['env'], string[]]>([
    [{ HOME: '/home/u' }, [home, machine]],
    [{ HOME: '/home/u', XDG_CONFIG_HOME: '/x' }, ['/x/citus-ha/citus-ha.yaml', machine]],
    [{ HOME: '/home/u', XDG_CONFIG_HOME: 'x' }, [home, machine]],
    [{}, [machine]],
  ])('with %j it is looked for in %j', (env, expected) => {
    expect(defaultFiles(env)).toEqual(expected)
  })

  const yaml = (host: string) => `coordinators: [{ url: "postgres://u@${host}/app" }]`
  const both = {
    [home]: yaml('own'),
    [machine]: yaml('machine'),
    '/named': yaml('named'),
    '/set': yaml('set'),
  }
  const bare = { '/named': 'detect: { interval: 3s }' }
  const missing = (path: string) => Object.assign(new Error(path), { code: 'ENOENT' })

  test.each<[string, Record<string, string>, Partial<ConfigSources>, unknown]>([
    ['--config', both, { file: '/named', env: { CITUS_HA_CONFIG: '/set' } }, ['named', '/named', '--config']],
    ['CITUS_HA_CONFIG', both, { env: { CITUS_HA_CONFIG: '/set' } }, ['set', '/set', 'CITUS_HA_CONFIG']],
    ['its own', both, {}, ['own', home, 'default']],
    ['its own, beside PGHOST', both, { env: { PGHOST: 'pg' } }, ['own', home, 'default']],
    ['the machine’s', { [machine]: yaml('machine') }, {}, ['machine', machine, 'default']],
    // A file of another cluster would say which standbys to ask, and where the watcher is.
    ['none: a flag names the cluster', both, { coordinators: ['postgres://flag/a'] }, ['flag', null, null]],
    [
      'none: the environment names the cluster',
      both,
      { env: { CITUS_HA_COORDINATOR: 'postgres://env/a' } },
      ['env', null, null],
    ],
    [
      'that which is named, beside a flag',
      both,
      { file: '/named', coordinators: ['postgres://flag/a'] },
      ['flag', '/named', '--config'],
    ],
    ['none: PGHOST', {}, { env: { PGHOST: 'pg' } }, ['pg', null, null]],
    [
      'one without coordinators: PGHOST',
      bare,
      { file: '/named', env: { PGHOST: 'pg' } },
      ['pg', '/named', '--config'],
    ],
  ])('read is %s', async (_, files, sources, expected) => {
    const readFile = async (path: string) => {
      const text = files[path]
      if (text === undefined) throw missing(path)
      return text
    }
    const { config, origin } = await readConfig({
      env: {},
      readFile,
      defaultFiles: [home, machine],
      ...sources,
    })
    const [first] = config.coordinators
    expect([first?.address.host, origin.file?.path ?? null, origin.file?.by ?? null]).toEqual(expected)
  })

  test('one that is there and can’t be read is not passed over', async () => {
    const readFile = async () => {
      throw Object.assign(new Error('x'), { code: 'EACCES' })
    }
    const loading = readConfig({ env: {}, readFile, defaultFiles: [home, machine] })
    expect(await complaint(loading)).toBe(`${home}: permission denied`)
  })

  test.each([
    ['lies there', (pipe: string) => ({ env: {}, defaultFiles: [pipe] })],
    ['--config names', (pipe: string) => ({ env: {}, file: pipe })],
    ['CITUS_HA_CONFIG names', (pipe: string) => ({ env: { CITUS_HA_CONFIG: pipe } })],
  ])('a pipe that %s is not waited for', async (_, sources) => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-config-'))
    const pipe = join(directory, 'citus-ha.yaml')
    try {
      execFileSync('mkfifo', [pipe])
      expect(await complaint(readConfig(sources(pipe)))).toBe(`${pipe}: not a regular file`)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

test('a pipe that a shell has opened is read', () => {
  const script = `citus_ha() { "$0" dist/bin/citus-ha.js "$@"; }; citus_ha config check <(printf '%s' "$1")`
  const yaml = 'coordinators: [{ url: "postgres://u@h/a" }]'
  const stdout = execFileSync('bash', ['-c', script, process.execPath, yaml], { encoding: 'utf8' })
  expect(stdout).toMatch(/^\/dev\/fd\/\d+: no problem found$/m)
})

describe('the example', () => {
  const tree = schemaTree(configSchema({}))
  const shown = exampleFile(tree, '/s/configuration.schema.json')

  test('tells editors where the schema is, in its first line', () => {
    expect(shown.split('\n')[0]).toBe('# yaml-language-server: $schema=/s/configuration.schema.json')
    expect(exampleFile(tree, null)).toBe(shown.replace(/^.*\n/, ''))
  })

  test('is a configuration as it is, and with every key in force; no key is left out but those of secrets', async () => {
    const { coordinators, ...rest } = await load(shown)
    expect(coordinators.map(({ address }) => formatAddress(address))).toEqual(['cn1.example:5432'])
    const { coordinators: _, ...defaults } = await load(ONE)
    expect(rest).toEqual(defaults)

    const whole = shown.replace(/^( *)#(?=\S)/gm, '$1')
    await load(whole)
    const keys = new Set(keysOf(parse(whole)))
    const secrets = [
      'connection.password',
      'control.token',
      'notify.webhooks.secret',
      'notify.slack.url',
      'notify.pagerduty.routingKey',
    ]
    expect(pathsOf(tree).filter((path) => !keys.has(path))).toEqual(secrets)
  })

  test.each(['detect', 'apply', 'routing', 'log', 'register', 'discloseStatements'])(
    'shows the defaults of %s as they are',
    async (section) => {
      const { [section]: written } = parse(shown.replace(/^( *)#(?=\S)/gm, '$1'))
      const defaults = await load(ONE)
      expect(await load(ONE + stringify({ [section]: written }))).toEqual(defaults)
    },
  )
})

/** Without numbers of lists, and NAME for names that somebody chooses. */
function pathsOf({ properties, items, additionalProperties }: SchemaNode, parent = ''): string[] {
  const named = typeof additionalProperties === 'object' ? { NAME: additionalProperties } : {}
  return [
    ...Object.entries({ ...properties, ...named }).flatMap(([name, node]) => {
      const path = parent === '' ? name : `${parent}.${name}`
      return [path, ...pathsOf(node, path)]
    }),
    ...(items ? pathsOf(items, parent) : []),
  ]
}

function keysOf(value: unknown, parent = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => keysOf(each, parent))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, each]) => {
    const name = /^(addresses|integrations\.nodes)$/.test(parent) ? 'NAME' : key
    const path = parent === '' ? name : `${parent}.${name}`
    return [path, ...keysOf(each, path)]
  })
}

describe('a file with a secret in it', () => {
  const WARNING = (key: string) =>
    `has world access and holds a secret (${key}); permissions should be u=rw,g=r (0640) or less`

  test.each<[string, string, string[]]>([
    ['connection: { password: hunter2 }', '0644', [WARNING('connection.password')]],
    ['connection: { password: hunter2 }', '0640', []],
    ['connection: { passfile: /p }', '0644', []],
    ['coordinators: [{ url: "postgres://u:hunter2@h/db" }]', '0644', [WARNING('coordinators[0].url')]],
    [`control: { token: ${TOKEN} }`, '0604', [WARNING('control.token')]],
    ['control: { tokenFile: t }', '0644', []],
    [
      `notify: { webhooks: [{ url: "https://h/x", secret: ${TOKEN} }] }`,
      '0644',
      [WARNING('notify.webhooks[0].secret')],
    ],
    [`notify: { slack: [{ url: "https://h/x" }] }`, '0644', [WARNING('notify.slack[0].url')]],
    [`notify: { slack: [{ urlFile: f }] }`, '0644', []],
    [
      `notify: { pagerduty: [{ routingKey: ${'r'.repeat(32)} }] }`,
      '0644',
      [WARNING('notify.pagerduty[0].routingKey')],
    ],
    ['notify: { slack: [{ url: "https://h/x" }] }', '0644', [WARNING('notify.slack[0].url')]],
    ['notify: { slack: [{ urlFile: f }] }', '0644', []],
    [
      `notify: { pagerduty: [{ routingKey: ${'k'.repeat(32)} }] }`,
      '0644',
      [WARNING('notify.pagerduty[0].routingKey')],
    ],
  ])('%s, of mode %s', async (yaml, mode, expected) => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-config-'))
    const file = join(directory, 'citus-ha.yaml')
    try {
      await writeFile(file, yaml.startsWith('coordinators') ? yaml : ONE + yaml)
      await chmod(file, Number.parseInt(mode, 8))
      const { warnings } = await loadCluster({ env: { HOME: '/nonexistent', PGUSER: 'u' }, file })
      expect(warnings).toEqual(expected.map((text) => `${file} ${text}`))
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

describe('redact', () => {
  test.each([
    ['at postgres://u:secret@h:1/db now', 'at postgres://u:***@h:1/db now'],
    ['postgresql://u:se%40cret@h/db?sslmode=require', 'postgresql://u:***@h/db?sslmode=require'],
    ['postgres://u:se@cr:e/t@h/db', 'postgres://u:***@h/db'],
    ['postgres://:secret@h', 'postgres://:***@h'],
    ['postgres://a:secret@h,postgres://b:secret@i', 'postgres://a:***@h,postgres://b:***@i'],
    ['postgres%3A%2F%2Fu%3Asecret%40h%2Fdb', 'postgres%3A%2F%2Fu%3A***%40h%2Fdb'],
    ['host=h password=secret user=u', 'host=h password=*** user=u'],
    ["host=h password='a secret \\' secret' user=u", 'host=h password=*** user=u'],
    ['password = "a secret" user=u', 'password = *** user=u'],
    ['password=se\\ cret\'"secret user=u', 'password=*** user=u'],
    ['PGPASSWORD=secret psql', 'PGPASSWORD=*** psql'],
    ['postgres://h/db?password=secret', 'postgres://h/db?password=***'],
    ['{"conninfo":"host=h password=secret","n":1}', '{"conninfo":"host=h password=***","n":1}'],
    ['{"password":"sec\\"ret","n":1}', '{"password":"***","n":1}'],
    ['password: secret', 'password: ***'],
    ["{ user: 'u', password: 'secret' }", "{ user: 'u', password: '***' }"],
    ['postgres://u@h:1/db', 'postgres://u@h:1/db'],
    ['http://127.0.0.1:8008/status', 'http://127.0.0.1:8008/status'],
    ['password authentication failed for user "u"', 'password authentication failed for user "u"'],
    ['passfile=/etc/pgpass', 'passfile=/etc/pgpass'],
    ['connection.password: expected text, got a list', 'connection.password: expected text, got a list'],
    ['standbys[0].password: unknown key', 'standbys[0].password: unknown key'],
    ['password: expected', 'password: ***'],
  ])('%s', (text, expected) => {
    expect(redact(text)).toBe(expected)
  })
})
