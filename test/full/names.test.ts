import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { timed } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'

const MAIN = fileURLToPath(new URL('../../dist/bin/citus-ha.js', import.meta.url))
/** A name server that never answers: glibc would give it up after two minutes and more. */
const NAME_SERVER = '127.0.0.54'
/** Several times that is more than what a busy machine needs besides. */
const SURVEY_MS = 10_000
const SLACK_MS = 20_000

/** Only root may mount another resolv.conf, for one process, and listen at port 53. */
function mayHang(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

interface Started {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  readonly log: readonly string[]
  readonly exited: Promise<unknown[]>
}

describe.skipIf(!mayHang())('names that the DNS server does not answer', () => {
  let scenario: Scenario
  let dns: Socket
  let resolv: string
  let running: Started | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  /** citus-ha with that name server. */
  const start = (...args: string[]): Started => {
    const sh = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    const child = spawn('unshare', ['-m', 'sh', '-c', sh, resolv, process.execPath, MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: '/nonexistent' },
    })
    const log: string[] = []
    child.stderr.setEncoding('utf8').on('data', (data: string) => log.push(data))
    return { child, log, exited: once(child, 'exit') }
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
    resolv = join(scenario.cluster.directory, 'resolv.conf')
    await writeFile(resolv, `nameserver ${NAME_SERVER}\noptions timeout:30 attempts:5\n`, { mode: 0o644 })
    dns = createSocket('udp4')
    await new Promise<void>((resolve) => dns.bind(53, NAME_SERVER, resolve))
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    running?.child.kill('SIGKILL')
    await running?.exited
    running = null
  })
  afterAll(async () => {
    dns?.close()
    await scenario?.stop()
  })

  /** Four of them; the groups' primaries have addresses. */
  const config = () =>
    scenario.configFile({
      detect: { timeout: `${SURVEY_MS}ms` },
      addresses: {
        [at('worker-2-standby')]: { connect: 'w2b.gone.example:5432' },
        [at('coordinator-standby')]: { connect: 'cn2.gone.example:5432' },
      },
      standbys: ['w2c', 'w2d'].map((name) => ({ group: 2, address: `${name}.gone.example:5432` })),
    })
  const coordinator = () => [
    '--coordinator',
    server('coordinator').url(scenario.cluster.database, 'citus_ha'),
  ]

  it('cost a survey one limit, and the groups are healthy', async () => {
    running = start('status', '--json', ...coordinator(), '--config', await config())
    const { child, exited } = running
    const { value: out, ms } = await timed(() => text(child.stdout))
    await exited
    const { groups } = JSON.parse(out)
    expect(groups.map(({ code }: { code: string }) => code)).toEqual(['healthy', 'healthy', 'healthy'])
    expect(ms).toBeLessThan(SURVEY_MS + SLACK_MS)
  })

  it('do not keep a watcher from a failover of another group, nor from its end', {
    timeout: 150_000,
  }, async () => {
    running = start('watch', ...coordinator(), '--config', await config())
    const { log, child, exited } = running
    await waitUntil('it leads', () => log.join('').includes('this instance leads'))
    await server('worker-1').kill()
    const began = performance.now()
    await server('worker-1-standby').promote()
    const rows = async () => (await scenario.rows(server('worker-2'))).join('\n')
    const written = new RegExp(`group 1 primary ${at('worker-1-standby')}`)
    await waitUntil('the row', async () => written.test(await rows()), { limitMs: 60_000 })
    expect(performance.now() - began).toBeLessThan(2 * SURVEY_MS + SLACK_MS)
    const { ms } = await timed(() => {
      child.kill('SIGTERM')
      return exited
    })
    expect(ms).toBeLessThan(SLACK_MS)
    expect(child.exitCode).toBe(0)
  })
})
