import { COORDINATOR_GROUP } from '../../../src/model/catalog.ts'
import { primaryRow, secondaryRow, systemOf } from '../../support/builders.ts'
import type { Backend } from './backend.ts'
import { checkWrite, checkWrittenDown } from './check.ts'
import { Clock } from './clock.ts'
import type { Change, Data } from './copy.ts'
import { Evidence } from './evidence.ts'
import type { Ledger } from './ledger.ts'
import type { Fate, Instance } from './network.ts'
import { HAPPENS } from './restores.ts'
import type { Fault, Schedule } from './schedule.ts'
import { type Backup, Server, type Surroundings } from './server.ts'

const ARRIVES: Fate = { request: 'arrives', answer: 'arrives', requestLateMs: 0, answerLateMs: 0 }
const CLIENT_WRITES = 3
const RESTART_MS = 400

/** The servers, the routes between them, what goes wrong, and a log of it. */
export class World implements Surroundings {
  readonly clock = new Clock()
  readonly evidence = new Evidence(this)
  /** Taken when nothing had happened yet, and whenever `backUp` says so; by group. */
  readonly backups = new Map<number, Backup[]>()
  readonly servers = new Map<string, Server>()
  readonly instances: Instance[] = []
  /** By gid, what any coordinator ever decided. */
  readonly decided = new Map<string, Change>()
  /** By gid, when. */
  readonly decidedAt = new Map<string, number>()
  readonly log: string[] = []
  readonly logging: boolean
  /** How often what happened, so that a test can tell whether it tests anything. */
  readonly tally = new Map<string, number>()
  readonly groups: number[]
  /** Starts another walk, of another instance. */
  rival: () => void = () => undefined
  calm = false
  /** Keeps what was acknowledged; null: there are no clients. */
  ledger: Ledger | null = null
  /** Promoted by somebody who is no citus-ha. */
  readonly othersPromoted = new Set<Server>()
  /** Until when no witness that is asked answers. */
  mute = 0
  readonly #schedule: Schedule
  readonly #cuts = new Map<string, number>()
  readonly #sent = { statement: 0, probe: 0 }
  /** How many had been sent when a switchover first reached a point. */
  readonly #reached = new Map<string, { readonly statement: number; readonly probe: number }>()
  readonly #touched = new Map<string, number>()
  #random: number
  #failure: unknown = null

  constructor(schedule: Schedule, logging: boolean) {
    this.#schedule = schedule
    this.logging = logging
    this.#random = schedule.seed + 1
    const members = [schedule.standbys[0], ...schedule.standbys[1]]
    this.groups = members.map((_, group) => group)
    const initial = initialData(members, schedule.recorded)
    for (const [group, standbys] of members.entries()) {
      const data = { ...initial }
      for (const [n, letter] of [...'abc'].slice(0, standbys + 1).entries()) {
        const server = new Server(this, `g${group}${letter}`, group, systemOf(group), data)
        this.servers.set(server.name, server)
        server.inRecovery = n > 0
        server.everPrimary = n === 0
        server.upstream = n > 0 ? `g${group}a` : null
      }
      this.backUp(group)
      this.load(group)
    }
    if (schedule.synchronous && members[0]) this.get('g0a').syncStandby = 'g0b'
  }

  /** What clients write; not all of it is at the standbys yet. */
  load(group: number): void {
    const primary = this.primaries(group)[0]
    if (!primary) return
    const standbys = this.members(group).filter((one) => one.streamsFrom() === primary)
    const least = standbys.map(() => Math.floor(this.random() * (CLIENT_WRITES + 1)))
    for (let n = 0; n < CLIENT_WRITES; n++) {
      for (const [m, standby] of standbys.entries()) if (n === least[m]) standby.replay()
      primary.append({ ...primary.durable }, true)
    }
    primary.visible = primary.durable
    for (const standby of standbys) this.clock.after(this.random() * 300, null, () => standby.replay())
  }

  /** Of its primary as it is now. */
  backUp(group: number): void {
    const [primary] = this.primaries(group)
    if (primary) this.backups.set(group, [...(this.backups.get(group) ?? []), primary.backup()])
  }

  get(name: string): Server {
    const server = this.server(name)
    if (!server) throw new Error(`no server ${name}`)
    return server
  }

  /** As a resolver takes names. */
  server(name: string): Server | undefined {
    return this.servers.get(name.toLowerCase())
  }

  followers(of: string): Server[] {
    return [...this.servers.values()].filter((server) => server.upstream === of && server.inRecovery)
  }

  members(group: number): Server[] {
    return [...this.servers.values()].filter((server) => server.group === group)
  }

