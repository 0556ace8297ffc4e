import { setTimeout as delay } from 'node:timers/promises'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { pauseNode } from '../support/capabilities.ts'
import { expectRight } from '../support/crash.ts'
import type { Valve } from '../support/proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import type { WatchProcess } from '../support/watch-process.ts'
import type { Random } from './random.ts'

interface Group {
  primary: Server
  standby: Server
}

/** What the faults are done to. */
export interface Stage {
  readonly scenario: Scenario
  readonly valves: ReadonlyMap<Server, Valve>
  /** The first one lives through it all, the others may be killed. */
  readonly watchers: WatchProcess[]
  readonly startWatcher: () => Promise<WatchProcess>
  /** So long a stand-still has to stay below what `confirm` believes; milliseconds. */
  readonly unconfirmedMs: number
}

const SETTLED_LIMIT_MS = 90_000

/** Six servers in three groups, and who is primary of which. */
export class Faults {
  readonly #stage: Stage
  readonly #random: Random
  readonly groups: readonly Group[]
  failovers = 0

  constructor(stage: Stage, random: Random) {
    this.#stage = stage
    this.#random = random
    const { coordinator, coordinatorStandbys, workers } = stage.scenario.cluster
    const all = [
      [coordinator, coordinatorStandbys[0]],
      ...workers.map(({ primary, standbys }) => [primary, standbys[0]]),
    ]
    this.groups = all.flatMap(([primary, standby]) => (primary && standby ? [{ primary, standby }] : []))
  }

  group(number: number): Group {
    const group = this.groups[number]
    if (!group) throw new Error(`no group ${number}`)
    return group
  }

  /** By name; each leaves a cluster in which everything runs and is right again, or throws. */
  readonly kinds: Readonly<Record<string, () => Promise<string>>> = {
    'primary killed, standby promoted': () => this.#failOver('kill'),
    'primary frozen, standby promoted, primary killed': () => this.#failOver('freeze'),
    'coordinator killed, standby promoted': () => this.#failOver('kill', 0),
    'promotion while an idle transaction is in the way': () => this.#failOverBlocked(),
    'server restarted': () => this.#restart(),
    'server killed and started': () => this.#crash(),
    'our sessions terminated in a storm': () => this.#storm(`usename = 'citus_ha'`),
    'all sessions terminated in a storm': () => this.#storm(`backend_type = 'client backend'`),
    'primary stands still for a moment': () => this.#standStill(),
    'node cut off from us': () => this.#cutOff(),
    'everything cut off from us': () => this.#cutOffAll(),
    'watcher stopped': () => this.#stopWatcher(),
    'watcher killed': () => this.#killWatcher(),
    'watcher hung up': () => this.#hangUp(),
  }

  /** Every copy on every server says what is true, and nothing of ours is prepared. */
  async settled(): Promise<void> {
    const { scenario } = this.#stage
    const servers = this.groups.flatMap(({ primary, standby }) => [primary, standby])
    const truth = this.#truth()
    await waitUntil(
      'every copy is right',
      async () => {
        await expectRight(scenario, servers, truth)
        return true
      },
      { limitMs: SETTLED_LIMIT_MS, everyMs: 50 },
    )
  }

