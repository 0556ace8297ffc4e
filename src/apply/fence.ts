import { setTimeout as pause } from 'node:timers/promises'
import { naming } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import type { Blocker } from '../model/blocker.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { FencedSession } from './participants.ts'
import {
  beginPost,
  type Entry,
  type FenceContext,
  letGo,
  letWritersGo,
  lockPost,
  openPost,
  type Post,
  type Reach,
  rehearse,
} from './post.ts'

const LIMIT_MS = 2000
const DYING_MS = 200
/** Writers wait meanwhile: whether a server died is known by then, or its session counts as broken. Milliseconds. */
const VERDICT_MS = 500
/** What a server says that lives and does not let us in: others write on. */
const REFUSALS: readonly string[] = [
  SqlState.tooManyConnections,
  SqlState.invalidPassword,
  SqlState.invalidAuthorization,
  SqlState.insufficientPrivilege,
  SqlState.noSuchDatabase,
]
const WHY_NOT = 'nothing was fenced'

export interface FenceOrder {
  readonly groups: readonly number[]
  /** The coordinator first. */
  readonly entries: readonly Entry[]
  readonly ttlMs: number
  readonly reach: Reach
  /** Only where changes are kept out as well. */
  readonly before?: Before
}

/** What was to be done could not be, or not be undone; why, as the cause: no other round is to try it again. */
export class BeforeFailed extends Error {
  override readonly name = 'BeforeFailed'
}

/** What is to be done once changes are kept out, and before any write waits. */
export interface Before {
  readonly doing: () => Promise<void>
  /** Where the fence comes to nothing; before changes are let in again. Never throws. @returns whether nothing of it is left */
  readonly undo: () => Promise<boolean>
}

/**
 * Takes a fence: in one round, on all entries or on none.
 * @throws what kept it from a lock or a session, everything rolled back; BeforeFailed
 */
export async function takeFence(order: FenceOrder, context: FenceContext): Promise<Fence> {
  const { entries, ttlMs, reach, before } = order
  const posts: Post[] = []
  let undo: Before['undo'] | null = null
  try {
    // Opened before the first lock. The server itself ends what sits in its transaction for longer than that.
    const sessions = await settled(
      entries.map(async (entry) => {
        const post = await naming(entry.node, () => openPost(entry, order, ttlMs, context))
        posts.push(post)
        return post
      }),
    )
    const begun =
      reach === 'writes'
        ? sessions
        : await inOrder(sessions, (post, since) => naming(post.node, () => beginPost(post, since, context)))
    if (before) {
      undo = before.undo
      await before.doing().catch((cause: unknown) => {
        throw new BeforeFailed(WHY_NOT, { cause })
      })
    }
    const locked = await inOrder(begun, (post, since) =>
      naming(post.node, () => lockPost(post, { reach, roundBegan: since, reads: false }, context)),
    )
    return new Fence(order, locked, context)
  } catch (error) {
    if (!undo) {
      await letGo(posts)
      throw error
    }
    await letWritersGo(posts)
    const isUndone = await undo()
    await letGo(posts)
    throw isUndone || error instanceof BeforeFailed ? error : new BeforeFailed(WHY_NOT, { cause: error })
  }
}

/** The coordinator first: everybody who changes something comes to it first. */
async function inOrder(
  [coordinator, ...others]: readonly Post[],
  work: (post: Post, since: number | null) => Promise<Post>,
): Promise<Post[]> {
  if (!coordinator) throw new Error('a fence needs the coordinator')
  const first = await work(coordinator, null)
  return [first, ...(await settled(others.map((post) => work(post, first.locksAsked))))]
}

/** Like `Promise.all`, but never leaves one running. */
async function settled<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return await Promise.all(promises)
}

/**
 * Writes to some groups stand still, on every entry, until it ends: released, spent by the change inside it, its time
 * over, or one of its sessions broken. The servers keep the time as well, and end it when this process dies.
 */
