import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildProgram } from '../../src/cli/program.ts'
import { citusHa } from '../support/scenario.ts'

/** Nobody listens at port 1; `require_auth` is worth a warning. */
const URL = 'postgres://citus_ha:hunter2@127.0.0.1:1/app?require_auth=none'
const WARNING = /^warning: require_auth is ignored/m
const TRIED =
  /^127\.0\.0\.1:1 failed after [\d.]+ ms: connect ECONNREFUSED 127\.0\.0\.1:1 \(user citus_ha, database app, sslmode prefer\)$/m

const AT = ['--coordinator', URL]
const SOON = [...AT, '--timeout', '600ms']

/** What each command is called with; which of them come as far as a server. */
const CALLS: readonly (readonly [command: string, args: readonly string[], asks: 'a server' | 'nobody'])[] = [
  ['install', AT, 'a server'],
  ['status', AT, 'a server'],
  ['doctor', AT, 'a server'],
  ['reconcile', AT, 'a server'],
  ['event patroni', [...SOON, '--node', 'w1b:1', 'on_role_change', 'primary', 'w1'], 'a server'],
  ['event repmgr', [...SOON, '--node', 'w1b:1', '1', 'standby_promote', '1', 't', 'd'], 'a server'],
  [
    'event pgpool',
    [...SOON, 'failover', '0', 'w1a', '1', '/d', '1', 'w1b', '0', '0', '1', '/d', 'w1a', '1'],
    'a server',
  ],
  ['event promoted', [...SOON, 'w1b:1'], 'a server'],
  ['event pg_auto_failover', [...SOON, '--monitor', URL], 'a server'],
  ['switchover', [...AT, '--group', '1', '--yes'], 'a server'],
  ['pause', AT, 'a server'],
  ['resume', AT, 'a server'],
  ['fence', [...AT, '--group', '1'], 'nobody'],
  ['release', [...AT, '--group', '1'], 'nobody'],
  ['watch', [...AT, '--once'], 'a server'],
  ['recover', AT, 'a server'],
  ['forget', [...AT, 'w1b:1'], 'a server'],
  ['relearn', [...AT, '--yes'], 'a server'],
  ['uninstall', [...AT, '--yes'], 'a server'],
  ['history', AT, 'a server'],
  ['config check', AT, 'nobody'],
  ['config example', [], 'nobody'],
  ['version', [], 'nobody'],
  ['rules', [], 'nobody'],
  ['explain', ['D041'], 'nobody'],
  ['completion', ['bash'], 'nobody'],
  ['demo', ['--stop', '/nonexistent'], 'nobody'],
]

let home: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'citus-ha-verbosity-'))
})
afterAll(async () => {
  await rm(home, { recursive: true })
})

const run = (args: readonly string[]) => citusHa(args, undefined, { HOME: home })

test('each command is called below', async () => {
  const nowhere = { write: () => true }
  const io = { stdout: nowhere, stderr: nowhere, env: {}, signal: new AbortController().signal }
  const program = await buildProgram(io, () => undefined)
  const named = ({ commands }: Command, before: string): string[] =>
    commands.flatMap((each) => {
      const name = `${before}${each.name()}`
      return each.commands.length > 0 ? named(each, `${name} `) : [name]
    })
  expect(CALLS.map(([command]) => command).toSorted()).toEqual(named(program, '').toSorted())
})

describe.each(CALLS)('citus-ha %s', (command, args, asks) => {
  const words = command.split(' ')

  test('says the same on stdout, and ends the same, with -v and -q, wherever they stand', async () => {
    const plain = await run([...words, ...args])
    // One that is typed before stands with the cluster's options, where the command has them.
    const behind = [['-v'], ['--verbose'], ['-q'], ['--quiet']].map((flag) => [...words, ...flag, ...args])
    const before = [['-v'], ['--verbose'], ['-q'], ['--quiet']].map((flag) => [...flag, ...words, ...args])
    for (const typed of [...behind, ...before]) {
      const { stdout, exitCode, stderr } = await run(typed)
      expect({ stdout, exitCode }, typed.join(' ')).toEqual({
        stdout: plain.stdout,
        exitCode: plain.exitCode,
      })
      expect(stderr).not.toContain('hunter2')
      expect(stderr).not.toContain('unknown option')
    }
  })

  test.runIf(asks === 'a server')('tells with -v of each connection, and without it not', async () => {
    expect((await run([...words, '-v', ...args])).stderr).toMatch(TRIED)
    expect((await run([...words, ...args])).stderr).not.toMatch(TRIED)
  })

  test.runIf(args.includes('--coordinator'))('leaves warnings out with -q, and no error', async () => {
    const usual = await run([...words, ...args])
    const quiet = await run([...words, '-q', ...args])
    if (!['fence', 'release'].includes(command)) expect(usual.stderr).toMatch(WARNING)
    expect(quiet.stderr).not.toMatch(WARNING)
    const errors = (text: string) => text.split('\n').filter((line) => line.startsWith('citus-ha: '))
    // Which one it is may depend on how far it came in the time that it was given.
    expect(errors(quiet.stderr)).toHaveLength(errors(usual.stderr).length)
    expect(quiet.stderr.replace(/^citus-ha: .*\n/gm, '')).toBe('')
  })
})

test('of -v and -q the last counts', async () => {
  for (const flags of [['-qv'], ['-q', '-v']])
    expect((await run(['status', ...flags, ...AT])).stderr).toMatch(TRIED)
  for (const typed of [
    ['status', '-vq', ...AT],
    ['-v', 'status', '-q', ...AT],
  ])
    expect((await run(typed)).stderr).toMatch(/^(citus-ha: .*\n)+$/)
})

test('-v says which file was read, and by what', async () => {
  expect((await run(['-v', 'status', ...AT])).stderr).toMatch(
    /^no configuration file is read; coordinators from --coordinator: 127\.0\.0\.1:1$/m,
  )
})
