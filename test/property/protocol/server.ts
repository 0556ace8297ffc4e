import type { HostPort } from '../../../src/model/node.ts'
import type { TimelineSwitch } from '../../../src/model/observation.ts'
import type { Backend } from './backend.ts'
import type { Clock } from './clock.ts'
import { type Data, ServerError, type Write, without, written } from './copy.ts'
import { type Branch, branchOf, commitTime, type Evidence, isTransaction, mark, rootOf } from './evidence.ts'
import { Locks } from './locks.ts'

/** What a server can see of the world it is in. */
export interface Surroundings {
  readonly clock: Clock
  /** Is there a route between these two hosts? */
  connects(a: string, b: string): boolean
  server(name: string): Server | undefined
  followers(of: string): Server[]
  /** How far behind a standby replays, in milliseconds. */
  lag(): number
  /** Told of every promotion. */
  promoted(server: Server): void
  /** Told of everything that became durable. */
  wrote(server: Server, before: Data, after: Data, how: string, by: Backend | undefined): void
  readonly evidence: Evidence
  count(what: string): void
}

/** What is there to be restored. */
export interface Backup {
  readonly wal: readonly Data[]
  readonly timeline: number
  readonly history: readonly TimelineSwitch[]
}

/** How gids of citus-ha begin. */
export const OURS = 'citus_ha_'

const READ_ONLY = 'default_transaction_read_only'

interface Daemon {
  readonly started: number
  /** In a round of its recovery of two-phase commits, which it brings to its end. */
  atWork: boolean
  ending: boolean
}

interface SyncWait {
  readonly position: number
  readonly end: () => void
}

/** A PostgreSQL server with Citus and citus_ha on it. */
export class Server {
  readonly name: string
  readonly group: number
  readonly system: string
  readonly locks: Locks
  readonly backends = new Map<number, Backend>()
  up = true
  inRecovery = false
  everPrimary = false
  timeline = 1
  history: readonly TimelineSwitch[] = []
  upstream: string | null = null
  /** `citus.use_secondary_nodes = always`: in group 0 an expand coordinator. */
  readsSecondaries = false
  /** Its commits wait for this standby: `synchronous_standby_names`. */
  syncStandby: string | null = null
  /** What ALTER SYSTEM has set, in its file and as it is in effect. Kept over restarts, not replicated. */
  file: ReadonlyMap<string, string> = new Map()
  settings: ReadonlyMap<string, string> = new Map()
  /** `pg_conf_load_time()` */
  loaded = 0
  /** Citus's maintenance daemon. */
  daemon: Daemon = { started: 0, atWork: false, ending: false }
  /** gids of what clients that came in here have prepared elsewhere and not finished. */
  readonly active = new Set<string>()
  starts = 1
  /** What was in the database at each position of its WAL; each record is an object of its own. */
  wal: Data[]
  /** What it writes, or what the last of its WAL is of. */
  branch: Branch
  /** `pg_last_xact_replay_timestamp()` */
  lastCommit: string | null = null
  /** What statements see: a commit that waits for a standby is durable before it is visible. */
  visible: Data
  readonly #world: Surroundings
  #pids = 100
  #waits: SyncWait[] = []

  constructor(world: Surroundings, name: string, group: number, system: string, data: Data) {
    this.#world = world
    this.name = name
    this.group = group
    this.system = system
    this.wal = [data]
    this.visible = data
    this.branch = rootOf(data, group)
    this.locks = new Locks(world.clock)
  }

  get address(): HostPort {
    return { host: this.name, port: 5432 }
  }

  get instance(): string {
    return `${this.system}/${this.name}.${this.starts}/5432`
  }

  /** Milliseconds. */
  get now(): number {
    return this.#world.clock.now
  }

  get durable(): Data {
    return this.wal.at(-1) as Data
  }

  /** @param record not in any WAL yet */
  append(record: Data, isOfTransaction: boolean): void {
    mark(record, this.branch, isOfTransaction)
    this.wal.push(record)
  }

