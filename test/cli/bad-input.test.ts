import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { citusHa } from '../support/scenario.ts'

interface Case {
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A configuration: `FILE` in `args` is its path. */
  readonly file?: string
  readonly name?: 'c.json'
  /** A line each. */
  readonly says: readonly RegExp[]
  readonly exitCode?: number
}

const at = (url: string, ...more: string[]) => ['status', '--coordinator', url, ...more]
const NOBODY = 'postgres://citus_ha@127.0.0.1:1/app'
const withFile = (file: string, ...args: string[]) => ({ args: [...args, '--config', 'FILE'], file })
const HINT = /^\(see: citus-ha [a-z]+ --help\)$/

const URLS: readonly Case[] = [
  {
    args: at('127.0.0.1'),
    says: [/--coordinator: expected a URL such as postgres:\/\/user@host:port\/database/],
  },
  { args: at('http://127.0.0.1/app'), says: [/--coordinator: expected a URL/] },
  { args: at('host=127.0.0.1 dbname=app'), says: [/--coordinator: expected a URL/] },
  { args: at(''), says: [/--coordinator: expected a URL/] },
  { args: at('postgres://a@127.0.0.1:99999/app'), says: [/a port that is not between 1 and 65535, in /] },
  { args: at('postgres://a@127.0.0.1:0/app'), says: [/a port that is not between 1 and 65535, in /] },
  { args: at('postgres://a@127.0.0.1:abc/app'), says: [/a port that is not between 1 and 65535, in /] },
  { args: at('postgres://a@[::1/app'), says: [/an IPv6 address without its "\]", in /] },
  { args: at('postgres://u@x:p@127.0.0.1/app'), says: [/@ : \/ need percent-encoding/] },
  { args: at(`${NOBODY}?sslmode=foo`), says: [/sslmode: expected one of disable, allow, prefer/] },
  { args: at(`${NOBODY}?nope=1`), says: [/unknown parameter "nope"/] },
  { args: at(`${NOBODY}?connect_timeout=abc`), says: [/connect_timeout/] },
  {
    args: at(NOBODY),
    says: [/no writable coordinator answers: 127\.0\.0\.1:1: unreachable/, /next: psql .*start it/],
    exitCode: 4,
  },
]

const ENVIRONMENT: readonly Case[] = [
  {
    args: at('postgres://a@127.0.0.1/app'),
    env: { PGPORT: 'abc' },
    says: [/^citus-ha: PGPORT: expected a port/],
  },
  {
    args: ['status'],
    env: { PGSERVICE: 'foo' },
    says: [/^citus-ha: PGSERVICE: no service "foo" in .*pg_service\.conf/],
  },
  {
    args: ['status'],
    env: { PGHOST: '127.0.0.1', PGPORT: '1', PGUSER: 'citus_ha', PGDATABASE: 'app' },
    says: [/no writable coordinator answers: 127\.0\.0\.1:1/, /next: psql .*start it/],
    exitCode: 4,
  },
  { args: ['status'], env: { CITUS_HA_CONFIG: '/nope.yaml' }, says: [/\/nope\.yaml: no such file/] },
]

