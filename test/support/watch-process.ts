import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { waitUntil } from '../../src/demo/wait.ts'
import { CHILD } from './crash.ts'

const MAIN = fileURLToPath(new URL('../../dist/bin/citus-ha.js', import.meta.url))

const GAUGE = new URL('../soak/gauge.mjs', import.meta.url).href

/** Bytes of memory, open file descriptors, and what keeps Node's event loop alive. */
export interface Gauge {
  readonly rss: number
  readonly heapUsed: number
  readonly files: number
  readonly resources: number
}

/** A line of the log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string; readonly level: number }

/** `citus-ha watch` as it is started by people and service managers: the build, in a process of its own. */
export class WatchProcess {
  readonly lines: LogLine[] = []
  /** What was no JSON. */
  readonly rest: string[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown[]>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#exited = once(child, 'exit')
    let open = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (open + text).split('\n')
      open = lines.pop() ?? ''
      for (const line of lines) this.#read(line)
    })
  }

  static start(args: readonly string[], env: NodeJS.ProcessEnv = {}): WatchProcess {
    return WatchProcess.#spawn([MAIN, 'watch', ...args], env)
  }

  /** One that sends itself a signal where its first change reaches a point. */
  static startCutAt(point: string, signal: NodeJS.Signals, args: readonly string[]): WatchProcess {
    return WatchProcess.#spawn([CHILD, signal, point, '-', 'watch', ...args], {})
  }

  /** One that can be asked what it holds. */
  static startGauged(args: readonly string[]): WatchProcess {
    return WatchProcess.#spawn(['--import', GAUGE, MAIN, 'watch', ...args], {}, ['ipc'])
  }

  static #spawn(
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    channel: readonly 'ipc'[] = [],
  ): WatchProcess {
    const given = { PATH: process.env.PATH, HOME: '/nonexistent', ...env }
    const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', ...channel]
    return new WatchProcess(spawn(process.execPath, args, { env: given, stdio }))
  }

  /** What it holds after garbage collection. Only of one that was started with a gauge. */
  async gauge(): Promise<Gauge> {
    this.#child.send('gauge')
    const [told] = await once(this.#child, 'message')
    return told as Gauge
  }

  #read(line: string): void {
    if (line.startsWith('{')) this.lines.push(JSON.parse(line))
    else this.rest.push(line)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Waits for a line that says this, and gives it. */
  async says(text: string | RegExp, from = 0): Promise<LogLine> {
    return await waitUntil(`the log says ${text}`, () =>
      this.lines
        .slice(from)
        .find(({ msg }) => (typeof text === 'string' ? msg.includes(text) : text.test(msg))),
    )
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** @returns exit code and signal */
  async ended(): Promise<unknown[]> {
    return await this.#exited
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGCONT')
    this.#child.kill('SIGKILL')
    await this.#exited
  }
}
