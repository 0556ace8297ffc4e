import type { Lineage } from '../../../src/model/observation.ts'
import type { Data, Recorded } from './copy.ts'
import type { Instance } from './network.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** What one server writes from when it begins to write until another takes its place, or a backup does. */
export interface Branch {
  readonly group: number
  readonly timeline: number
  /** It began with a backup, or came from one that did, and nobody has vouched for it. */
  restored: boolean
}

/** What a survey has seen of one server. */
export interface Seen {
  readonly server: Server
  readonly inRecovery: boolean
  readonly wal: readonly Data[]
  readonly data: Data
}

interface Line {
  /** Where the branch began. */
  readonly begun: Data
  readonly timelines: readonly number[]
}

/** WAL that somebody has and another one lacks. */
interface More {
  readonly bytes: number
  /** The other one is on the same timeline still, and behind. */
  readonly isBehind: boolean
  /** It is this one that has left the line. */
  readonly isStray: boolean
}

interface Mark {
  readonly branch: Branch
  readonly isTransaction: boolean
  /** When it was written, and no other. */
  readonly at: number
}

let written = 0
const marks = new WeakMap<Data, Mark>()

/** Said of each record when it is written. */
export function mark(record: Data, branch: Branch, isTransaction: boolean): void {
  marks.set(record, { branch, isTransaction, at: ++written })
}

/** As a server tells it: equal for one commit alone. */
export const commitTime = (record: Data): string => `${marks.get(record)?.at}`

/** Of the first record of a group, which its servers have from their beginning. */
export function rootOf(record: Data, group: number): Branch {
  if (!marks.has(record)) mark(record, { group, timeline: 1, restored: false }, true)
  return branchOf(record)
}

export function branchOf(record: Data): Branch {
  const found = marks.get(record)
  if (!found) throw new Error('a record that nobody has written')
  return found.branch
}

export const isTransaction = (record: Data): boolean => marks.get(record)?.isTransaction === true

const timelineOf = (record: Data | undefined): number | null => (record ? branchOf(record).timeline : null)

const RECORD_BYTES = 256
/** As the product's: what was written down more lately may be newer than what the survey saw. */
const LATELY_MS = 10_000

/**
 * Who really has which record, whatever positions and timelines are called: every record is an object of its own. What is on
 * record in the simulated tables is remembered with the WAL that was there when it was seen. Knows nothing of the product's
 * rules, and shares no code with them.
 */
export class Evidence {
  /** Branches that were given up by a decision for another one. */
  readonly closed = new Set<Branch>()
  readonly #world: World
  readonly #positions = new Map<string, readonly Data[]>()
  readonly #lines = new Map<string, Line | null>()
  readonly #recorded = new WeakMap<Recorded, readonly Data[]>()
  readonly #begun = new WeakMap<Lineage, Line>()

  constructor(world: World) {
    this.#world = world
  }

  /** A survey has looked at it. */
  saw(server: Server, instance: Instance): void {
    const { group, timeline, wal, inRecovery, visible } = server
    const copy = [...wal]
    instance.saw.set(server.name, { server, inRecovery, wal: copy, data: visible })
    const line = lineKey(group, timeline, historyOf(server))
    this.#positions.set(`${line} ${server.name} ${wal.length * RECORD_BYTES}`, copy)
    const begun = copy.find((record) => branchOf(record) === server.branch)
    if (!begun) return
    const timelines = copy.slice(0, copy.indexOf(begun) + 1).map((record) => branchOf(record).timeline)
    const known = this.#lines.get(line)
    this.#lines.set(line, known !== undefined && known?.begun !== begun ? null : { begun, timelines })
  }

  /** The row of `citus_ha.lineage` that was written. */
  wroteLine(row: Lineage, history: string): void {
    const line = this.#lines.get(lineKey(row.group, row.timeline, history))
    if (line) this.#begun.set(row, line)
  }

  wrotePosition(row: Recorded, history: string): void {
    const { group, timeline, address, lsn } = row
    const wal = this.#positions.get(`${lineKey(group, timeline, history)} ${address.host} ${lsn}`)
    if (wal) this.#recorded.set(row, wal)
  }