  connected(backend: Backend): number {
    this.#pids += 1
    this.backends.set(this.#pids, backend)
    return this.#pids
  }

  /** Writes WAL. `visible` at once, unless a standby has to confirm it first. */
  async write(writes: readonly Write[], how: string, mayWait: boolean, pid = 0): Promise<void> {
    const { durable: before, starts } = this
    const after = { ...written(before, writes) }
    this.append(after, true)
    this.#world.wrote(this, before, after, how, this.backends.get(pid))
    this.#ship()
    if (mayWait && this.syncStandby !== null && writes.length > 0) await this.#confirmed(pid)
    // A server that was started since, from another disk perhaps, sees what it has.
    if (this.up && this.starts === starts) this.visible = written(this.visible, writes)
  }

  #confirmed(pid: number): Promise<void> {
    return new Promise((resolve) => {
      const wait = { position: this.wal.length, end: resolve }
      this.#waits.push(wait)
      const backend = this.backends.get(pid)
      if (backend) backend.cancel = resolve
    })
  }

  confirm(standby: string, position: number): void {
    if (standby !== this.syncStandby) return
    for (const wait of this.#waits.filter((each) => each.position <= position)) wait.end()
    this.#waits = this.#waits.filter((each) => each.position > position)
  }

  #ship(): void {
    const { clock } = this.#world
    for (const standby of this.#world.followers(this.name)) {
      clock.after(this.#world.lag(), null, () => standby.replay())
    }
  }

  /** As a standby: whatever the upstream has and a route lets through. */
  replay(): void {
    const upstream = this.streamsFrom()
    if (!upstream) return
    const news = upstream.wal.slice(this.wal.length)
    const commit = news.findLast(isTransaction)
    if (commit) this.lastCommit = commitTime(commit)
    this.wal.push(...news)
    this.branch = branchOf(this.durable)
    this.visible = this.durable
    this.timeline = upstream.timeline
    this.history = upstream.history
    upstream.confirm(this.name, this.wal.length)
  }

  streamsFrom(): Server | null {
    const upstream = this.upstream === null ? undefined : this.#world.server(this.upstream)
    if (!upstream?.up || !this.up || !this.inRecovery) return null
    if (!this.#world.connects(this.name, upstream.name)) return null
    // A record names the place of the one before it: what goes on elsewhere than this one ended is not taken.
    if (upstream.wal[this.wal.length - 1] !== this.durable) return null
    if (upstream.timeline === this.timeline) return upstream
    const left = upstream.history.find((entry) => entry.timeline === this.timeline)
    return left && this.wal.length <= positionOf(left.lsn) ? upstream : null
  }

  /** Its receiver is at work: a standby asks for WAL from the beginning of a segment, and so also where it is ahead. */
  attachedTo(): Server | null {
    const upstream = this.upstream === null ? undefined : this.#world.server(this.upstream)
    if (!upstream?.up || !this.up || !this.inRecovery) return null
    if (!this.#world.connects(this.name, upstream.name)) return null
    const isAhead = upstream.timeline === this.timeline && upstream.wal.length < this.wal.length
    return isAhead ? upstream : this.streamsFrom()
  }

  /** The whole server dies: connections, locks and what was not durable go. Prepared transactions stay. */
  crash(): void {
    if (!this.up) return
    this.up = false
    for (const backend of [...this.backends.values()]) backend.terminate()
    this.backends.clear()
    this.#waits = []
    this.#promotion = null
    this.active.clear()
    this.locks.clear()
    this.visible = this.durable
  }

  start(): void {
    if (this.up) return
    this.up = true
    this.starts += 1
    this.lastCommit = null
    this.#load()
    this.daemon = { started: this.#world.clock.now, atWork: false, ending: false }
    if (!this.inRecovery) this.#recover()
    else this.replay()
    for (const standby of this.#world.followers(this.name)) standby.replay()
  }

  #promotion: object | null = null
  /** `pg_promote`: it comes when the startup process gets to it, and not at all where the server dies before. */
  askToPromote(afterMs: number): void {
    const asked = {}
    this.#promotion = asked
    this.#world.clock.after(afterMs, null, () => {
      if (this.#promotion === asked) this.promote()
    })
  }

  /** `pg_reload_conf`. */
  reload(afterMs: number): void {
    const { starts } = this
    this.#world.clock.after(afterMs, null, () => {
      if (this.starts === starts && this.up) this.#load()
    })
  }

  #load(): void {
    this.settings = this.file
    this.loaded = this.#world.clock.now
  }

  /** `default_transaction_read_only` */
  get readOnly(): boolean {
    return this.settings.get(READ_ONLY) === 'on'
  }

  get readOnlyInFile(): boolean {
    return this.file.get(READ_ONLY) === 'on'
  }

  /** @param taken timelines that the archive has of others: their numbers are not given again */
  promote(taken = 0): void {
    if (!this.inRecovery || !this.up) return
    this.history = [...this.history, { timeline: this.timeline, lsn: lsnAt(this.wal.length) }]
    this.timeline += 1 + taken
    this.branch = { group: this.group, timeline: this.timeline, restored: this.branch.restored }
    this.inRecovery = false
    this.everPrimary = true
    this.upstream = null
    // The end-of-recovery record.
    this.append({ ...this.durable }, false)
    this.visible = this.durable
    this.#recover()
    this.#world.promoted(this)
  }

  /** It is rebuilt from another server and follows it. */
  follow(primary: Server): void {
    this.crash()
    this.#replace(primary)
    this.file = primary.file
    this.inRecovery = true
    this.upstream = primary.name
    this.start()
  }

  /** Its data is what a backup has. It is a primary on the backup's own timeline, until it is promoted. */
  restore(backup: Backup): void {
    this.crash()
    this.#replace(backup)
    this.branch = { group: this.group, timeline: this.timeline, restored: true }
    this.inRecovery = false
    this.everPrimary = true
    this.upstream = null
    this.start()
  }

  /** As `restore`, in recovery, with nothing to replay. */
  restoreInRecovery(backup: Backup): void {
    this.restore(backup)
    this.inRecovery = true
  }

  backup(): Backup {
    const { wal, timeline, history } = this
    return { wal: [...wal], timeline, history }
  }

  #replace({ wal, timeline, history }: Backup): void {
    this.wal = [...wal]
    this.visible = this.durable
    this.branch = branchOf(this.durable)
    Object.assign(this, { timeline, history, syncStandby: null })
  }

