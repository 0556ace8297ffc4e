import type { Row, SessionLike } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { CopyRole } from '../model/plan.ts'
import { type FencedSession, openSession } from './participants.ts'
import {
  BACK_TO_BEGUN,
  BACK_TO_FENCE,
  BEGIN,
  fenceSql,
  limitSql,
  lockSql,
  MARK_BEGUN,
  MARK_FENCE,
  READ_COPY,
  rehearseSql,
  TAKE_CHANGE_LOCK,
} from './statements.ts'
import { type LockWaits, sendSyncAway, withinRound } from './within-round.ts'

/** A writable copy at which writes to the group may enter. */
export interface Entry {
  readonly node: HostPort
  readonly role: CopyRole
  readonly server: Answered
  /** Whose writes are held here, where that is not the fence's groups alone; null: it is. */
  readonly groups: readonly number[] | null
}

/** What a fence keeps out: writes to the groups alone, or every change of the node metadata as well. */
export type Reach = 'writes' | 'writes and changes'

/** The session in which a fence holds one entry. */
export interface Post extends FencedSession {
  readonly groups: readonly number[]
  readonly node: HostPort
  readonly instance: string
  /** Not so the fenced groups' own primaries, which may be stopped meanwhile. */
  readonly essential: boolean
  /** Its transaction is open, and keeps changes out. */
  readonly begun: boolean
  /** When its locks were asked for, `performance.now()`: that may be long after its transaction was begun. */
  readonly locksAsked: number
}

export interface FenceContext extends LockWaits {
  readonly open: (address: HostPort) => Promise<SessionLike>
}

const LIMIT_MS = 2000

/** @throws what the driver or the server says */
export async function openPost(
  { node, role, server, groups: own }: Entry,
  { groups, reach }: { readonly groups: readonly number[]; readonly reach: Reach },
  idleMs: number,
  context: FenceContext,
): Promise<Post> {
  const essential = !groups.includes(server.citus?.localGroup ?? -1)
  // No copy is written on a primary that is to be replaced, whose daemons a switchover has ended before it fences another database.
  const isWritten = essential || reach === 'writes'
  const session = await openSession(node, role, { ...context, idleMs, isWritten })
  const held = own ?? groups
  const [began, begun, copy] = [performance.now(), false, null]
  const post = { node, instance: server.instance, session, essential, groups: held }
  return { ...post, began, begun, locksAsked: began, copy }
}

/**
 * Keeps changes out, and marks that a fence is to be there: nobody's writes wait for that.
 * @param roundBegan as in `lockPost`
 */
export async function beginPost(post: Post, roundBegan: number | null, context: FenceContext): Promise<Post> {
  const { node, session } = post
  const { limits } = context
  const began = performance.now()
  const serial = roundBegan === null ? [TAKE_CHANGE_LOCK] : []
  await withinRound({ node, session, roundBegan }, context, (limitMs) =>
    session.run(
      [BEGIN, limitSql(limitMs), ...serial, fenceSql([]), limitSql(limits.statementMs), MARK_BEGUN].join(
        '; ',
      ),
      limitMs + limits.lockAnswerMs,
    ),
  )
  return { ...post, began, begun: true, locksAsked: began }
}

export interface PostLock {
  readonly reach: Reach
  /** `performance.now()` of the coordinator's lock; null: this is the coordinator. */
  readonly roundBegan: number | null
  /** Whether the copy is read with that, for a change that comes next. */
  readonly reads: boolean
}

/** @throws what the driver or the server says */
export async function lockPost(
  post: Post,
  { reach, roundBegan, reads }: PostLock,
  context: FenceContext,
): Promise<Post> {
  const { node, session, groups } = post
  const { limits } = context
  const locksAsked = performance.now()
  // Its copy may be held by Citus's own sync; the others' is left alone by it.
  const mayBeSync = reach === 'writes and changes' && roundBegan === null
  const take = reach === 'writes' ? fenceSql(groups) : lockSql(groups)
  const after = [limitSql(limits.statementMs), MARK_FENCE, ...(reads ? [READ_COPY] : [])]
  const lock = async (begin: readonly string[]) =>
    await withinRound({ node, session, roundBegan }, context, (limitMs) =>
      session.run([...begin, limitSql(limitMs), take, ...after].join('; '), limitMs + limits.lockAnswerMs),
    )
  const results = await lock(post.begun ? [] : [BEGIN]).catch(async (error: unknown) => {
    if (!mayBeSync || codeOf(error) !== SqlState.lockNotAvailable) throw error
    if (!(await sendSyncAway(session, BACK_TO_BEGUN, limits))) throw error
    return await lock([])
  })
  const began = post.begun ? post.began : locksAsked
  return { ...post, began, begun: true, locksAsked, copy: copyIn(results) }
}

/**
 * Does once what a change will do there, and takes it back: the first time in a session takes twice as long.
 * @returns the copy as it is under the locks, which a change need not read then
 */
export async function rehearse({ session }: Post): Promise<unknown> {
  const results = await session
    .run(`${rehearseSql([])}; ${BACK_TO_FENCE}; ${READ_COPY}`, LIMIT_MS)
    .catch(() => session.run(BACK_TO_FENCE, LIMIT_MS))
    // One that is lost is found out by whoever needs it.
    .catch(() => [])
  return copyIn(results)
}

const copyIn = (results: readonly Row[][]): unknown => results.at(-1)?.[0]?.copy ?? null

/** Lets the writers go on, and keeps changes out. Never throws. */
export async function letWritersGo(posts: readonly Post[]): Promise<void> {
  await Promise.all(
    posts
      .filter(({ session }) => session.alive)
      .map(({ session }) => session.run(BACK_TO_BEGUN, LIMIT_MS).catch(() => undefined)),
  )
}

/** Never throws. */
export async function letGo(posts: readonly Post[]): Promise<void> {
  await Promise.all(
    posts.map(async ({ session }) => {
      if (session.alive) await session.run('ROLLBACK', LIMIT_MS).catch(() => undefined)
      await session.close()
    }),
  )
}
