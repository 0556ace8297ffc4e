import type { LogFormat, LogLevel } from '../config/log-level.ts'
import { type Config, DEFAULT_LISTENER } from '../config/schema.ts'
import type { Page } from '../http/page.ts'
import { formatAddress, type HostPort, parseAddress, sameAddress } from '../model/node.ts'
import type { Loaded } from '../walk/cluster.ts'
import type { WatchEvent } from '../watch/event.ts'
import { allTurn, summarize } from '../watch/health.ts'
import { cycleLevel, openWatchLog, type WatchLog } from '../watch/log.ts'
import { WatchService } from '../watch/service.ts'
import { ServiceManager } from '../watch/systemd.ts'
import { type ClusterOptions, loadCluster } from './cluster.ts'
import { failureOf } from './failure.ts'
import type { Io } from './io.ts'
import { logWriter } from './log-writer.ts'
import { onlookers } from './onlookers.ts'
import { ControlDoor } from './watch-control.ts'
import { type Door, openDoor, pageUnder } from './watch-http.ts'
import { Notices } from './watch-notify.ts'

export interface ServeOptions extends ClusterOptions {
  /** Wins over the file's. */
  readonly logLevel?: LogLevel
  readonly logFormat?: LogFormat
  /** Where to answer HTTP; wins over the file's. */
  readonly http?: HostPort
  /** Show the page there, whatever the file says. */
  readonly page?: boolean
}

/**
 * Watches until the signal of `io`; at SIGHUP goes on with the configuration as it is then. What ends it before is told in its
 * log: who collects that would take a line of another form for several, or for none.
 * @returns the exit code
 */
export async function serveWatch(options: ServeOptions, io: Io): Promise<number> {
  let log: WatchLog | null = null
  try {
    const first = await loadCluster(options, io)
    log = await openLog(options, io, first.config.log)
    if (io.lastWords) io.lastWords.say = (line) => log?.say('error', line)
    await serveConfigured(first, options, io, log)
    log.say('info', 'ended')
    return 0
  } catch (error) {
    log ??= await openLog(options, io, { level: 'info', format: 'auto' })
    if (log.level === 'silent') throw error
    const { lines, exitCode } = failureOf(error, io.signal)
    for (const line of lines) log.say('error', line, { event: 'ended', exitCode })
    return exitCode
  }
}

async function openLog(options: ServeOptions, io: Io, file: Config['log']): Promise<WatchLog> {
  const write = await logWriter(options.logFormat ?? file.format, io)
  return await openWatchLog({ level: levelOf(options, io, file), write })
}

async function serveConfigured(first: Loaded, options: ServeOptions, io: Io, log: WatchLog): Promise<void> {
  const served = new Served(options, io, log)
  const onHangup = () => served.reload()
  const onLevel = () => void cycleLevel(log)
  process.on('SIGHUP', onHangup)
  process.on('SIGUSR2', onLevel)
  try {
    await served.run(first)
  } finally {
    process.off('SIGHUP', onHangup)
    process.off('SIGUSR2', onLevel)
  }
}

/** The service with everything around it: the log, the door over HTTP, the service manager. */
class Served {
  readonly #options: ServeOptions
  readonly #io: Io
  readonly #log: WatchLog
  readonly #manager: ServiceManager | null
  #service: WatchService | null = null
  #door: Door | null = null
  #page: Page | null = null
  readonly #control: ControlDoor
  readonly #notices: Notices
  /** Which file was found by itself: a reload looks for no other, which may be of another cluster. */
  #files: readonly string[] = []
  /** What to go on with, and the end of what runs now. */
  #next: Loaded | null = null
  #again = new AbortController()
  #reloading: Promise<void> = Promise.resolve()
  #ending = false

  constructor(options: ServeOptions, io: Io, log: WatchLog) {
    this.#options = options
    this.#io = io
    this.#log = log
    this.#control = new ControlDoor(() => this.#service, log)
    this.#notices = new Notices(io.env, log)
    this.#manager = ServiceManager.of({ env: io.env, problem: (line) => log.say('warn', line) })
  }

