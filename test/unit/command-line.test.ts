import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asTyped } from '../../src/cli/cluster-options.ts'
import { groupsOption } from '../../src/cli/options.ts'
import { withTyped } from '../../src/cli/render-report.ts'
import { findBinaries } from '../../src/demo/binaries.ts'
import { currentMigration } from '../../src/install/migrations.ts'
import { describeError } from '../../src/walk/describe-error.ts'
import { citusHa, type Ran } from '../support/scenario.ts'
import { report } from '../support/watch-state.ts'

// Whatever is typed here comes to an end before any server is asked.

const GOOD =
  'coordinators: [{ url: "postgres://u:secret@cn1.example,cn2.example:6432/app?require_auth=none" }]\n'
const FILES = `coordinators: [{ url: "postgres://u@cn1.example/app" }]
connection: { sslmode: verify-full, sslrootcert: /nonexistent/root.crt }
control: { listen: "127.0.0.1:0", tokenFile: /nonexistent/token }
notify: { webhooks: [{ url: "https://h/x", secretFile: /nonexistent/secret }] }
`

let directory: string
const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-command-line-'))
  await writeFile(at('bad.yaml'), 'coordinators: []\ndetekt: {}\nlogs: {}\n')
  await writeFile(at('none.yaml'), 'cluster: orders\n')
  await writeFile(at('good.yaml'), GOOD, { mode: 0o600 })
  await writeFile(at('public.yaml'), GOOD)
  await writeFile(at('files.yaml'), FILES)
  await writeFile(at('token'), 'short\n')
})
afterAll(async () => {
  await rm(directory, { recursive: true })
})

describe('citus-ha config check', () => {
  const WARNING =
    'warning: require_auth is ignored: any authentication method that the server asks for is used (in postgres://u:***@cn1.example,cn2.example:6432/app?require_auth=none)\n'
  const COORDINATORS = 'coordinator u@cn1.example:5432/app\ncoordinator u@cn2.example:6432/app\n'

  test.each<[string[], Record<string, string>, number, string, string]>([
    [['good.yaml'], {}, 0, `good.yaml: no problem found\n${COORDINATORS}`, WARNING],
    [['--config', 'good.yaml'], {}, 0, `good.yaml: no problem found\n${COORDINATORS}`, WARNING],
    [
      [],
      { CITUS_HA_CONFIG: 'good.yaml' },
      0,
      `good.yaml (from CITUS_HA_CONFIG): no problem found\n${COORDINATORS}`,
      WARNING,
    ],
    [
      ['public.yaml'],
      {},
      0,
      `public.yaml: no problem found\n${COORDINATORS}`,
      `warning: public.yaml has world access and holds a secret (coordinators[0].url); permissions should be u=rw,g=r (0640) or less\n${WARNING}`,
    ],
    [
      [],
      { CITUS_HA_COORDINATOR: 'postgres://u:secret@h/a' },
      0,
      'no file: no problem found\ncoordinator u@h:5432/a (from CITUS_HA_COORDINATOR)\n',
      '',
    ],
    // The file is looked at for itself.
    [
      ['bad.yaml'],
      { CITUS_HA_COORDINATOR: 'postgres://u@h/a' },
      2,
      '',
      'citus-ha: bad.yaml:2:1: detekt: unknown key; did you mean detect?\ncitus-ha: bad.yaml:3:1: logs: unknown key; did you mean log?\n',
    ],
    [
      ['files.yaml'],
      {},
      2,
      '',
      'citus-ha: root certificate file /nonexistent/root.crt does not exist: provide it, or sslrootcert=system, or another sslmode than verify-full\ncitus-ha: control.tokenFile: /nonexistent/token: no such file\ncitus-ha: notify.webhooks[0].secretFile: /nonexistent/secret: no such file\n',
    ],
    [
      ['none.yaml'],
      {},
      2,
      '',
      'citus-ha: none.yaml: no coordinator: give --coordinator URL, --config FILE or CITUS_HA_COORDINATOR\n',
    ],
    [
      ['good.yaml', '--config', 'bad.yaml'],
      {},
      2,
      '',
      'citus-ha: give FILE or --config, not both\n(see: citus-ha config check --help)\n',
    ],
  ])('%j with %j', async (args, env, exitCode, stdout, stderr) => {
    const whole = (text: string) => text.replace(/^[a-z]+\.yaml$/, at)
    const typed = ['config', 'check', ...args].map(whole)
    const given = Object.entries(env).map(([name, value]) => [name, whole(value)])
    const ran = await citusHa(typed, undefined, Object.fromEntries(given))
    expect(told(ran)).toEqual({ exitCode, stdout, stderr: expect.stringContaining(stderr) })
    expect(ran.stderr === '').toBe(stderr === '')
    expect(ran.stdout + ran.stderr).not.toContain('secret@')
  })

  test('is one JSON document with --json', async () => {
    const good = await citusHa(['config', 'check', at('good.yaml'), '--json'])
    expect({ ...good, stdout: JSON.parse(good.stdout) }).toEqual({
      exitCode: 0,
      stdout: {
        exitCode: 0,
        file: { path: at('good.yaml'), by: '--config' },
        coordinators: { by: 'file', candidates: ['u@cn1.example:5432/app', 'u@cn2.example:6432/app'] },
        problems: [],
        warnings: [expect.stringContaining('require_auth is ignored')],
      },
      stderr: '',
    })
    const bad = await citusHa(['config', 'check', at('bad.yaml'), '--json'])
    expect(bad).toMatchObject({ exitCode: 2, stderr: '' })
    expect(JSON.parse(bad.stdout).problems).toHaveLength(2)
  })

  function told({ exitCode, stdout, stderr }: Ran): Ran {
    const bare = (text: string) => text.replaceAll(`${directory}/`, '')
    return { exitCode, stdout: bare(stdout), stderr: bare(stderr) }
  }
})

