import type { Fence } from '../apply/fence.ts'
import { messageOf } from '../db/sqlstate.ts'
import type { Blocker } from '../model/blocker.ts'
import type { FenceReport, ReleaseReport } from '../model/fence.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Access } from '../walk/access.ts'
import { entriesOf, holdFence, untilOf } from '../walk/fence.ts'
import { limitsOf, watchOf } from '../walk/limits.ts'
import type { View } from '../walk/look.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import type { WatchEvent } from './event.ts'

interface Held {
  readonly fence: Fence
  readonly report: FenceReport
}

/** The fences that a watcher holds for others, one a group at most. */
export class Fences {
  readonly #held = new Map<number, Held>()
  readonly #tell: (event: WatchEvent) => void
  readonly #database: string
  /** One at a time: two calls for one group must not wait for each other's locks. */
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(database: string, tell: (event: WatchEvent) => void) {
    this.#database = database
    this.#tell = tell
  }

  /** Milliseconds until the group's fence ends; 0: none is held. */
  leftMs(group: number): number {
    return this.#held.get(group)?.fence.leftMs ?? 0
  }

  /** Groups of which a fence is held. */
  get groups(): number[] {
    return [...this.#held.keys()]
  }

  /** The one that is held for one of these groups; null: none. */
  of(groups: readonly number[]): Fence | null {
    const group = groups.find((each) => this.#held.has(each))
    return group === undefined ? null : (this.#held.get(group)?.fence ?? null)
  }

  /** Takes a fence or, where one is held, counts its time anew. @throws as `holdFence` */
  async hold(access: Access, request: WalkRequest, group: number, ttlMs: number): Promise<FenceReport> {
    const mine = this.#turn.then(() => this.#hold(access, request, group, ttlMs))
    this.#turn = mine.catch(() => undefined)
    return await mine
  }

  async #hold(access: Access, request: WalkRequest, group: number, ttlMs: number): Promise<FenceReport> {
    const began = performance.now()
    const known = this.#held.get(group)
    if (known && (await known.fence.renew(ttlMs))) {
      const durationMs = Math.round(performance.now() - began)
      return { ...known.report, outcome: 'renewed', until: untilOf(known.fence), durationMs }
    }
    await known?.fence.end('another fence replaced it')
    const { fence, report } = await holdFence(access, request, { groups: [group], ttlMs, reach: 'writes' })
    if (!fence) return report
    if (this.#closed) await fence.end('the watcher ended')
    this.#held.set(group, { fence, report })
    this.#say(group, 'held', report.fenced.join(', '))
    fence.onEnd((why) => {
      // One that a change was in ends with it: another may have been taken in its place meanwhile.
      if (this.#held.get(group)?.fence !== fence) return
      this.#held.delete(group)
      this.#say(group, 'ended', why)
    })
    return report
  }

  /** Lets the group's writes go on. */
  async release(group: number): Promise<ReleaseReport> {
    await this.#turn
    const held = this.#held.get(group)?.fence
    const database = this.#database
    if (!held) return { database, group, released: false, heldMs: null }
    const heldMs = Math.round(performance.now() - held.began)
    await held.end('it was released')
    return { database, group, released: true, heldMs }
  }

  /** Ends them all, and whatever is on its way. Never throws. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#turn
    await this.endAll('the watcher ended')
  }

  /** Holds, for each fence, what takes writes since it was taken. A lock that does not come is tried at the next look. */
  async extend(access: Access, request: WalkRequest, seen: View): Promise<void> {
    const { entries } = entriesOf(seen, access.migration)
    const context = {
      limits: limitsOf(request),
      watch: watchOf(access, request),
      open: (address: HostPort) => access.open(address, request.database),
    }
    for (const { fence } of this.#held.values()) {
      if (fence.endedWhy !== null) continue
      const fresh = entries.filter(
        ({ server }) => !fence.at(server) && !fence.groups.includes(server.citus?.localGroup ?? -1),
      )
      for (const entry of fresh) {
        const at = formatAddress(entry.node)
        await fence.extend(entry, context).then(
          () => request.progress(`the fence of group ${fence.groups.join(', ')} is also held on ${at}`),
          (error: unknown) => request.progress(`${at} cannot be fenced yet: ${messageOf(error)}`),
        )
      }
    }
  }

  /** What has to be changed now goes before what somebody is about to change: a shared reference table, for one. */
  async yieldTo(blockers: readonly Blocker[]): Promise<void> {
    const inTheWay = [...this.#held].filter(([, { fence }]) => blockers.some((each) => fence.is(each)))
    const why = 'it blocked the change of another group'
    await Promise.all(inTheWay.map(([, { fence }]) => fence.end(why)))
  }

  async endAll(why: string): Promise<void> {
    await Promise.all([...this.#held.values()].map(({ fence }) => fence.end(why)))
  }

  #say(group: number, now: 'held' | 'ended', detail: string): void {
    this.#tell({ kind: 'fence', database: this.#database, group, now, detail })
  }
}
