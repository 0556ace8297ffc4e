import { execFile } from 'node:child_process'
import type { Environment } from '../config/url.ts'

export interface ServiceManagerOptions {
  readonly env: Environment
  /** Told, once, in one line, that the service manager cannot be told anything. */
  readonly problem: (line: string) => void
  /** The program that speaks to it; for tests. */
  readonly command?: string
}

/** One call may take so long, in milliseconds; then it is ended, and what it had to say is lost. */
const CALL_MS = 5000
/** Between two lines of status that differ. */
const STATUS_MS = 1000

/**
 * Tells systemd how the service is (sd_notify(3)), by the program systemd-notify(1): Node knows no datagram sockets
 * of the kind that is needed. The unit has to say `NotifyAccess=all`, since it is not this process that speaks. One
 * call at a time and in order. Whatever fails here harms nothing else: it is told once, and that is all.
 */
export class ServiceManager {
  readonly #options: ServiceManagerOptions
  #last: Promise<void> = Promise.resolve()
  #watchdog: NodeJS.Timeout | null = null
  #beating = false
  #told = false
  #status = ''
  #wantedStatus = ''
  #statusTimer: NodeJS.Timeout | null = null
  #ending = false

  private constructor(options: ServiceManagerOptions) {
    this.#options = options
  }

  /** @returns null where no service manager wants to know: nothing is to be done then. */
  static of(options: ServiceManagerOptions): ServiceManager | null {
    return options.env.NOTIFY_SOCKET ? new ServiceManager(options) : null
  }

  /** The service is up; or, after `reloading`, it goes on with what it read. */
  async ready(): Promise<void> {
    await this.#send(['READY=1'])
  }

  /** The configuration is read again; `ready` has to follow, whether or not it was any good. */
  async reloading(): Promise<void> {
    const microseconds = process.hrtime.bigint() / 1000n
    await this.#send(['RELOADING=1', `MONOTONIC_USEC=${microseconds}`])
  }

  /** The service ends. No watchdog is fed any more, and no status is told after this. */
  async stopping(): Promise<void> {
    this.#ending = true
    this.release()
    await this.#send(['STOPPING=1'])
  }

  /** One line for `systemctl status`, told where it is new, once a second at most. Does not wait. */
  status(line: string): void {
    this.#wantedStatus = line.replace(/\s+/g, ' ')
    if (this.#ending || this.#statusTimer !== null || this.#wantedStatus === this.#status) return
    void this.#sendStatus()
    this.#statusTimer = setTimeout(() => {
      this.#statusTimer = null
      this.status(this.#wantedStatus)
    }, STATUS_MS).unref()
  }

  /** Feeds the watchdog, where the unit has one, at half of its time, as long as `isWell`. */
  feedWatchdog(isWell: () => boolean): void {
    const everyMs = watchdogMs(this.#options.env)
    if (everyMs === null || this.#ending || this.#watchdog !== null) return
    this.#watchdog = setInterval(() => {
      if (isWell()) void this.#beat()
    }, everyMs).unref()
  }

  /** Stops every timer. */
  release(): void {
    if (this.#watchdog) clearInterval(this.#watchdog)
    if (this.#statusTimer) clearTimeout(this.#statusTimer)
    this.#watchdog = null
    this.#statusTimer = null
  }

  async #sendStatus(): Promise<void> {
    this.#status = this.#wantedStatus
    await this.#send([`STATUS=${this.#status}`])
  }

  /** While one beat waits for its turn, a second one would say nothing more. */
  async #beat(): Promise<void> {
    if (this.#beating) return
    this.#beating = true
    await this.#send(['WATCHDOG=1'])
    this.#beating = false
  }

  #send(assignments: readonly string[]): Promise<void> {
    this.#last = this.#last.then(() => this.#call(assignments))
    return this.#last
  }

  /** Never rejects. */
  async #call(assignments: readonly string[]): Promise<void> {
    const { env, problem, command = 'systemd-notify' } = this.#options
    const { NOTIFY_SOCKET = '', PATH = '/usr/bin:/bin' } = env
    const failure = await new Promise<Error | null>((resolve) => {
      try {
        const given = { env: { NOTIFY_SOCKET, PATH }, timeout: CALL_MS, killSignal: 'SIGKILL' } as const
        execFile(command, [...assignments], given, (error) => resolve(error))
      } catch (error) {
        // No process can be made: no memory, no file descriptor left.
        resolve(error instanceof Error ? error : new Error(String(error)))
      }
    })
    if (failure === null || this.#told) return
    this.#told = true
    const [why] = failure.message.split('\n')
    problem(`the service manager cannot be notified: ${command}: ${why}`)
  }
}

/** Half of what the unit allows; null without a watchdog, or where it is meant for another process. */
function watchdogMs(env: Environment): number | null {
  const { WATCHDOG_USEC = '', WATCHDOG_PID = '' } = env
  if (WATCHDOG_PID !== '' && WATCHDOG_PID !== String(process.pid)) return null
  const microseconds = Number(WATCHDOG_USEC)
  return Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 2000 : null
}