const FILES: readonly Case[] = [
  {
    ...withFile('coordinators: [{ uri: "postgres://x" }]', 'status'),
    says: [
      /coordinators\[0\]\.uri: unknown key; did you mean url\?/,
      /coordinators\[0\]\.url: expected text/,
    ],
  },
  {
    ...withFile('coordinator: []\nconnection: { pasword: x }\napply: { locktimeout: 1s }', 'status'),
    says: [
      /connection\.pasword: unknown key; did you mean password\?/,
      /apply\.locktimeout: unknown key; did you mean lockTimeout\?/,
      /coordinator: unknown key; did you mean coordinators\?/,
    ],
  },
  {
    ...withFile(`coordinators: [{ url: "${NOBODY}" }]\nconnection: { password: 12345 }`, 'status'),
    says: [/connection\.password: expected text, got a number: put it in quotes/],
  },
  {
    ...withFile('{"coordinators": [}', 'status'),
    name: 'c.json',
    says: [/c\.json:1:19: not JSON: a quote, comma, colon or closing bracket is missing$/],
  },
  {
    ...withFile('coordinators: [\n  a: b\n}', 'status'),
    says: [/c\.yaml:1:15: not YAML: this bracket is not closed; text that begins with { or \[ needs quotes$/],
  },
  {
    ...withFile('a: 1 2: 3\n\tb: 4', 'status'),
    says: [/c\.yaml:1:4: not YAML: a value with “: ” in it needs quotes$/],
  },
  {
    ...withFile('a: 1\na: 2\nb: 3\nb: 4', 'status'),
    says: [/c\.yaml:2:1: not YAML: this key stands here twice$/, /c\.yaml:4:1: /],
  },
  { ...withFile('- a', 'status'), says: [/expected keys such as "coordinators:", got a list/] },
]

const FLAGS: readonly Case[] = [
  { args: ['reconcile', '--wait', '10000'], says: [/'10000' is invalid\. expected a duration/, HINT] },
  { args: ['status', '-w', '0'], says: [/expected a duration such as 200ms, 10s or 5m/, HINT] },
  { args: ['reconcile', '--group', '-1'], says: [/expected a group id, such as 1/, HINT] },
  { args: ['status', '--group', 'x'], says: [/expected a group id, such as 1/, HINT] },
  {
    args: ['reconcile', '--group', '1', '--group', '2'],
    says: [/group 1 was already given: give one group only/, HINT],
  },
  { args: ['history', '--limit', '0'], says: [/expected a whole number from 1 to 999999/, HINT] },
  { args: ['history', '--limit', '1000000'], says: [/expected a whole number from 1 to 999999/, HINT] },
  { args: ['event', 'promoted', 'x'], says: [/expected HOST:PORT, got 1 argument: "x"$/] },
  { args: ['install', '--role', ''], says: [/expected a name/, HINT] },
  { args: ['install', '--role', 'bad role;'], says: [/no spaces, no quotes/, HINT] },
  { args: ['forget'], says: [/missing required argument 'host:port'/, HINT] },
  { args: ['forget', 'a'], says: [/expected HOST:PORT, such as/, HINT] },
  { args: ['watch', '--json'], says: [/--json needs --once/, HINT] },
  { args: ['watch', '--once', '--http'], says: [/--once serves no HTTP/, HINT] },
  { args: ['switchover', '--group', '1', '--node', 'x'], says: [/--group and --node exclude each other/] },
  { args: ['switchover'], says: [/switchover needs --group N or --node HOST/] },
  {
    args: ['switchover', '--group', '1'],
    says: [/there is no terminal to ask for confirmation: give --yes/],
  },
  { args: ['status', '--json', '-o', 'wide'], says: [/--json and --output wide exclude each other/] },
  { args: ['help', 'nosuch'], says: [/unknown command 'nosuch'/, /^\(see: citus-ha --help\)$/] },
  {
    args: ['uninstal'],
    says: [/unknown command 'uninstal'/, /Did you mean uninstall\?/, /see: citus-ha --help/],
  },
]

/** Of the process itself: the demo starts servers, and reads nothing else. */
const DEMO: readonly (readonly [name: string, value: string, says: RegExp])[] = [
  ['CITUS_HA_BACKEND', 'foo', /^citus-ha: CITUS_HA_BACKEND: expected standin, got "foo"$/m],
  ['CITUS_HA_PG_BINDIR', '/nope', /^citus-ha: CITUS_HA_PG_BINDIR: no initdb, pg_ctl, postgres in \/nope$/m],
  ['TMPDIR', '/nope', /^citus-ha: TMPDIR: no directory can be created in \/nope \(ENOENT\)$/m],
]

/** What a process may have open; without a coordinator, and with one. */
const EMFILE = 'citus-ha: too many open files (EMFILE): raise the limit, for example: ulimit -n 1024\n'
/** How few open files are too few depends on the release of Node: what each command says where they are enough. */
const LIMITED: readonly { readonly args: readonly string[]; readonly otherwise: RegExp }[] = [
  { args: ['status'], otherwise: /^citus-ha: no coordinator: .*\n$/ },
  {
    args: ['reconcile', '--coordinator', NOBODY],
    otherwise: /^citus-ha: no writable coordinator answers: .*\ncitus-ha: next: .*\n$/,
  },
]

describe('bad input is answered in lines that name it, and its code', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bad-input-'))
  })
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true })
  })

  it.each([...URLS, ...ENVIRONMENT, ...FILES, ...FLAGS])(
    '$args $env $file',
    async ({ args, env, file, name = 'c.yaml', says, exitCode = 2 }) => {
      const path = join(directory, name)
      if (file !== undefined) await writeFile(path, file, { mode: 0o600 })
      const typed = args.map((each) => (each === 'FILE' ? path : each))
      const ran = await citusHa(typed, undefined, env)
      expect(ran, ran.stderr).toMatchObject({ exitCode })
      const lines = ran.stderr.trim().split('\n')
      expect(lines).toEqual(says.map((line) => expect.stringMatching(line)))
      expect(ran.stderr).not.toMatch(/\bat .*\.(ts|js):\d+/)
    },
  )

  it.each(LIMITED)('too few open files: $args', ({ args, otherwise }) => {
    const said = [22, 24, 28, 32, 36, 40, 44].map((files) => {
      const command = `ulimit -n ${files}; exec "$0" dist/bin/citus-ha.js "$@"`
      const ran = spawnSync('sh', ['-c', command, process.execPath, ...args], { encoding: 'utf8' })
      expect(ran.stdout).toBe('')
      if (ran.stderr === EMFILE) expect(ran.status).toBe(2)
      else expect(ran.stderr, `${files} files`).toMatch(otherwise)
      return ran.stderr
    })
    expect(said).toContain(EMFILE)
  })

  it.each(DEMO)('demo with %s=%s', async (name, value, says) => {
    vi.stubEnv(name, value)
    try {
      const ran = await citusHa(['demo'])
      expect(ran).toMatchObject({ exitCode: 2 })
      expect(ran.stderr).toMatch(says)
    } finally {
      vi.unstubAllEnvs()
    }
  })
})
