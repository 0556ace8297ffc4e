import { type ChangeHooks, NO_HOOKS } from '../../src/apply/hooks.ts'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { openWatchLog } from '../../src/watch/log.ts'
import { WatchService } from '../../src/watch/service.ts'
import type { WatchState } from '../../src/watch/state.ts'
import type { Scenario } from './scenario.ts'
import type { LogLine } from './watch-process.ts'

/** This machine's clock in milliseconds since the epoch, finer than Date.now(). */
const now = () => performance.timeOrigin + performance.now()

type EventOf<Kind extends WatchEvent['kind']> = Extract<WatchEvent, { kind: Kind }>

/** A watcher in this process, with what it told so far. */
export class Watching {
  readonly events: WatchEvent[] = []
  /** When changes were decided; milliseconds since the epoch. */
  readonly decisions: number[] = []
  /** When each event was told. */
  readonly #times: number[] = []
  readonly service: WatchService
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>

  private constructor(
    scenario: Scenario,
    config: Awaited<ReturnType<typeof loadConfig>>,
    hooks: ChangeHooks = NO_HOOKS,
  ) {
    this.service = new WatchService({
      config,
      database: scenario.cluster.database,
      env: {},
      tell: (event) => {
        this.events.push(event)
        this.#times.push(now())
      },
      hooks: {
        reached: async (point) => {
          if (point === 'decided') this.decisions.push(now())
          await hooks.reached(point)
        },
      },
    })
    this.#ended = this.service.run(this.#stop.signal)
  }

  /** Watches with the role without rights, at short intervals, until it has seen the whole cluster. */
  static async start(scenario: Scenario, file: object = {}, hooks?: ChangeHooks): Promise<Watching> {
    const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
    const detect = { interval: '300ms', timeout: '600ms', cooldown: '0s', witnessFreshness: '700ms' }
    const path = await scenario.configFile({ detect, ...file })
    const watching = new Watching(scenario, await loadConfig({ env: {}, file: path, coordinators }), hooks)
    await watching.settled()
    return watching
  }

  /** Every node has a pulse, every group a diagnosis, and somebody leads. */
  async settled(): Promise<void> {
    await waitUntil('the watcher has seen the cluster', () => {
      const { states } = this.service
      return states.length > 0 && states.every(isSettled)
    })
  }

  get state(): WatchState {
    const [state] = this.service.states
    if (!state) throw new Error('nothing is watched')
    return state
  }

  of<Kind extends WatchEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind)
  }

  /** When the first of these was told since so many events; milliseconds since the epoch. @throws Error where none was */
  timeOf(from: number, is: (event: WatchEvent) => boolean): number {
    const time = this.#times[this.events.findIndex((event, n) => n >= from && is(event))]
    if (time === undefined) throw new Error('it was not told')
    return time
  }

  /** Changes that were committed. */
  get changes(): EventOf<'acted'>['report'][] {
    return this.of('acted').flatMap(({ report }) => (report.epoch === null ? [] : [report]))
  }

  async changed(times: number): Promise<void> {
    await waitUntil(`${times} changes`, () => this.changes.length >= times)
  }

  /** Waits until so many more surveys have been made, whatever they showed. */
  async surveys(count: number): Promise<void> {
    let seen = 0
    let last = this.state.view
    await waitUntil(`${count} surveys`, () => {
      const { view } = this.state
      if (view !== last) seen++
      last = view
      return seen >= count
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#ended
  }
}

function isSettled({ leadership, pulses, groups, view }: WatchState): boolean {
  return (
    leadership !== 'none' &&
    view !== null &&
    groups.length === view.diagnoses.length &&
    pulses.every((pulse) => pulse.state !== 'starting')
  )
}

/** What it told, as its process would have logged it. */
export async function logOf({ events }: Watching): Promise<LogLine[]> {
  const lines: string[] = []
  const log = await openWatchLog({ level: 'debug', write: (line) => lines.push(line) })
  events.forEach(log.told)
  return lines.map((line) => JSON.parse(line))
}