  #recover(): void {
    for (const gid of this.durable.prepared.keys())
      if (gid.startsWith(OURS)) this.locks.seize('pg_dist_node', this.holderOf(gid))
      else this.locks.seize('shards', this.holderOf(gid), 'shared')
  }

  readonly #holders = new Map<string, object>()
  holderOf(gid: string): object {
    const holder = this.#holders.get(gid) ?? { gid }
    this.#holders.set(gid, holder)
    return holder
  }

  readonly #busy = new Set<string>()
  /** Step 6, or a recovery. What is committed counts for who prepared it, whoever does it. */
  async resolvePrepared(gid: string, how: 'commit' | 'roll back', pid = 0): Promise<void> {
    if (this.#busy.has(gid)) throw new ServerError('55000', `prepared transaction "${gid}" is busy`)
    const writes = this.visible.prepared.get(gid)
    if (!writes) throw new ServerError('42704', `prepared transaction "${gid}" does not exist`)
    this.#busy.add(gid)
    const gone: Write = (data) => ({ ...data, prepared: without(data.prepared, gid) })
    if (how === 'commit') await this.write([...writes, gone], `commit ${gid}`, false)
    else await this.write([gone], `roll back ${gid}`, false, pid)
    this.#busy.delete(gid)
    this.locks.release(this.holderOf(gid))
  }
}

export function lsnAt(position: number): string {
  return `0/${bytesAt(position).toString(16).toUpperCase()}`
}

/** A record is 256 bytes long. */
export function bytesAt(position: number): bigint {
  return BigInt(position) * 256n
}

export function positionOf(lsn: string): number {
  return Number.parseInt(lsn.slice(2), 16) / 256
}
