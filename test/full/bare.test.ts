import { afterAll, describe, expect, it } from 'vitest'
import { BareRoot } from '../support/bare-root.ts'

const root = await BareRoot.make()
if (typeof root === 'string')
  process.stdout.write(`the README’s two commands in a bare root: skipped, ${root}\n`)

/** Under `CI`: a few of each kind, and each that needed something of the machine once. */
const SOME = [
  'test/unit/control',
  'test/unit/names',
  'test/cli/demo',
  'test/contract/routing',
  'test/contract/two-phase',
  'test/scenario/tls',
  'test/scenario/watch.test',
]
const COMMAND_LIMIT_MS = 600_000
const TEST_LIMIT_MS = 45 * 60_000

describe.skipIf(typeof root === 'string')('with Node and npm and nothing else', () => {
  const run = async (command: string, limitMs: number) => {
    if (typeof root === 'string') throw new Error(root)
    const { exitCode, output } = await root.run(command, limitMs)
    expect(exitCode, output.slice(-20_000)).toBe(0)
    return output
  }

  afterAll(async () => {
    if (typeof root !== 'string') await root.remove()
  }, 60_000)

  it('there is no PostgreSQL, psql, ps or openssl', async () => {
    await run('! which psql postgres pg_config ps openssl git', COMMAND_LIMIT_MS)
  })

  it('npm ci && npm run demo', { timeout: COMMAND_LIMIT_MS }, async () => {
    const told = await run('npm ci && npm run demo', COMMAND_LIMIT_MS)
    expect(told).toMatch(/^citus-ha demo on the stand-in on PostgreSQL /m)
    expect(told).toMatch(/all processes have ended, \S+ is removed\n$/)
  })

  it('npm ci && npm test', { timeout: TEST_LIMIT_MS }, async () => {
    await passes(process.env.CI ? SOME : [])
  })

  it('what connects to localhost passes without a hosts file', { timeout: TEST_LIMIT_MS }, async () => {
    await run('rm /etc/hosts && ! getent hosts localhost', COMMAND_LIMIT_MS)
    await passes(['test/unit/control', 'test/unit/names', 'test/scenario/tls'])
  })

  async function passes(files: readonly string[]): Promise<void> {
    // Beside other tests, on the same cores.
    const told = await run(`npm test -- --maxWorkers=1 ${files.join(' ')}`, TEST_LIMIT_MS)
    expect(told).toMatch(/^backend: the stand-in on PostgreSQL \S+ \(embedded binaries\)/m)
    expect(told).toMatch(/^[1-9]\d* passed, 0 failed, /m)
  }
})