  primaries(group: number): Server[] {
    return this.members(group).filter((server) => server.up && !server.inRecovery)
  }

  /** Of the coordinators that take writes the one on the highest timeline; before it no backup, and none that was given up. */
  leading(): Server | undefined {
    return this.primaries(COORDINATOR_GROUP).sort((a, b) => this.rankOf(b) - this.rankOf(a))[0]
  }

  /** The higher, the more it is its group's line that this one is on. */
  rankOf({ branch, timeline }: Server): number {
    return timeline - (branch.restored || this.evidence.closed.has(branch) ? 1000 : 0)
  }

  random(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return this.#random / 0x1_0000_0000
  }

  latency(): number {
    return 1 + Math.floor(this.random() * 9)
  }

  lag(): number {
    return this.latency() + (this.#schedule.slowReplay ? 150 : 0)
  }

  connects(a: string, b: string): boolean {
    return a === b || !this.#cuts.has(routeOf(a, b))
  }

  cutSince(a: string, b: string): number | null {
    return this.#cuts.get(routeOf(a, b)) ?? null
  }

  /** Has nothing happened to this server, or to the route between these two, since then? */
  quietSince(time: number, a: string, b = a): boolean {
    return this.connects(a, b) && (this.#touched.get(routeOf(a, b)) ?? Number.NEGATIVE_INFINITY) < time
  }

  missed(a: string, b: string): void {
    this.touch(routeOf(a, b))
  }

  touch(...routes: readonly string[]): void {
    for (const route of routes) this.#touched.set(route, this.clock.now)
  }

  /** Something happens to it. */
  disturbed({ name }: Server): void {
    this.note(`disturbed: ${name}`)
    this.touch(routeOf(name, name))
  }

  cut(a: string, b: string, ms: number): void {
    this.note(`cut ${a} - ${b} for ${ms}`)
    this.touch(routeOf(a, b))
    this.#cuts.set(routeOf(a, b), this.clock.now)
    this.clock.after(ms, null, () => {
      this.#cuts.delete(routeOf(a, b))
      this.touch(routeOf(a, b))
      for (const server of this.servers.values()) server.replay()
    })
  }

  heal(): void {
    this.#cuts.clear()
    for (const server of this.servers.values()) server.replay()
  }

  crash(server: Server, ms: number): void {
    this.note(`crash ${server.name} for ${ms}`)
    this.touch(routeOf(server.name, server.name))
    server.crash()
    this.clock.after(Math.max(RESTART_MS, ms), null, () => {
      // Whoever was replaced meanwhile is kept down by whoever replaced it.
      const newer = this.primaries(server.group).filter((one) => one.timeline > server.timeline)
      if (!server.inRecovery && newer.some((one) => this.othersPromoted.has(one))) return
      this.note(`start ${server.name}`)
      this.touch(routeOf(server.name, server.name))
      server.start()
    })
  }

  promote(server: Server, old: 'dead' | 'alive' | 'follows'): void {
    if (!server.up || !server.inRecovery) return
    const before = this.primaries(server.group)
    this.note(`promote ${server.name} (old: ${old})`)
    for (const { name } of [server, ...before]) this.touch(routeOf(name, name))
    if (old !== 'alive') for (const one of before) one.crash()
    this.othersPromoted.add(server)
    server.promote()
    for (const one of this.members(server.group)) {
      const follows = one.inRecovery && one.up && this.random() < 0.7
      if (follows) one.upstream = server.name
    }
    if (old === 'follows') for (const one of before) one.follow(server)
  }

  promoted(server: Server): void {
    this.note(`promoted: ${server.name}`)
    // Whoever has looked before has seen a standby: it did not take writes all the time.
    this.touch(routeOf(server.name, server.name))
    this.ledger?.promoted(server, this.othersPromoted.has(server))
  }

  count(what: string): void {
    this.tally.set(what, (this.tally.get(what) ?? 0) + 1)
  }

  note(line: string): void {
    if (this.logging) this.log.push(`${Math.round(this.clock.now)} ${line}`)
  }

  /** A flaw of the simulation itself, or a broken invariant. */
  fail(error: unknown): void {
    this.#failure ??= error
  }

  rethrow(): void {
    if (this.#failure !== null) throw this.#failure
  }

  wrote(server: Server, before: Data, after: Data, how: string, by: Backend | undefined): void {
    this.note(`${server.name} ${how}`)
    this.count(how.replace(/ citus_\S+$/, ''))
    try {
      const instance = this.instances.find(({ name }) => name === by?.instance)
      checkWrite(this, server, before, after, how, instance)
      if (instance) checkWrittenDown(this, instance, server, before, after)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Faults count from now on. */
  begin(): void {
    this.calm = false
    Object.assign(this.#sent, { statement: 0, probe: 0 })
  }

  /** A point of a switchover's hooks. */
  reached(point: string): void {
    if (!this.#reached.has(point)) this.#reached.set(point, { ...this.#sent })
  }

  message(sql: string, from: Instance, to: string): Fate {
    const on = sql === 'probe' ? 'probe' : 'statement'
    const n = this.#sent[on]++
    if (on === 'statement' && this.logging) this.note(`${from.name} -> ${to} [${n}] ${shortened(sql)}`)
    if (this.calm) return ARRIVES
    const begun = (since: string | undefined) => (since === undefined ? 0 : this.#reached.get(since)?.[on])
    const due = this.#schedule.faults.filter(
      (fault) => fault.on === on && fault.at === n - (begun(fault.since) ?? Number.NaN),
    )
    return due.reduce((fate, fault) => this.#strike(fault, fate, from, to), ARRIVES)
  }

  #strike(fault: Fault, fate: Fate, from: Instance, to: string): Fate {
    const { what, ms } = fault
    const all = [...this.servers.values()]
    const whom = all[fault.whom % all.length] as Server
    this.note(`  FAULT ${what} ${whom.name} ${ms}`)
    this.count('fault')
    switch (what) {
      case 'request lost':
        return { ...fate, request: 'is lost' }
      case 'answer lost':
        return { ...fate, answer: 'is lost' }
      case 'request late':
        return { ...fate, requestLateMs: ms }
      case 'answer late':
        return { ...fate, answerLateMs: ms }
      case 'break before':
        return { ...fate, request: 'breaks the connection' }
      case 'break after':
        return { ...fate, answer: 'breaks the connection' }
      case 'kill':
        from.kill()
        return { ...fate, request: 'is lost' }
      case 'kill in flight':
        from.kill()
        return fate
      case 'freeze':
        from.freeze()
        return fate
      case 'stop':
        from.state = 'stopped'
        this.clock.after(ms, null, () => from.state === 'stopped' && this.clock.wake(from))
        return fate
      default:
        this.#disturb(fault, whom, from, to)
        return fate
    }
  }

  #disturb({ what, ms }: Fault, whom: Server, from: Instance, to: string): void {
    switch (what) {
      case 'crash peer':
        this.crash(this.get(to), ms)
        break
      case 'crash':
        this.crash(whom, ms)
        break
      case 'promote':
        this.promote(whom, 'dead')
        break
      case 'promote beside':
        this.promote(whom, 'alive')
        break
      case 'cut from us':
        this.cut(from.name, whom.name, ms)
        break
      case 'cut from us, none asked':
        this.mute = this.clock.now + ms
        this.cut(from.name, whom.name, ms)
        break
      case 'cut from peers':
        for (const other of this.servers.keys()) if (other !== whom.name) this.cut(whom.name, other, ms)
        break
      case 'walk':
        this.rival()
        break
      case 'a backup':
      case 'a backup, known to the archive':
      case 'a disk snapshot':
      case 'twins':
      case 'one comes back':
        this.count(what)
        HAPPENS[what](this, whom)
        break
    }
  }
}

const routeOf = (a: string, b: string): string => (a < b ? `${a}|${b}` : `${b}|${a}`)

function shortened(sql: string): string {
  return sql
    .replace(/^--.*$/gm, '')
    .replace(/'(?:[^']|'')*'/g, (text) => (text.length > 60 ? "'…'" : text))
    .replace(/\s+/g, ' ')
}

function initialData(members: readonly number[], recorded: boolean): Data {
  let nodeid = 0
  const rows = members.flatMap((standbys, group) => [
    primaryRow(++nodeid, group, { at: `g${group}a` }),
    ...[...'bc']
      .slice(0, group === 0 ? 0 : standbys)
      .map((letter) => secondaryRow(++nodeid, group, { at: `g${group}${letter}` })),
  ])
  const line = (group: number) => ({ group, systemIdentifier: systemOf(group), timeline: 1, history: [] })
  const coordinators = ['g0a', 'g0b', 'g0c'].map((host) => ({ group: 0, address: { host, port: 5432 } }))
  return {
    rows,
    epoch: { timeline: 0, epoch: 0 },
    changes: [],
    lineage: recorded ? members.map((_, group) => line(group)) : [],
    positions: [],
    addresses: coordinators,
    prepared: new Map(),
    intents: [],
    remedies: [],
    retired: false,
    client: [],
    records: [],
  }
}