  /** @returns what it is that this group's new primary lacks, and should not; null: nothing */
  against(by: Instance, coordinator: Server, group: number, primary: Server, old: string): string | null {
    const isRegistered = old === primary.name
    for (const seen of by.saw.values()) {
      const { server } = seen
      if (seen.inRecovery && server.group === group && server !== primary) {
        const more = this.#more(seen.wal, primary, by)
        const moved = more?.isBehind && !this.#quiet(by, server, primary)
        const spared = more && (isRegistered ? more.isStray : server.name === old && this.#isLag(more, by))
        if (more && !moved && !spared) return `${server.name}, which was seen, has ${more.bytes} bytes more`
      }
      if (group !== 0 && server !== coordinator) continue
      const why = this.#onRecord(seen, by, group, primary, isRegistered)
      if (why) return `${why} (on record at ${server.name})`
    }
    return null
  }

  #onRecord({ data }: Seen, by: Instance, group: number, primary: Server, isRegistered: boolean) {
    const line = data.lineage.find((row) => row.group === group)
    if (!line) return null
    const begun = this.#begun.get(line)
    if (begun && !this.#has(primary, begun, by)) return `it was never on timeline ${line.timeline}`
    for (const row of data.positions) {
      const wal = this.#recorded.get(row)
      if (row.group !== group || row.timeline !== line.timeline || !wal) continue
      const more = this.#more(wal, primary, by)
      if (!more || (more.isBehind && this.#world.clock.now - row.at < LATELY_MS)) continue
      const own = row.inRecovery && row.address.host === primary.name
      const spared = isRegistered ? more.isStray : !own && this.#isLag(more, by)
      if (!spared) return `${row.address.host} had ${more.bytes} bytes more`
    }
    return null
  }

  #isLag({ bytes }: More, { maxLag }: Instance): boolean {
    return bytes <= maxLag
  }

  #quiet({ surveyed }: Instance, ...servers: readonly Server[]): boolean {
    return servers.every(({ name }) => this.#world.quietSince(surveyed, name))
  }

  /** A decision: whatever others have that it has not is no more of the line. */
  decided(primary: Server): void {
    for (const server of this.#world.members(primary.group))
      for (const record of server.wal)
        if (branchOf(record) !== primary.branch) this.closed.add(branchOf(record))
    primary.branch.restored = false
    this.closed.delete(primary.branch)
  }

  #ownOf(primary: Server, by: Instance): ReadonlySet<Data> {
    return new Set([...primary.wal, ...(by.saw.get(primary.name)?.wal ?? [])])
  }

  #has(primary: Server, { begun, timelines }: Line, by: Instance): boolean {
    if (this.closed.has(branchOf(begun)) || this.#ownOf(primary, by).has(begun)) return true
    return this.#alike(timelines.every((timeline, n) => timelineOf(primary.wal[n]) === timeline))
  }

  #more(wal: readonly Data[], primary: Server, by: Instance): More | null {
    const own = this.#ownOf(primary, by)
    const isLost = (record: Data) =>
      isTransaction(record) && !own.has(record) && !this.closed.has(branchOf(record))
    const lost = wal.filter(isLost)
    if (lost.length === 0) return null
    const at = wal.findIndex((record, n) => timelineOf(record) !== timelineOf(primary.wal[n]))
    if (this.#alike(at < 0)) return null
    return {
      bytes: lost.length * RECORD_BYTES,
      isBehind: primary.wal[at] === undefined && timelineOf(wal[at]) === primary.timeline,
      isStray: at > 0 && timelineOf(wal[at]) !== timelineOf(wal[at - 1]),
    }
  }

  /** Two that left one place at the same position under the same number: nothing that a server shows tells them apart. */
  #alike(are: boolean): boolean {
    if (are) this.#world.count('twins that nobody can tell apart')
    return are
  }
}

const lineKey = (group: number, timeline: number, history: string): string =>
  `${group} ${timeline} ${history}`

const historyOf = ({ history }: Server): string =>
  history.map(({ timeline, lsn }) => `${timeline}\t${lsn}`).join('\n')
