import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS as ALL } from '../../src/cli/commands.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { timed } from '../support/clients.ts'
import { start } from '../support/program.ts'

interface Case {
  /** What stands before the options, and behind them. */
  readonly command: readonly string[]
  readonly rest?: readonly string[]
  /** It asks a watcher, at `control`, which is silent as well. */
  readonly asks?: 'watcher'
}

/** With what it takes to get as far as the first question to somebody else. */
const COMMANDS: readonly Case[] = [
  { command: ['install'] },
  { command: ['status'] },
  { command: ['status', '--watch'] },
  { command: ['doctor'] },
  { command: ['reconcile'] },
  { command: ['reconcile', '--dry-run'] },
  { command: ['event', 'promoted'], rest: ['w1b.example:5432'] },
  { command: ['watch', '--once'] },
  { command: ['pause'] },
  { command: ['resume'] },
  { command: ['switchover', '--group', '1', '--yes'] },
  { command: ['fence', '--group', '1'], asks: 'watcher' },
  { command: ['release', '--group', '1'], asks: 'watcher' },
  { command: ['recover'] },
  { command: ['forget', 'w1b.example:5432'] },
  { command: ['relearn', '--yes'] },
  { command: ['uninstall', '--yes'] },
  { command: ['history'] },
]

/** They ask nobody, or start what they ask, with tests of their own. */
const ALONE = ['config', 'version', 'rules', 'explain', 'completion', 'demo']

const SIGNALS = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const

// It takes the connection and says nothing, and is waited for much longer than the test is.
const SILENT_MS = 90_000
const AT_ONCE_MS = 30_000

describe('whoever interrupts a command does not wait for somebody who is silent', () => {
  let directory: string

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-interrupt-'))
    await writeFile(join(directory, 'token'), 'a-token-that-is-long-enough-to-be-one', { mode: 0o600 })
  })
  afterAll(async () => {
    await rm(directory, { recursive: true })
  })

  /** One of its own for each, so that it is known who has come. */
  async function somebodySilent() {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const isAsked = () => sockets.size > 0
    const close = () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
    return { port, isAsked, close }
  }

  const cases = COMMANDS.flatMap((one) =>
    SIGNALS.map(([signal, code]) => ({
      ...one,
      signal,
      code,
      name: [...one.command, ...(one.rest ?? [])].join(' '),
    })),
  )

  it('each command is here', () => {
    const names = new Set([...COMMANDS.map(({ command: [name = ''] }) => name), ...ALONE])
    expect(ALL.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([])
  })

  it.concurrent.for(cases)(
    '$name, $signal',
    async ({ command, rest, asks, signal, code, name }, { expect }) => {
      const { port, isAsked, close } = await somebodySilent()
      const file = join(directory, `${name}-${signal}.yaml`.replaceAll(/[^\w.]/g, '-'))
      const lines = [
        `coordinators: [{ url: "postgres://citus_ha@127.0.0.1:${port}/app?sslmode=disable" }]`,
        `detect: { timeout: ${SILENT_MS}ms }`,
        ...(asks ? [`control: { listen: "127.0.0.1:${port}", tokenFile: ${join(directory, 'token')} }`] : []),
      ]
      await writeFile(file, lines.join('\n'))
      const program = start(...command, '--config', file, ...(rest ?? []))
      try {
        await waitUntil('it asks', isAsked)
        program.process.kill(signal)
        const { value: end, ms } = await timed(() => program.ended())
        expect(end, program.stderr()).toEqual({ code, signal: null })
        expect(ms).toBeLessThan(AT_ONCE_MS)
        const left = asks
          ? 'interrupted, but the watcher may still carry it out. Run: citus-ha status'
          : 'interrupted; nothing was left unfinished'
        expect(program.stderr()).toBe(`citus-ha: ${left}\n`)
        expect(program.stdout()).toBe('')
      } finally {
        program.process.kill('SIGKILL')
        close()
      }
    },
  )
})

it('status -w ends once nothing reads what it prints', async () => {
  const nobody = 'postgres://citus_ha@127.0.0.1:1/app'
  const program = start('status', '-w', '50ms', '--coordinator', nobody)
  program.process.stdout?.destroy()
  expect(await program.ended()).toEqual({ code: 0, signal: null })
})