test('citus-ha config example is a file that citus-ha config check finds right', async () => {
  const { stdout } = await citusHa(['config', 'example'])
  expect(stdout.split('\n')[0]).toMatch(
    /^# yaml-language-server: \$schema=\/.*\/docs\/reference\/configuration\.schema\.json$/,
  )
  await writeFile(at('example.yaml'), stdout)
  const checked = await citusHa(['config', 'check', at('example.yaml')])
  expect(checked).toMatchObject({ exitCode: 0, stderr: '' })
})

describe('what can’t be meant is refused, and not passed over', () => {
  const at1 = ['--coordinator', 'postgres://h:0/a']
  test.each<[string[], RegExp]>([
    [
      ['reconcile', '--group', '1', '--group', '2'],
      /argument '2' is invalid\. group 1 was already given: give one group only\.\n/,
    ],
    [['pause', '--group', '1', '--group', '1'], /group 1 was already given/],
    [['watch', '--json'], /^citus-ha: --json needs --once\n/],
    [['watch', '--once', '--http'], /^citus-ha: --once serves no HTTP: omit --http\n/],
    [['help', 'nosuch'], /^citus-ha: unknown command 'nosuch'\n/],
    [['help', 'statsu'], /^citus-ha: unknown command 'statsu'\n\(Did you mean status\?\)\n/],
    // These two are understood: they come as far as the coordinator's port.
    [
      ['event', 'promoted', ...at1, 'w1b:5432', '--timeout', '2s'],
      /^citus-ha: --coordinator: a port that is not/,
    ],
    [
      ['event', 'patroni', ...at1, 'on_role_change', 'primary', 'w1', '--node', 'w1b:5432'],
      /^citus-ha: --coordinator: a port that is not/,
    ],
  ])('%j', async (args, expected) => {
    const ran = await citusHa(args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    expect(ran.stderr).toMatch(expected)
  })

  test.each([
    ['CITUS_HA_BACKEND', 'foo', 'CITUS_HA_BACKEND: expected standin, got "foo"'],
    ['CITUS_HA_PG_BINDIR', '/nonexistent', 'CITUS_HA_PG_BINDIR: no initdb, pg_ctl, postgres in /nonexistent'],
  ])('%s=%s of the demo', async (name, value, line) => {
    vi.stubEnv(name, value)
    try {
      const error = await findBinaries().catch((thrown: unknown) => thrown)
      expect(describeError(error)).toEqual({ line, lines: [line], exitCode: 2 })
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('but several groups of a switchover are several groups', () => {
    expect(groupsOption('3', groupsOption('1,2'))).toEqual([1, 2, 3])
  })
})

describe('options before the command', () => {
  const BAD =
    /^citus-ha: .*bad\.yaml:2:1: detekt: unknown key; did you mean detect\?\ncitus-ha: .*bad\.yaml:3:1: logs: unknown key; did you mean log\?\n$/
  const port = (host: string) =>
    `citus-ha: --coordinator: a port that is not between 1 and 65535, in postgres://${host}:0/a\n`
  test.each<[string[], string | RegExp]>([
    [['--config', 'bad.yaml', 'status'], BAD],
    [['--config=bad.yaml', 'event', 'promoted', 'w1b:5432'], BAD],
    [['--config', 'none.yaml', 'status', '--config', 'bad.yaml'], BAD],
    [['--coordinator', 'postgres://a:0/a', 'status'], port('a')],
    [
      ['--coordinator', 'postgres://a:0/a', 'status', '--coordinator', 'postgres://b:0/a'],
      port('a') + port('b'),
    ],
    [['--coordinator', 'postgres://a:0/a', 'rules'], /^citus-ha: rules does not take --coordinator\n/],
    [['--nosuch', 'status'], /^citus-ha: unknown option '--nosuch'\n/],
    [['--config', 'status'], /\ncitus-ha: no command was given\n$/],
  ])('%j', async (args, expected) => {
    const typed = args.map((arg) => arg.replace(/[a-z]+\.yaml$/, at))
    const ran = await citusHa(typed)
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    if (typeof expected === 'string') expect(ran.stderr).toBe(expected)
    else expect(ran.stderr).toMatch(expected)
  })
})

describe('a command that is printed, for whoever has named the cluster', () => {
  const file = { config: "it's.yaml" }
  const urls = { coordinator: ['postgres://citus_ha:secret@cn1/app', 'postgres://citus_ha@cn2/app'] }
  const both = '--coordinator postgres://citus_ha@cn1/app --coordinator postgres://citus_ha@cn2/app'

  test.each([
    ['by nothing', {}, 'citus-ha reconcile --group 1', 'citus-ha reconcile --group 1'],
    ['by a file', file, 'citus-ha reconcile --group 1', `citus-ha reconcile --config "it's.yaml" --group 1`],
    ['by URLs', urls, 'citus-ha doctor   # names what', `citus-ha doctor ${both}   # names what`],
    [
      'twice',
      urls,
      'see citus-ha status; citus-ha recover',
      `see citus-ha status ${both}; citus-ha recover ${both}`,
    ],
    [
      'of its own',
      file,
      'citus-ha install --role r --coordinator URL',
      'citus-ha install --role r --coordinator URL',
    ],
    ['of others', file, 'psql -h w1 -c "SELECT 1"', 'psql -h w1 -c "SELECT 1"'],
  ])('%s', (_, options, text, typed) => {
    expect(asTyped(options)(text)).toBe(typed)
  })

  test.each([
    ['postgres://cn1/app?password=secret&sslmode=require', '"postgres://cn1/app?sslmode=require"'],
    ['postgres://cn1:5432/app?password=sec@ret', 'postgres://cn1:5432/app'],
    ['postgres://cn1/app?%70assword=secret&user=a', '"postgres://cn1/app?user=a"'],
    [`postgres://cn1/app?user=a&password='a'secret`, '"postgres://cn1/app?user=a"'],
    ['postgres://a:secret@cn1:1,cn2:2/app', 'postgres://a@cn1:1,cn2:2/app'],
  ])('%s without its password', (url, shown) => {
    expect(asTyped({ coordinator: [url] })('citus-ha doctor')).toBe(`citus-ha doctor --coordinator ${shown}`)
  })
})

test('version says what somebody who helps wants to know', async () => {
  const { stdout, exitCode } = await citusHa(['version'])
  expect(exitCode).toBe(0)
  expect(stdout).toMatch(
    new RegExp(
      `^citus-ha +\\d+\\.\\d+\\.\\d+.*\nschema citus_ha +migration \\d+\nNode\\.js +${process.version} on \\w+ \\w+\n$`,
    ),
  )
  const document: unknown = JSON.parse((await citusHa(['version', '--json'])).stdout)
  expect(document).toMatchObject({ migration: currentMigration(), node: process.version })
})

test.each(['--version', '-V'])('%s says the same in one line, and first of all the version', async (flag) => {
  const { stdout, stderr, exitCode } = await citusHa([flag])
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
  expect(stdout).toMatch(
    new RegExp(
      `^\\d+\\.\\d+\\.\\d+ \\(.*schema citus_ha migration ${currentMigration()}, Node\\.js ${process.version} on .*\\)\n$`,
    ),
  )
})

test('a subcommand that is typed wrong names its own help', async () => {
  const { stderr, exitCode } = await citusHa(['event', 'patroni', '--nosuch'])
  expect(exitCode).toBe(2)
  expect(stderr).toContain('(see: citus-ha event patroni --help)')
})

test('commands in the copies and warnings of a report are as they were typed', () => {
  const detail = 'where it sends reads is not known: see citus-ha status'
  const copies = [
    { node: 'w1b:5432', role: 'standby', state: 'does not follow' as const, convergedMs: null, detail },
  ]
  const made = withTyped(report({ copies, warnings: [detail] }), asTyped({ config: 'c.yaml' }))
  expect(made.copies[0]?.detail).toBe(`${detail} --config c.yaml`)
  expect(made.warnings).toEqual([`${detail} --config c.yaml`])
})
