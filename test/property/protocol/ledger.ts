import type { Server } from './server.ts'
import type { World } from './world.ts'

/** A server as it was when something was written there: it may be a standby of another by the time the client is told. */
interface Place {
  readonly group: number
  readonly server: string
  readonly timeline: number
}

/** What a client was told is kept. */
export interface Acknowledged {
  readonly id: number
  readonly parts: readonly (Place & { readonly gid: string | null })[]
  /** Where it came in, and with it the record of what was prepared elsewhere. */
  readonly entry: Place
  /** It wrote where the default was read-only: its client said READ WRITE itself. */
  readonly overrides: boolean
}

/** Every acknowledged write, and what must be true of it at each moment. Knows nothing of the product's rules. */
export class Ledger {
  readonly #world: World
  readonly #kept: Acknowledged[] = []
  /** Lost by others: a failover to a standby that had not got them. */
  readonly #excused = new Set<number>()
  #ids = 0

  constructor(world: World) {
    this.#world = world
  }

  next(): number {
    return ++this.#ids
  }

  get size(): number {
    return this.#kept.length
  }

  /** A client is told. @throws never; fails the world where another was primary by then, and has not got it */
  acknowledged(write: Acknowledged): void {
    const world = this.#world
    this.#kept.push(write)
    world.note(
      `acknowledged ${write.id}: ${write.parts.map(({ server }) => server).join(', ')} by ${write.entry.server}`,
    )
    world.count('acknowledged')
    for (const { group, timeline, server } of [...write.parts, write.entry]) {
      const newer = world.members(group).filter((one) => descends(one, timeline) && !one.inRecovery)
      // Others promoted it in the moment in which a switchover promoted its own, which took a bit of its line: no primary of ours.
      const where = world.server(server)
      const isBeside = where !== undefined && world.othersPromoted.has(where) && !where.readOnlyInFile
      if (isBeside && newer.length > 0) this.#excuse(write)
      else for (const one of newer) this.#require(write, group, one)
    }
  }

  /** @param byOthers it was no citus-ha that asked for it: what it has not got is their loss */
  promoted(server: Server, byOthers: boolean): void {
    for (const write of this.#kept) {
      if (!touches(write, server.group) || this.#has(write, server.group, server)) continue
      if (byOthers) this.#excuse(write)
      else this.#require(write, server.group, server)
    }
  }

  #excuse({ id }: Acknowledged): void {
    if (!this.#excused.has(id)) this.#world.count('lost by others')
    this.#excused.add(id)
  }

  #require(write: Acknowledged, group: number, server: Server): void {
    if (this.#excused.has(write.id) || this.#has(write, group, server)) return
    if (this.#world.othersPromoted.has(server)) {
      this.#excuse(write)
      return
    }
    if (write.overrides) {
      this.#world.count('lost by READ WRITE')
      this.#excused.add(write.id)
      return
    }
    const told = `write ${write.id} to group ${group} was acknowledged (${JSON.stringify(write)}), and ${server.name} has not got it`
    this.#world.fail(new Error(`at ${this.#world.clock.now} ms: ${told}`))
  }

  /** Written there, or prepared with its record kept where it came in. */
  #has({ id, parts, entry }: Acknowledged, group: number, { durable }: Server): boolean {
    const own = parts.filter((part) => part.group === group)
    const written = own.every(
      ({ gid }) => durable.client.includes(id) || (gid !== null && durable.prepared.has(gid)),
    )
    const gids = parts.flatMap(({ gid }) => gid ?? [])
    const recorded = entry.group !== group || gids.every((gid) => durable.records.includes(gid))
    return written && recorded
  }

  /** When everything is over: what the servers that the rows name have lost. */
  missing(primaryOf: (group: number) => Server | undefined): string[] {
    return this.#kept.flatMap(({ id, parts }) => {
      if (this.#excused.has(id)) return []
      return parts.flatMap(({ group, server }) => {
        const now = primaryOf(group)
        if (now?.durable.client.includes(id)) return []
        return [`write ${id}, acknowledged by ${server}, is not on ${now?.name}, group ${group}`]
      })
    })
  }
}

const touches = ({ parts, entry }: Acknowledged, group: number): boolean =>
  entry.group === group || parts.some((part) => part.group === group)

/** Whether its line has left that timeline. */
function descends(server: Server, from: number): boolean {
  return server.timeline > from && server.history.some(({ timeline }) => timeline === from)
}