export class Fence {
  readonly groups: readonly number[]
  readonly #reach: Reach
  readonly #open: FenceContext['open']
  readonly #began: number
  #posts: readonly Post[]
  #until: number
  #timer: NodeJS.Timeout | undefined
  #borrowed = false
  #spent = false
  /** Its end that came while a change was in it. */
  #due: string | null = null
  #ended: string | null = null
  #ending: Promise<void> = Promise.resolve()
  #told: ((why: string) => void) | null = null
  /** Of sessions that were lost: whether their servers died with them is being found out. */
  readonly #verdicts = new Set<Promise<void>>()
  /** Opened for copies that are expected to take writes soon, by instance. */
  readonly #expected = new Map<string, Promise<Post>>()

  constructor({ groups, reach, ttlMs }: FenceOrder, posts: readonly Post[], { open }: FenceContext) {
    this.groups = groups
    this.#reach = reach
    this.#open = open
    // From the first lock: before the servers, which count from the last.
    this.#began = Math.min(...posts.map(({ locksAsked }) => locksAsked))
    this.#until = this.#began + ttlMs
    this.#posts = posts
    this.#arm()
    for (const post of posts) this.#mind(post)
  }

  /** Why it is over; null while it holds. */
  get endedWhy(): string | null {
    if (this.#ended !== null) return this.#ended
    const broken = this.#posts.find(({ essential, session }) => essential && !session.alive)
    return broken ? `the connection to ${formatAddress(broken.node)} broke` : null
  }

  /** Milliseconds until its time is over; 0 when it has ended. */
  get leftMs(): number {
    return this.endedWhy === null ? Math.max(0, this.#until - performance.now()) : 0
  }

  /** When its first lock was asked for, `performance.now()`. */
  get began(): number {
    return this.#began
  }

  /** Whether the copies themselves are locked, and the lock that serialises changes is held. */
  get holdsCopies(): boolean {
    return this.#reach === 'writes and changes'
  }

  /** Whether that, and the writes to all of these groups. */
  covers(groups: readonly number[]): boolean {
    return this.holdsCopies && groups.every((group) => this.groups.includes(group))
  }

  get nodes(): readonly HostPort[] {
    return this.#posts.map(({ node }) => node)
  }

  /** Tells why, once, when it ends. */
  onEnd(told: (why: string) => void): void {
    this.#told = told
    if (this.#ended !== null) told(this.#ended)
  }

  /** A copy that comes to it later is there to be written. */
  get #later() {
    return { groups: this.groups, reach: 'writes' } as const
  }

  /** Opens the session in which a copy will be held once it takes writes. Never throws. */
  async expect(entry: Entry, context: FenceContext): Promise<void> {
    const { instance } = entry.server
    if (this.endedWhy !== null || this.#expected.has(instance)) return
    const post = openPost(entry, this.#later, Math.max(1, this.leftMs), context)
    this.#expected.set(instance, post)
    await post.catch(() => this.#expected.delete(instance))
  }

  /** Holds a copy that takes writes since: of a node that was promoted, or came back. @throws as `takeFence` */
  async extend(entry: Entry, context: FenceContext): Promise<void> {
    const expected = await this.#expected.get(entry.server.instance)?.catch(() => null)
    this.#expected.delete(entry.server.instance)
    const post = expected?.session.alive
      ? expected
      : await openPost(entry, this.#later, Math.max(1, this.leftMs), context)
    try {
      const how = { reach: this.#reach, roundBegan: this.#began, reads: this.holdsCopies }
      const locked = await lockPost(post, how, context)
      if (this.endedWhy !== null) throw new Error('the fence has ended meanwhile')
      this.#posts = [...this.#posts, locked]
      this.#mind(locked)
    } catch (error) {
      await letGo([post])
      throw error
    }
  }

  /** The session on this server, if it is in the fence and lives. */
  at({ instance }: Answered): FencedSession | null {
    return this.#posts.find((post) => post.instance === instance && post.session.alive) ?? null
  }

  /** Whether one of its sessions is this one. */
  is({ node, pid }: Pick<Blocker, 'node' | 'pid'>): boolean {
    return this.#posts.some((post) => sameAddress(post.node, node) && post.session.pid === pid)
  }

  /** While nothing else is to be done in it: so that the change inside it will be faster. Never throws. */
  async rehearse(): Promise<void> {
    const rehearsed = this.#posts.filter(({ essential }) => essential)
    const copies = await Promise.all(rehearsed.map(rehearse))
    if (!this.holdsCopies) return
    this.#posts = this.#posts.map((post) => {
      const n = rehearsed.indexOf(post)
      return n < 0 ? post : { ...post, copy: copies[n] ?? null }
    })
  }

  /** Waits, half a second at most, until it is known of each session that was lost whether its server died. Never throws. */
  async #judged(): Promise<void> {
    const late = new AbortController()
    const limit = pause(VERDICT_MS, undefined, { signal: late.signal }).catch(() => undefined)
    await Promise.race([Promise.all(this.#verdicts), limit])
    late.abort()
  }

  /**
   * Lets one change work on its sessions: until `giveBack` it does not end.
   * @returns false: it is over, or lent already
   */
  async borrow(): Promise<boolean> {
    if (this.#verdicts.size > 0) await this.#judged()
    if (this.endedWhy !== null || this.#borrowed || this.#spent) return false
    this.#borrowed = true
    return true
  }

  /** Lets go of what the change that was made had no use for. Never throws. */
  async dismiss(used: readonly SessionLike[]): Promise<void> {
    await letGo(this.#posts.filter(({ session }) => !used.includes(session)))
  }

  /** From here on the change can't go back to the fence as it was. */
  spend(): void {
    this.#spent = true
  }

  /** After a change that came to nothing and left the locks as they were, or to something. */
  async giveBack(): Promise<void> {
    this.#borrowed = false
    if (this.#spent) return await this.end('a change used it')
    if (this.#due !== null) return await this.end(this.#due)
    const ended = this.endedWhy
    if (ended !== null) return await this.end(ended)
    await this.#setLimit()
  }

  /** Counts its time from now on. @returns false: it is over */
  async renew(ttlMs: number): Promise<boolean> {
    if (this.endedWhy !== null || this.#spent) return false
    this.#until = performance.now() + ttlMs
    this.#arm()
    // A change in it goes on with its own limit, and leaves this one when it gives the fence back.
    if (!this.#borrowed) await this.#setLimit()
    return this.endedWhy === null
  }

  /** Rolls everything back and closes the sessions. Again, or too late: nothing. Never throws. */
  async end(why: string): Promise<void> {
    if (this.#borrowed) {
      this.#due ??= why
      return
    }
    if (this.#ended === null) {
      this.#ended = why
      clearTimeout(this.#timer)
      this.#ending = this.#letGo()
      this.#told?.(why)
    }
    await this.#ending
  }

  async #letGo(): Promise<void> {
    const expected = [...this.#expected.values()].map((post) => post.catch(() => null))
    this.#expected.clear()
    const closing = expected.map(async (post) => await (await post)?.session.close())
    await Promise.all([letGo(this.#posts), ...closing])
  }

  /** Where a server died nothing enters; where only our session ended, writes do again, and the fence is none. */
  #mind(post: Post): void {
    const { node, session, essential } = post
    if (!essential) return
    const judge = async () => {
      // A server that is killed may take connections while its sessions end already.
      await pause(DYING_MS)
      const lives = await this.#open(node).then(
        (other) => other.close().then(() => true),
        (error: unknown) => REFUSALS.includes(codeOf(error) ?? ''),
      )
      if (lives) await this.end(`the connection to ${formatAddress(node)} broke`)
      else this.#posts = this.#posts.filter((each) => each.session !== session)
    }
    session.onLost?.(async () => {
      const verdict = judge()
      this.#verdicts.add(verdict)
      await verdict.finally(() => this.#verdicts.delete(verdict))
    })
  }

  #arm(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.end('its time was over'), this.#until - performance.now())
    this.#timer.unref()
  }

  /** Every message gives a session its whole limit again, so it gets what is left. */
  async #setLimit(): Promise<void> {
    const leftMs = Math.max(1, Math.ceil(this.#until - performance.now()))
    const sql = `SET idle_in_transaction_session_timeout = ${leftMs}`
    await Promise.all(
      this.#posts.map(async ({ node, session, essential }) => {
        const failed = await session.run(sql, LIMIT_MS).then(
          () => false,
          () => true,
        )
        if (failed && essential) await this.end(`the session on ${formatAddress(node)} failed`)
      }),
    )
  }
}
