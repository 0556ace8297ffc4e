import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { waitUntil } from '../../src/demo/wait.ts'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

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
    const given = { PATH: process.env.PATH, HOME: '/nonexistent', ...env }
    return new WatchProcess(
      spawn(process.execPath, [MAIN, 'watch', ...args], { env: given, stdio: ['ignore', 'ignore', 'pipe'] }),
    )
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
