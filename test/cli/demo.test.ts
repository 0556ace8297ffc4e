import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { isAlive } from '../../src/demo/processes.ts'
import { waitUntil } from '../../src/demo/wait.ts'

const MAIN = new URL('../../dist/bin/citus-ha.js', import.meta.url).pathname

let tmp: string

beforeEach(() => {
  // Everything of a demo is in here; as root, the account of the servers must be able to enter it.
  tmp = mkdtempSync('/tmp/citus-ha-demo-test-')
  chmodSync(tmp, 0o755)
})

afterEach(() => {
  rmSync(tmp, { recursive: true, force: true })
})

/** The program as a user starts it, and what it has printed by now. */
class Program {
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  #stdout = ''
  #stderr = ''
  #isOver = false

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, TMPDIR: tmp, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#child = child
    this.ended = new Promise((resolve) => {
      child.on('close', (code) => {
        this.#isOver = true
        resolve(code)
      })
    })
    onTestFinished(() => {
      child.kill('SIGKILL') // of no effect but where a test failed
    })
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  interrupt(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits until the program has printed this. */
  async says(text: string): Promise<void> {
    const said = () => this.#stdout.includes(text) || this.#isOver
    await waitUntil(`"${text}"`, said, { limitMs: 60_000, everyMs: 2 })
    expect(this.#stdout, this.#stderr).toContain(text)
  }
}

/** Command lines of this machine's processes that name the directory; the watchdog's own end takes a moment. */
async function nothingIsLeft(): Promise<void> {
  expect(readdirSync(tmp)).toEqual([])
  const gone = () => commandLines().every((line) => !line.includes(tmp))
  await waitUntil('no process of the demo', gone, { limitMs: 5000 }).catch(() => {})
  expect(commandLines().filter((line) => line.includes(tmp))).toEqual([])
}

function commandLines(): string[] {
  if (process.platform !== 'linux') {
    return execFileSync('ps', ['-axo', 'args='], { encoding: 'utf8' }).split('\n')
  }
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    } catch {
      return ''
    }
  })
}

describe('citus-ha demo', () => {
  test('fails a worker, mends the metadata, and leaves nothing', { timeout: 90_000 }, async () => {
    const began = performance.now()
    const demo = new Program(['demo'])
    expect(await demo.ended, demo.stdout + demo.stderr).toBe(0)
    expect(performance.now() - began).toBeLessThan(60_000)
    const [first] = demo.stdout.split('\n')
    expect(first).toMatch(/^citus-ha demo on (real Citus [\d.-]+|the stand-in) on PostgreSQL [\d.]+/)
    const copies = ['coordinator', 'coordinator-standby', 'worker-2', 'worker-1-standby']
    const [before = '', wrong = '', after = ''] = copyTables(demo.stdout)
    for (const copy of copies) {
      expect(before).toMatch(new RegExp(`✓ +${copy} +primary \\S+ \\(worker-1\\)`))
      expect(wrong).toMatch(new RegExp(`✗ +${copy} +primary \\S+ \\(worker-1, dead\\)`))
      expect(after).toMatch(new RegExp(`✓ +${copy} +primary \\S+ \\(worker-1-standby\\)`))
    }
    expect(demo.stdout).toMatch(/└─ worker-1-standby +127\.0\.0\.1:\d+ +streaming from worker-1/)
    expect(demo.stdout).toMatch(
      / reconcile --config .*\n +app: changed: committed, and every copy was verified/,
    )
    for (const step of ['start', 'install', 'kill', 'promote', 'reconcile', 'all']) {
      expect(demo.stdout).toMatch(new RegExp(`^ +${step} +[\\d.]+ m?s$`, 'm'))
    }
    expect(demo.stdout).toMatch(/all processes have ended, \S+ is removed\n$/)
    expect(demo.stdout).not.toContain('in no row of pg_dist_node')
    if (first?.includes('real Citus')) expectWrites(demo.stdout)
    await nothingIsLeft()
  })

  test.each([
    ['SIGHUP', 'while servers start', 'starting them', 129],
    ['SIGINT', 'while it promotes', 'Promote its standby', 130],
    ['SIGTERM', 'while it reconciles', 'reconcile --config', 143],
  ] as const)('%s %s leaves nothing', { timeout: 90_000 }, async (signal, _, line, exitCode) => {
    const demo = new Program(['demo'])
    await demo.says(line)
    demo.interrupt(signal)
    expect(await demo.ended).toBe(exitCode)
    expect(demo.stderr).toBe('citus-ha: interrupted; nothing was left unfinished\n')
    expect(demo.stdout).not.toContain('How long it took')
    await nothingIsLeft()
  })

  test('binaries that are not there are one line and exit code 2', async () => {
    const demo = new Program(['demo'], { CITUS_HA_PG_BINDIR: join(tmp, 'nothing') })
    expect(await demo.ended).toBe(2)
    expect(demo.stderr).toMatch(/^citus-ha: CITUS_HA_PG_BINDIR: .*\n$/)
    await nothingIsLeft()
  })
})

describe('citus-ha demo --keep', () => {
  test('leaves a cluster to break by hand, until --stop', { timeout: 120_000 }, async () => {
    const kept = new Program(['demo', '--keep'])
    expect(await kept.ended, kept.stdout + kept.stderr).toBe(0)
    const directory = /demo --stop (\S+)/.exec(kept.stdout)?.[1] ?? ''
    onTestFinished(async () => {
      if (existsSync(directory)) await new Program(['demo', '--stop', directory]).ended
    })
    expect(
      kept.stdout.match(/^ +\S+ +postgres:\/\/postgres@127\.0\.0\.1:\d+\/app +(writable|streaming)$/gm),
    ).toHaveLength(6)

    const status = new Program(['status', '--config', join(directory, 'citus-ha.yaml')])
    expect(await status.ended, status.stdout + status.stderr).toBe(0)
    expect(status.stdout).toMatch(/^1 +healthy/m)

    const postmaster = Number.parseInt(
      readFileSync(join(directory, 'worker-2', 'postmaster.pid'), 'utf8'),
      10,
    )
    process.kill(postmaster, 'SIGSTOP')
    const stop = new Program(['demo', '--stop', directory])
    expect(await stop.ended, stop.stderr).toBe(0)
    expect(stop.stdout).toBe(`stopped 6 servers, removed ${directory}\n`)
    expect(isAlive(postmaster)).toBe(false)
    await nothingIsLeft()
  })

  test('--stop refuses a directory that is no demo', async () => {
    for (const directory of [tmp, '/nonexistent']) {
      const stop = new Program(['demo', '--stop', directory])
      expect(await stop.ended).toBe(2)
      expect(stop.stderr).toBe(
        `citus-ha: ${directory} is not the directory of a demo that was left running\n`,
      )
    }
    expect(existsSync(tmp)).toBe(true)
  })
})

/** The three tables of copies: before, while it is wrong, after. */
function copyTables(stdout: string): string[] {
  return stdout.match(/(?:^ +[✓✗] +[\w-]+ +primary .*\n)+/gm) ?? []
}

/** All writes succeed before, none while the primary is dead or unknown, all after. */
function expectWrites(stdout: string): void {
  for (const through of ['coordinator', 'worker-2']) {
    const counts = `${through} +[1-9]\\d* / 0 +0 / [1-9]\\d* +0 / [1-9]\\d* +\\d+ / \\d+ +[1-9]\\d* / 0`
    expect(stdout).toMatch(new RegExp(`^ +${counts} +[\\d.]+ m?s$`, 'm'))
  }
}
