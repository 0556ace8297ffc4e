import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { citusHa } from '../support/scenario.ts'

// Whatever is typed here comes to an end before any server is asked.

let directory: string
const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-command-line-'))
  await writeFile(at('bad.yaml'), 'coordinators: []\ndetekt: {}\nlogs: {}\n')
  await writeFile(at('none.yaml'), 'cluster: orders\n')
})
afterAll(async () => {
  await rm(directory, { recursive: true })
})

describe('options before the command', () => {
  const BAD =
    /^citus-ha: .*bad\.yaml: detekt: unknown key; did you mean detect\?\ncitus-ha: .*bad\.yaml: logs: unknown key; did you mean log\?\n$/
  const port = (host: string) =>
    `citus-ha: --coordinator: a port that is not 1 to 65535, in postgres://${host}:0/a\n`
  test.each<[string[], string | RegExp]>([
    [['--config', 'bad.yaml', 'status'], BAD],
    [['--config=bad.yaml', 'event', 'promoted', 'w1b:5432'], BAD],
    [['--config', 'none.yaml', 'status', '--config', 'bad.yaml'], BAD],
    [['--coordinator', 'postgres://a:0/a', 'status'], port('a')],
    [
      ['--coordinator', 'postgres://a:0/a', 'status', '--coordinator', 'postgres://b:0/a'],
      port('a') + port('b'),
    ],
    [['--coordinator', 'postgres://a:0/a', 'rules'], /^error: rules takes no --coordinator\n/],
    [['--nosuch', 'status'], /^error: unknown option '--nosuch'\n/],
  ])('%j', async (args, expected) => {
    const typed = args.map((arg) => arg.replace(/[a-z]+\.yaml$/, at))
    const ran = await citusHa(typed)
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    if (typeof expected === 'string') expect(ran.stderr).toBe(expected)
    else expect(ran.stderr).toMatch(expected)
  })
})
