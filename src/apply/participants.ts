import { setTimeout as pause } from 'node:timers/promises'
import type { SessionLike } from '../db/pg.ts'
import { codeOf, messageOf } from '../db/sqlstate.ts'
import { isNotInstalled } from '../model/ailing.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { CopyPlan, CopyRole, OldPrimaryPlan, Plan } from '../model/plan.ts'
import { STOP_SERVER } from '../model/server-commands.ts'
import { asParticipant, SeveralFailed } from './participant-error.ts'
import type { Begun } from './statements.ts'

/** Limits of one change, in milliseconds. */
export interface ChangeLimits {
  /** How long one round may wait for its locks on a node. */
  readonly lockTimeoutMs: number
  /** How much longer than that the answer may take: a node that hangs must not keep the others locked. */
  readonly lockAnswerMs: number
  /** How long any one statement may take, beside waiting for locks, before the connection counts as lost. */
  readonly statementMs: number
  /** How long the coordinator's commit may wait for synchronous replication. */
  readonly decisionWaitMs: number
}

/** A copy that takes part, with its session and the server it was surveyed on. */
export interface Participant extends Begun {
  readonly copy: CopyPlan
  readonly session: SessionLike
  readonly surveyed: Answered
}

/** An old primary that is alive: it takes no part, but its shards are locked against writes meanwhile. */
export interface OldPrimary extends Begun, OldPrimaryPlan {
  readonly session: SessionLike
}

/** An old primary that is alive, and that can't be fenced, since nothing of ours is there. */
export interface Unfenceable {
  readonly old: OldPrimaryPlan
  readonly why: string
}

/** Everybody a change talks to; the coordinator's participant is the first. */
export interface Sessions {
  readonly participants: readonly Participant[]
  readonly oldPrimaries: readonly OldPrimary[]
  readonly unfenceable: readonly Unfenceable[]
}

export interface OpenOptions {
  readonly surveyed: (address: HostPort) => Answered
  readonly open: (address: HostPort) => Promise<SessionLike>
  readonly limits: ChangeLimits
  /** The session in which a fence holds this server already; null where none does. */
  readonly fenced: (server: Answered) => FencedSession | null
}

export interface FencedSession {
  readonly session: SessionLike
  /** When its transaction was begun, `performance.now()`. */
  readonly began: number
  /** As in `Begun`. */
  readonly copy: unknown
}

interface Opened extends Begun {
  readonly session: SessionLike
}

/**
 * Opens and warms one session for each copy and each old primary, before any lock is taken.
 * @throws SeveralFailed, after closing what was opened
 */
export async function openSessions(
  { copies, oldPrimaries }: Pick<Plan, 'copies' | 'oldPrimaries'>,
  options: OpenOptions,
): Promise<Sessions> {
  const { surveyed } = options
  const openOne = async (node: HostPort, role: CopyRole | 'old primary'): Promise<Opened> =>
    await asParticipant(node, 'open', () => openOrFenced(node, role, options))
  const results = await Promise.allSettled([
    ...copies.map(async (copy) => {
      return { copy, ...(await openOne(copy.node, copy.role)), surveyed: surveyed(copy.node) }
    }),
    ...oldPrimaries.map(async (old) => {
      return await openOne(old.node, 'old primary').then(
        (opened) => ({ ...old, ...opened }),
        (error) => ({ old, why: unfenceable(old, error) }),
      )
    }),
  ])
  const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  if (failed.length > 0) {
    await closeOwn(opened.filter((each) => 'session' in each))
    throw new SeveralFailed(failed)
  }
  return {
    participants: opened.filter((each) => 'copy' in each),
    oldPrimaries: opened.filter((each) => 'session' in each && 'successor' in each),
    unfenceable: opened.filter((each) => 'why' in each),
  }
}

/** Why it can't be fenced, where nothing of ours is there: no later round finds that otherwise. @throws what else there is */
function unfenceable({ node }: OldPrimaryPlan, error: unknown): string {
  if (!isNotInstalled(codeOf(error))) throw error
  return notFenced(node, error)
}

export function notFenced(node: HostPort, error: unknown): string {
  return `${formatAddress(node)} takes writes and could not be fenced: ${messageOf(error)} (${codeOf(error)}); stop it, there: ${STOP_SERVER}; or install the schema there, as a superuser: citus-ha install`
}

/** Closes what was opened for the change; a fence's sessions are closed with the fence. */
export async function closeSessions({ participants, oldPrimaries }: Sessions): Promise<void> {
  await closeOwn([...participants, ...oldPrimaries])
}

async function closeOwn(sessions: readonly Opened[]): Promise<void> {
  await Promise.all(
    sessions.map(({ session, fencedSince }) => (fencedSince === null ? session.close() : null)),
  )
}

async function openOrFenced(
  node: HostPort,
  role: CopyRole | 'old primary',
  { open, limits, fenced, surveyed }: OpenOptions,
): Promise<Opened> {
  const held = fenced(surveyed(node))
  if (held) return { session: held.session, fencedSince: held.began, heldCopy: held.copy }
  return {
    session: await openSession(node, role, { open, limits, idleMs: idleLimit(limits) }),
    fencedSince: null,
    heldCopy: null,
  }
}

/** How long a session of a change may sit in its transaction between two messages, in milliseconds. */
export function idleLimit({ statementMs }: ChangeLimits): number {
  return Math.max(2 * statementMs, 1000)
}