  #truth(): string[] {
    const [, one, two] = this.groups
    if (!one || !two) throw new Error('three groups')
    return [
      `1 group 0 primary ${formatAddress(this.group(0).primary)}`,
      `2 group 1 primary ${formatAddress(one.primary)}`,
      `3 group 2 primary ${formatAddress(two.primary)}`,
      `4 group 1 secondary ${formatAddress(one.standby)}`,
      `5 group 2 secondary ${formatAddress(two.standby)}`,
    ]
  }

  #worker(): number {
    return this.#random.pick([1, 2])
  }

  #anyServer(): Server {
    return this.#random.pick(this.groups.flatMap(({ primary, standby }) => [primary, standby]))
  }

  async #failOver(how: 'kill' | 'freeze', number = this.#worker()): Promise<string> {
    const { scenario } = this.#stage
    const group = this.group(number)
    const { primary, standby } = group
    // As failover managers do: without it each write waits for a standby that comes only after the change.
    await standby.configure({ synchronous_standby_names: '' })
    if (how === 'kill') await primary.kill()
    else primary.freeze()
    await delay(this.#random.between(0, 800))
    await standby.promote()
    this.failovers++
    group.primary = standby
    group.standby = primary
    // Whoever writes to a server that stands still waits for it, and is in the way, until it is put to an end.
    await delay(how === 'freeze' ? this.#random.between(500, 4000) : 0)
    await primary.kill()
    await this.#moved()
    await scenario.cluster.rejoin(primary, standby)
    await scenario.streams(primary)
    await standby.configure({ synchronous_standby_names: '*' })
    await scenario.cluster.waitForReplay(primary, standby)
    return `group ${number}: ${primary.name} -> ${standby.name}`
  }

  /** The copies of primaries, while old ones are gone. */
  async #moved(): Promise<void> {
    const { scenario } = this.#stage
    const truth = this.#truth()
    await waitUntil(
      'the primaries’ copies are right',
      async () => {
        const rows = await Promise.all(this.groups.map(({ primary }) => scenario.rows(primary)))
        return rows.every((each) => JSON.stringify(each) === JSON.stringify(truth))
      },
      { limitMs: SETTLED_LIMIT_MS, everyMs: 50 },
    )
  }

  async #failOverBlocked(): Promise<string> {
    const { scenario } = this.#stage
    const session = await this.group(0).primary.connect({ database: scenario.cluster.database })
    try {
      await session.query('BEGIN')
      const number = this.#worker()
      // Nodeids are for life: that of group 1's primary is 2, that of group 2's 3.
      await session.query(pauseNode(number + 1))
      const done = this.#failOver('kill', number)
      await delay(this.#random.between(500, 5000))
      await session.query('ROLLBACK').catch(() => undefined)
      return await done
    } finally {
      await session.end().catch(() => undefined)
    }
  }

  async #restart(): Promise<string> {
    const server = this.#anyServer()
    await server.restart(this.#random.pick(['fast', 'immediate']))
    return server.name
  }

  async #crash(): Promise<string> {
    const server = this.#anyServer()
    await server.kill()
    await server.start()
    return server.name
  }

  async #storm(whom: string): Promise<string> {
    const sql = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE ${whom} AND pid <> pg_backend_pid()`
    const servers = this.groups.flatMap(({ primary, standby }) => [primary, standby])
    for (let n = 0; n < 20; n++)
      // One storm ends the sessions of the others, too.
      await Promise.all(servers.map((server) => server.query(sql).catch(() => undefined)))
    return whom
  }

  async #standStill(): Promise<string> {
    const { primary } = this.#random.pick(this.groups)
    primary.freeze()
    await delay(this.#random.between(100, this.#stage.unconfirmedMs))
    primary.thaw()
    return primary.name
  }

  async #cutOff(): Promise<string> {
    const server = this.#anyServer()
    const valve = this.#stage.valves.get(server)
    valve?.cut()
    await delay(this.#random.between(200, 5000))
    valve?.mend()
    return server.name
  }

  async #cutOffAll(): Promise<string> {
    const valves = [...this.#stage.valves.values()]
    for (const valve of valves) valve.cut()
    await delay(this.#random.between(200, 4000))
    for (const valve of valves) valve.mend()
    return 'all'
  }

  async #stopWatcher(): Promise<string> {
    const watcher = this.#random.pick(this.#stage.watchers)
    watcher.signal('SIGSTOP')
    await delay(this.#random.between(200, 4000))
    watcher.signal('SIGCONT')
    return String(watcher.pid)
  }

  async #killWatcher(): Promise<string> {
    const { watchers, startWatcher } = this.#stage
    const gone = watchers.pop()
    await gone?.stop()
    watchers.push(await startWatcher())
    return `${gone?.pid} -> ${watchers.at(-1)?.pid}`
  }

  async #hangUp(): Promise<string> {
    const [watcher] = this.#stage.watchers
    const before = watcher?.lines.length ?? 0
    watcher?.signal('SIGHUP')
    await watcher?.says('the configuration was read again', before)
    return String(watcher?.pid)
  }
}
