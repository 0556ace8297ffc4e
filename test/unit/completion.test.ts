import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SHELLS, type Shell } from '../../src/cli/completion.ts'
import { citusHa } from '../support/scenario.ts'

/** What a shell offers for the last of the words, asked of that shell with the script that we print. */
const ASK: Readonly<Record<Shell, (file: string, words: readonly string[]) => string[]>> = {
  bash: (file, words) => [
    'bash',
    '-c',
    `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _citus_ha; printf "%s\\n" "\${COMPREPLY[@]}"`,
    'bash',
    file,
    'citus-ha',
    ...words,
  ],
  zsh: (file, words) => [
    'zsh',
    '-fc',
    `compdef() { }; _files() { print -l -- *(N) }; compadd() { shift; print -l -- "$@" }
     _describe() { print -l -- "\${(@)\${(P@)2}%%:*}" }
     source "$1"; shift; words=("$@"); CURRENT=$#; _citus_ha`,
    'zsh',
    file,
    'citus-ha',
    ...words,
  ],
  fish: (file, words) => [
    'fish',
    '--no-config',
    '-c',
    'source $argv[1]; complete -C "$argv[2]" | string replace -r "\\t.*" ""',
    file,
    ['citus-ha', ...words].join(' '),
  ],
}

describe.each(SHELLS)('in %s', (shell) => {
  const isThere = spawnSync(shell, ['--version']).status === 0
  let directory: string
  let file: string

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-completion-'))
    file = join(directory, 'script')
    const { stdout } = await citusHa(['completion', shell])
    await writeFile(file, stdout)
    await writeFile(join(directory, 'my file.yaml'), '')
  })
  afterAll(async () => {
    await rm(directory, { recursive: true })
  })

  const offered = (words: readonly string[]): string[] => {
    const [program = '', ...args] = ASK[shell](file, words)
    const { stdout, stderr } = spawnSync(program, args, {
      cwd: directory,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: directory, TERM: 'dumb' },
    })
    expect(stderr).toBe('')
    return stdout.split('\n').filter((line) => line !== '')
  }

  test.skipIf(!isThere).each<[string[], string[], string[]]>([
    [[''], ['status', 'switchover', 'event', 'config', 'help'], ['patroni', 'check', '--json']],
    [
      ['event', ''],
      ['patroni', 'repmgr', 'pg_auto_failover'],
      ['status', '--node'],
    ],
    [
      ['event', 'patroni', '-'],
      ['--node', '--group', '--log-level', '--help'],
      ['--monitor', 'status'],
    ],
    [['--config', 'status', ''], ['reconcile', 'status'], ['--dry-run']],
    [
      ['reconcile', '--group', '1', '--'],
      ['--dry-run', '--promoted'],
      ['--ttl', 'status'],
    ],
    [
      ['reconcile', '--log-level', ''],
      ['silent', 'debug'],
      ['--dry-run', 'status'],
    ],
    [['reconcile', '--group', ''], [], ['silent', '--dry-run', 'status', 'my file.yaml']],
    [
      ['status', '-o', ''],
      ['table', 'wide', 'json'],
      ['--json', 'status'],
    ],
    [['status', '-g', ''], [], ['--json', 'status', 'table']],
    [['status', '--config', ''], ['my file.yaml'], ['--json', 'reconcile']],
    [['config', 'check', ''], ['my file.yaml'], ['example']],
    [['completion', ''], ['bash', 'zsh', 'fish'], ['status']],
    [
      ['explain', ''],
      ['D041', 'split-brain', 'H064', '5', 'copy-stale', 'CitusHaSplitBrain'],
      ['status', '--json'],
    ],
    [['explain', 'D041', '-'], ['--json', '--help'], ['D041']],
  ])('citus-ha %j', (words, expected, unexpected) => {
    const found = offered(words)
    expect(found).toEqual(expect.arrayContaining(expected))
    expect(found.filter((word) => unexpected.includes(word))).toEqual([])
  })

  test.skipIf(!isThere)('knows every command that --help has', async () => {
    const { stdout } = await citusHa(['--help'])
    const commands = [...stdout.matchAll(/^ {2}([a-z]+)(?: \S.*)? {2,}\S/gm)].map(([, name]) => name)
    expect(commands.length).toBeGreaterThan(15)
    expect(offered([''])).toEqual(expect.arrayContaining(commands))
  })
})

test('bash: --option=value', async () => {
  const { stdout } = await citusHa(['completion', 'bash'])
  const script = `${stdout}\nCOMP_WORDS=(citus-ha reconcile --log-level = de); COMP_CWORD=4; _citus_ha; echo "\${COMPREPLY[@]}"`
  expect(spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout).toBe('debug\n')
})
