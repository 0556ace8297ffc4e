import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { summarize } from '../../src/watch/health.ts'
import { ServiceManager } from '../../src/watch/systemd.ts'
import { groupState, stateOf } from '../support/watch-state.ts'

const LISTENERS: readonly (readonly [string, readonly string[]])[] = [
  [
    'perl',
    [
      '-MSocket',
      '-e',
      `socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die; $| = 1;
       print "listening\\n"; while (defined recv($s, my $m, 8192, 0)) { $m =~ s/\\n/ /g; print "$m\\n" }`,
    ],
  ],
  [
    'python3',
    [
      '-uc',
      `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('listening')
while True: print(s.recv(8192).decode().replace('\\n', ' '))`,
    ],
  ],
]

function runs(command: string, ...args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const listener = LISTENERS.find(([command, [first = '']]) =>
  command === 'perl' ? runs(command, first, '-e', '1') : runs(command, '-c', ''),
)
const canNotify = runs('systemd-notify', '--version')
const skipped = listener
  ? canNotify
    ? null
    : 'systemd-notify is not on this machine'
  : 'neither perl nor python3 is on this machine'

/** A service manager's socket, with what it was sent. */
class Manager {
  readonly path: string
  readonly #process: ChildProcess
  readonly #received: string[] = []

  private constructor(path: string, process: ChildProcess) {
    this.path = path
    this.#process = process
    if (process.stdout) createInterface(process.stdout).on('line', (line) => this.#received.push(line))
  }

  static async start(directory: string): Promise<Manager> {
    const [command, args] = listener ?? ['', []]
    const path = join(directory, 'notify')
    const manager = new Manager(
      path,
      spawn(command, [...args, path], { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    await waitUntil('the listener', () => manager.#received[0] === 'listening')
    return manager
  }

  /** Without the barrier by which systemd-notify waits until it was heard. */
  get received(): string[] {
    return this.#received.slice(1).filter((line) => line !== 'BARRIER=1')
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await ended
  }
}

describe.skipIf(skipped !== null)(
  `systemd is told${skipped === null ? '' : ` (skipped: ${skipped})`}`,
  () => {
    let directory: string
    let manager: Manager
    const problems: string[] = []
    const open = (env: Record<string, string> = {}): ServiceManager => {
      const given = { NOTIFY_SOCKET: manager.path, PATH: process.env.PATH, ...env }
      const service = ServiceManager.of({ env: given, problem: (line) => problems.push(line) })
      if (!service) throw new Error('there is a socket')
      return service
    }

    beforeEach(async () => {
      problems.length = 0
      directory = await mkdtemp(join(tmpdir(), 'citus-ha-notify-'))
      manager = await Manager.start(directory)
    })
    afterEach(async () => {
      await manager.stop()
      await rm(directory, { recursive: true })
    })

    test('in order: ready, reloading and ready, stopping', async () => {
      const service = open()
      void service.ready()
      void service.reloading()
      void service.ready()
      await service.stopping()
      await waitUntil('all of it', () => manager.received.length >= 4)
      const [ready, reloading, again, stopping] = manager.received
      expect([ready, again, stopping]).toEqual(['READY=1', 'READY=1', 'STOPPING=1'])
      expect(reloading).toMatch(/^RELOADING=1 MONOTONIC_USEC=\d+$/)
      expect(problems).toEqual([])
    })

    test('a status where it is new, the last one of many, none after the end', async () => {
      const service = open()
      service.status('one\nline')
      for (const line of ['a', 'b', 'c', 'last']) service.status(line)
      await waitUntil('both', () => manager.received.length >= 2)
      service.status('last')
      await service.stopping()
      service.status('too late')
      await service.ready()
      await waitUntil('the end', () => manager.received.at(-1) === 'READY=1')
      expect(manager.received).toEqual(['STATUS=one line', 'STATUS=last', 'STOPPING=1', 'READY=1'])
    })

    test('the watchdog, at half of its time, only while all is well', async () => {
      const service = open({ WATCHDOG_USEC: '100000', WATCHDOG_PID: String(process.pid) })
      let well = true
      let asked = 0
      service.feedWatchdog(() => {
        asked++
        return well
      })
      await waitUntil('three beats', () => manager.received.length >= 3)
      expect(new Set(manager.received)).toEqual(new Set(['WATCHDOG=1']))
      well = false
      const before = asked
      await waitUntil('asked again', () => asked >= before + 3)
      // What was on its way when it was well still may arrive; then nothing does.
      await service.stopping()
      await waitUntil('the end', () => manager.received.at(-1) === 'STOPPING=1')
      const beats = manager.received.length - 1
      expect(beats).toBeLessThanOrEqual(before + 1)
      well = true
      service.feedWatchdog(() => true)
      expect(asked).toBeGreaterThan(beats)
    })

    test.each([
      ['another process', { WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' }],
      ['nobody', {}],
      ['nonsense', { WATCHDOG_USEC: 'soon' }],
    ])('no watchdog that is meant for %s', async (_, env: Record<string, string>) => {
      const service = open(env)
      let asked = 0
      service.feedWatchdog(() => {
        asked++
        return true
      })
      // The other two timers of this test need longer than five beats would.
      service.status('first')
      service.status('second')
      await waitUntil('both', () => manager.received.length >= 2)
      expect(asked).toBe(0)
      service.release()
    })
  },
)

describe('nothing is harmed', () => {
  test('where no service manager asks: nothing is there to be called', () => {
    expect(ServiceManager.of({ env: {}, problem: () => undefined })).toBeNull()
  })

  test.each([
    ['no such program', '/nonexistent/systemd-notify', /ENOENT/],
    ['a program that fails', '/bin/false', /Command failed/],
  ])('by %s: told once, in one line', async (_, command, expected) => {
    const problems: string[] = []
    const env = { NOTIFY_SOCKET: '/nonexistent/notify', PATH: process.env.PATH }
    const service = ServiceManager.of({ env, command, problem: (line) => problems.push(line) })
    await service?.ready()
    service?.status('with a \0 in it')
    await service?.stopping()
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(expected)
    expect(problems[0]).not.toContain('\n')
  })

  test('by a program that hangs: it is ended', { timeout: 20_000 }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-hang-'))
    const command = join(directory, 'systemd-notify')
    try {
      await writeFile(command, '#!/bin/sh\nexec sleep 600\n')
      await chmod(command, 0o755)
      const problems: string[] = []
      const env = { NOTIFY_SOCKET: '/nonexistent/notify', PATH: process.env.PATH }
      const service = ServiceManager.of({ env, command, problem: (line) => problems.push(line) })
      await service?.ready()
      expect(problems).toHaveLength(1)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

describe('the status line', () => {
  test.each([
    ['no database is watched yet', []],
    ['leading 1 database; 3 groups', [stateOf()]],
    [
      'app: group 1 split-brain (D041); leading 1 database; following 1 database; 4 groups',
      [
        stateOf({ groups: [groupState(0), groupState(1, { code: 'split-brain', rule: 'D041' })] }),
        stateOf({ database: 'b', leadership: 'following', groups: [groupState(0), groupState(1)] }),
      ],
    ],
    [
      'app: no coordinator answers; 0 groups',
      [
        stateOf({
          leadership: 'none',
          coordinator: null,
          failure: 'no coordinator answers\nat x',
          groups: [],
        }),
      ],
    ],
    ['app: the watch loop hangs; leading 1 database; 3 groups', [stateOf({ turnedMsAgo: 6000 })]],
  ])('%s', (line, states) => {
    expect(summarize(states)).toBe(line)
  })
})

describe('the unit file', () => {
  const unit = new URL('../../deploy/systemd/citus-ha-watch.service', import.meta.url)

  test.skipIf(!runs('systemd-analyze', '--version'))('is understood by systemd', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-unit-'))
    try {
      const text = await readFile(unit, 'utf8')
      const file = join(directory, 'citus-ha-watch.service')
      // The program is not installed here; all else is as it is delivered.
      await writeFile(file, text.replace('/usr/bin/citus-ha', process.execPath))
      const said = execFileSync('sh', ['-c', 'systemd-analyze verify --man=no "$0" 2>&1', file], {
        encoding: 'utf8',
      })
      // It tells of the units of other packages as well.
      expect(said.split('\n').filter((line) => line.includes('citus-ha'))).toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  test('hands over the secrets that its comments and the pages speak of, and no others', async () => {
    const text = await readFile(unit, 'utf8')
    const given = [...text.matchAll(/^LoadCredential=(\S+)$/gm)].map(([, name]) => name)
    const told = [...text.matchAll(/^# +\/etc\/credstore\/(\S+)/gm)].map(([, name]) => name)
    expect(told).toEqual(given)
    const named = ['docs/control.md', 'docs/notifications.md'].map((page) =>
      readFile(new URL(`../../${page}`, import.meta.url), 'utf8'),
    )
    const pages = [text, ...(await Promise.all(named))].join('\n')
    const used = [...pages.matchAll(/\/run\/credentials\/citus-ha-watch\.service\/([\w.-]+)/g)]
    expect(used.length).toBeGreaterThan(6)
    for (const [, name] of used) expect(given).toContain(name)
    // What a comment says of a key of the file, the file takes.
    for (const [, yaml = ''] of text.matchAll(/^# +\/etc\/credstore\/\S+ +((?:control|notify): .*)$/gm)) {
      const whole = yaml
        .replace('url: …', 'url: "https://h/x"')
        .replace(', …', ', cert: c')
        .replace('{ tls:', '{ token: 0123456789abcdef, tls:')
      const file = `coordinators: [{ url: "postgres://u@h/d" }]\n${whole}`
      await expect(
        loadConfig({ file: 'x', env: {}, readFile: async () => file }),
        yaml,
      ).resolves.toBeDefined()
    }
  })

  test('lets systemd-notify speak, and reloads by SIGHUP', async () => {
    const text = await readFile(unit, 'utf8')
    for (const line of ['Type=notify', 'NotifyAccess=all', 'ExecReload=/bin/kill -HUP $MAINPID']) {
      expect(text.split('\n')).toContain(line)
    }
  })
})