  async run(first: Loaded): Promise<void> {
    const { signal } = this.#io
    this.#files = first.origin.file?.by === 'default' ? [first.origin.file.path] : []
    const states = () => this.#service?.states ?? []
    const status = setInterval(() => this.#manager?.status(summarize(states())), STATUS_MS)
    try {
      const page = await this.#pageFor(first)
      this.#door = await this.#openDoor(first)
      this.#show(page, first)
      this.#sayDoor()
      await this.#control.follow(first.config.control)
      await this.#notices.follow(first.config.notify)
      this.#manager?.feedWatchdog(() => allTurn(states()))
      this.#next = first
      while (this.#next !== null && !signal.aborted) await this.#serve(this.#next)
    } finally {
      clearInterval(status)
      // A door that a reload opens now would be nobody's to close.
      this.#ending = true
      await this.#reloading
      await this.#manager?.stopping()
      await this.#door?.close()
      await this.#control.close()
      await this.#notices.close()
    }
  }

  /** One configuration, until there is another one or the end. */
  async #serve(loaded: Loaded): Promise<void> {
    const { signal, hooks, verbosity } = this.#io
    this.#next = null
    this.#again = new AbortController()
    for (const warning of loaded.warnings) this.#log.say('warn', warning)
    const { config, env, database } = loaded
    this.#service = new WatchService({
      config,
      database,
      env,
      tell: (event) => this.#tell(event),
      ...(hooks && { hooks }),
      ...(verbosity?.level === 'verbose' && {
        onlookers: onlookers((line) => this.#log.say('debug', line, { event: 'connection' })),
      }),
    })
    const coordinators = config.coordinators.map(({ address }) => formatAddress(address))
    this.#log.say('info', 'watching', {
      coordinators,
      interval: config.detect.interval,
      confirm: config.detect.confirm,
    })
    await this.#manager?.ready()
    await this.#service.run(AbortSignal.any([signal, this.#again.signal]))
  }

  #tell(event: WatchEvent): void {
    this.#log.told(event)
    this.#door?.told(event)
    this.#control.told(event)
    this.#notices.told(event)
  }

  /** One at a time: two signals in a row must not open two doors. */
  reload(): void {
    this.#reloading = this.#reloading.then(() => this.#reload())
  }

  /** A configuration that is no good, or an address nobody can listen on, changes nothing. Never throws. */
  async #reload(): Promise<void> {
    if (this.#ending) return
    await this.#manager?.reloading()
    try {
      const loaded = await loadCluster(this.#options, this.#io, this.#files)
      const wanted = this.#listenerOf(loaded)
      const open = this.#door
      const stays = open && wanted ? sameAddress(open.asked, wanted) : open === null && wanted === null
      // What can be refused comes first, and nothing that was open is closed before all of it is there.
      const page = await this.#pageFor(loaded)
      const door = stays ? open : await this.#openDoor(loaded)
      try {
        await this.#control.follow(loaded.config.control)
        await this.#notices.follow(loaded.config.notify)
      } catch (error) {
        if (!stays) await door?.close()
        throw error
      }
      this.#door = door
      this.#show(page, loaded)
      if (!stays) {
        await open?.close()
        this.#sayDoor()
      }
      this.#log.level = levelOf(this.#options, this.#io, loaded.config.log)
      this.#log.say('info', 'the configuration was read again')
      this.#next = loaded
      this.#again.abort()
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#log.say('error', `the configuration stays as it was: ${why}`)
      await this.#manager?.ready()
    }
  }

  #listenerOf({ config }: Loaded): HostPort | null {
    const asked = this.#options.http ?? config.http?.listen ?? null
    return asked ?? (this.#options.page ? parseAddress(DEFAULT_LISTENER) : null)
  }

  async #pageFor(loaded: Loaded): Promise<Page | null> {
    if (!this.#options.page && !loaded.config.http?.page) return null
    return await pageUnder(this.#namesOf(loaded), this.#page)
  }

  /** Under which the page may be asked for. */
  #namesOf(loaded: Loaded): string[] {
    const listener = this.#listenerOf(loaded)
    return [...(listener ? [listener.host] : []), ...(loaded.config.http?.hosts ?? [])]
  }

  #show(page: Page | null, loaded: Loaded): void {
    page?.rename(this.#namesOf(loaded))
    this.#page = page
    this.#door?.show(page)
  }

  async #openDoor(loaded: Loaded): Promise<Door | null> {
    const listen = this.#listenerOf(loaded)
    if (listen === null) return null
    return await openDoor(listen, {
      states: () => this.#service?.states ?? [],
      notifications: () => this.#notices.states,
      problem: (line) => this.#log.say('error', line),
    })
  }

  #sayDoor(): void {
    if (!this.#door) return
    const { address } = this.#door
    const everywhere = /^(?:0\.0\.0\.0|::)$/.test(address.host) ? ', on every address of this machine' : ''
    const page = this.#page ? ', with the page at /' : ''
    this.#log.say('info', `answering http://${formatAddress(address)}${everywhere}${page}`)
  }
}

/** Of the log: what was asked for, `-v` and `-q` included, before what the file says. */
function levelOf({ logLevel }: ServeOptions, { verbosity }: Io, file: Config['log']): LogLevel {
  const asked = { verbose: 'debug', normal: undefined, quiet: 'error' } as const
  return logLevel ?? asked[verbosity?.level ?? 'normal'] ?? file.level
}

const STATUS_MS = 5000