/** Of no group, no address and no line: nothing comes of it. What writes can't be called on a standby, or where all is read-only. */
const WARM_UP = `SELECT citus_ha.read_copy(), citus_ha.may_have_address(0, '', 0), citus_ha.fence('{}'), citus_ha.in_time(1000000),
  CASE WHEN NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean) THEN citus_ha.record_lineage('[]')::text END`
const warm = new WeakSet<SessionLike>()

/**
 * Loads what the locked window needs of Citus and of our functions into the backend, outside of it. Takes no locks that anybody
 * waits for.
 * @throws what the driver or the server says
 */
export async function warmUp(session: SessionLike, limitMs: number): Promise<void> {
  await session.run(WARM_UP, limitMs)
  warm.add(session)
}

export interface OpenSession {
  readonly open: (address: HostPort) => Promise<SessionLike>
  readonly limits: ChangeLimits
  /** After how long in an open transaction without a message the server ends the session, in milliseconds. */
  readonly idleMs: number
  /** Whether its node metadata may be changed in this session: Citus's daemon is to be there then. Default: it may. */
  readonly isWritten?: boolean
}

/** A session that is warm, with its limits set. @throws what the driver or the server says */
export async function openSession(
  node: HostPort,
  role: CopyRole | 'old primary',
  { open, limits, idleMs, isWritten = true }: OpenSession,
): Promise<SessionLike> {
  const session = await open(node)
  const wanted = settings(role, limits, idleMs)
  const known = ready.get(session)
  ready.delete(session)
  if (known?.settings === wanted && performance.now() - known.at < READY_MS) return session
  try {
    await makeReady(session, wanted, { ...limits, isWritten })
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}

/** Sessions that were made ready for a change that has not begun: with which settings, and when, `performance.now()`. */
const ready = new WeakMap<SessionLike, { readonly settings: string; readonly at: number }>()
/** So long, in milliseconds, what was seen of Citus's daemon counts. */
const READY_MS = 1000

/**
 * As `openSession` does, on a session that a change is to have in a moment: it then begins at once. A node that hangs is found
 * out sooner than there, since it is asked once more.
 * @throws what the driver or the server says
 */
export async function readyForChange(
  session: SessionLike,
  role: CopyRole | 'old primary',
  limits: ChangeLimits,
): Promise<void> {
  const wanted = settings(role, limits, idleLimit(limits))
  await makeReady(session, wanted, { statementMs: limits.lockAnswerMs, isWritten: true })
  ready.set(session, { settings: wanted, at: performance.now() })
}

async function makeReady(
  session: SessionLike,
  wanted: string,
  limits: Pick<ChangeLimits, 'statementMs'> & { readonly isWritten: boolean },
): Promise<void> {
  const sql = [wanted, ...(warm.has(session) ? [] : [WARM_UP]), DAEMON].join('; ')
  const told = await session.run(sql, limits.statementMs)
  if (limits.isWritten && told.at(-1)?.length === 0) await daemonRuns(session, limits)
}

const DAEMON = `SELECT FROM pg_stat_activity a
  WHERE a.application_name = 'Citus Maintenance Daemon' AND a.datname = current_database()`
const DAEMON_WAIT_MS = 1000
/** A setting that Citus's library defines where it is preloaded, and without that there is no daemon. Anybody may see it. */
const PRELOADED = `SELECT FROM pg_settings s WHERE s.name = 'citus.recover_2pc_interval' AND s.vartype = 'integer'`

/**
 * A node update wakes Citus's maintenance daemon at its commit. Just after a server's start that daemon is known but
 * not yet there, and Citus 13.2.2 then ends the whole server with a segmentation fault (seen; it sets the latch of a
 * process that has none: `TriggerNodeMetadataSync`). So it is waited for, as long as it usually takes to come.
 */
export async function daemonRuns(
  session: SessionLike,
  { statementMs }: Pick<ChangeLimits, 'statementMs'>,
): Promise<void> {
  const until = performance.now() + DAEMON_WAIT_MS
  for (let isPreloaded: boolean | null = null; ; await pause(20)) {
    const [rows] = await session.run(DAEMON, statementMs)
    if (rows?.length !== 0 || performance.now() >= until) return
    isPreloaded ??= (await session.run(PRELOADED, statementMs))[0]?.length !== 0
    if (!isPreloaded) return
  }
}

/**
 * What the server asks for, whatever the session was for before. With `off` a COMMIT returns before it is on the disk: others
 * would carry out what a crash takes back.
 */
const NEVER_OFF = `RESET synchronous_commit; SELECT pg_catalog.set_config('synchronous_commit', 'local', false)
  WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'`

/**
 * For the session and not `LOCAL`: COMMIT PREPARED runs outside the transaction. `synchronous_commit = local`
 * everywhere but on the coordinator, since a just promoted node has no standby yet and would hang; the decision
 * itself waits for what the server asks for, and at the least until its own disk has it. `idle_in_transaction_session_timeout` frees the cluster from a citus-ha
 * that was stopped between two messages.
 */
function settings(role: CopyRole | 'old primary', limits: ChangeLimits, idleMs: number): string {
  return [
    `SET application_name = 'citus-ha'`,
    `SET lock_timeout = ${Math.trunc(limits.lockTimeoutMs)}`,
    `SET statement_timeout = ${Math.trunc(limits.statementMs)}`,
    `SET idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`,
    role === 'coordinator' ? NEVER_OFF : 'SET synchronous_commit = local',
  ].join('; ')
}
