import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import { naming, openNamed } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import { intArrayLiteral, literal } from '../db/sql.ts'
import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { type Claims, factsOf } from '../diagnose/facts.ts'
import { witnesses } from '../diagnose/witnesses.ts'
import { isNotInstalled } from '../model/ailing.ts'
import { type Catalog, COORDINATOR_GROUP, primaryOf } from '../model/catalog.ts'
import type { Intent } from '../model/intent.ts'
import { intentsIn } from '../model/intents.ts'
import { coordinatorOf, takesWritesOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey } from '../model/observation.ts'
import { distinctServers } from '../model/servers.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { releaseServer } from './hold-server.ts'
import type { WalkRequest } from './walk-request.ts'

/** What became of something that a switchover left behind. */
export interface Settled {
  readonly group: number
  /**
   * `carried on`: there is a promotion now, to be followed by its change; `promoted`: there was one already; `left`: it needs
   * somebody else, and the group may take no writes until then.
   */
  readonly what: 'undone' | 'carried on' | 'promoted' | 'left'
  readonly line: string
}

const LIMIT_MS = 5_000
const PROMOTION_MS = 10_000
const POLL_MS = 20

/**
 * Undoes or carries on what a switchover that died was about: before it asked for the promotion the old primary is made
 * writable again, afterwards the promotion is asked for once more. Under the change lock, which a switchover that lives
 * holds: of that one nothing is touched.
 * @throws what the coordinator's driver or server says
 */
export async function settleIntents(
  access: Access,
  { database, claims }: WalkRequest,
  survey: Survey,
  clock: Clock,
): Promise<Settled[]> {
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator) return []
  const session = await openNamed(access, coordinator.address, database)
  try {
    const limitMs = clock.limit(LIMIT_MS)
    const settings = `SET synchronous_commit = local; SET lock_timeout = 100; SET idle_in_transaction_session_timeout = ${2 * PROMOTION_MS}`
    await session.run(`${settings}; ${BEGIN}; ${TAKE_CHANGE_LOCK}`, limitMs)
    // Read anew: what was surveyed may be over.
    const told = [coordinator.address, ...intentsIn(survey.nodes).map(({ from }) => from)]
    const seen = await Promise.all(told.map((address) => access.prober(database).probe(address)))
    const rows = coordinatorOf(seen)?.citus?.catalog ?? []
    const intents = intentsIn(seen)
    const settled = await Promise.all(
      intents.map((intent) => {
        const from = seen.find(({ address }) => sameAddress(address, intent.from))
        const asked = { coordinator: coordinator.address, rows, survey, claims, from }
        return settleOne(access, database, intent, asked)
      }),
    )
    const over = settled.filter(({ what }) => what === 'undone').map(({ group }) => group)
    // Of whichever run: the primary's word may have counted, and not what is written here.
    const forget = (coordinatorOf(seen)?.installed?.intents ?? [])
      .filter(({ group }) => over.includes(group))
      .map(({ group, run }) => `SELECT citus_ha.forget_intents(${intArrayLiteral([group])}, ${literal(run)})`)
    await session.run([...forget, 'COMMIT'].join('; '), limitMs)
    return settled
  } catch (error) {
    if (codeOf(error) === SqlState.lockNotAvailable) return []
    throw error
  } finally {
    await session.close()
  }
}

/** What is to be known of switchovers before a walk acts. */
export interface LeftBehind {
  /** Why there is something new to be seen; null: there is not. */
  readonly again: unknown
  /** What could neither be undone nor carried on, of the groups that were asked for. */
  readonly unfinished: readonly Settled[]
}

/** Before a walk acts: what a switchover left behind is undone, or carried on. @throws as `settleIntents` */
export async function settleLeftBehind(
  access: Access,
  request: WalkRequest,
  survey: Survey,
  clock: Clock,
): Promise<LeftBehind> {
  // The caller's own switchover is under way.
  if (request.quiesced.length > 0 || intentsIn(survey.nodes).length === 0)
    return { again: null, unfinished: [] }
  const settled = await clock.time('recover', () => settleIntents(access, request, survey, clock))
  for (const { line } of settled) request.progress(line)
  const goesOn = settled.some(({ what }) => what === 'carried on')
  const isConcerned = (group: number) => request.groups === null || request.groups.includes(group)
  return {
    again: goesOn ? new Error('an interrupted switchover is being completed') : null,
    unfinished: settled.filter(({ what, group }) => what === 'left' && isConcerned(group)),
  }
}

interface Seen {
  readonly coordinator: HostPort
  /** Of the coordinator, under the lock. */
  readonly rows: Catalog
  readonly survey: Survey
  readonly claims: Claims
  /** The old primary, under the lock. */
  readonly from: Observation | undefined
}

async function settleOne(access: Access, database: string, intent: Intent, seen: Seen): Promise<Settled> {
  const { rows, survey } = seen
  const { group, from, to, phase, byCommand } = intent
  const told = (what: Settled['what'], line: string): Settled => ({
    group,
    what,
    line: `group ${group}: ${line}`,
  })
  const registered = primaryOf(rows, group)?.address
  if (!registered || !sameAddress(registered, from) || isOvertaken(intent, survey)) {
    // They may be gone for good.
    await withSession(access, database, from, releaseStandby).catch(() => undefined)
    await forgetThere(access, database, group, survey).catch(() => undefined)
    return told('undone', 'an interrupted switchover is cleaned up: another change was made since')
  }
  const target = await access.prober(database).probe(to)
  if (target.kind === 'answered' && !target.inRecovery) return told('promoted', describePromoted(intent))
  try {
    if (phase === 'quiescing') {
      await withSession(access, database, from, releaseServer)
      await forgetThere(access, database, group, survey)
      return told('undone', `an interrupted switchover is undone: ${formatAddress(from)} takes writes again`)
    }
    if (byCommand) {
      return told(
        'left',
        `a switchover was interrupted while its command was to promote ${formatAddress(to)}: promote it; ${wayBack(intent)}`,
      )
    }
    const why = await whyNotOurs(access, database, intent, seen)
    if (why) return told('left', `a switchover to ${formatAddress(to)} was interrupted: ${why}`)
    await withSession(access, database, to, promote)
    return told('carried on', `an interrupted switchover is completed: ${formatAddress(to)} is promoted`)
  } catch (error) {
    const isBegun = phase === 'quiescing'
    const failure = `could not be ${isBegun ? 'undone' : 'completed'}: ${failureOf(error)}`
    return told('left', `an interrupted switchover ${failure}${isBegun ? '' : `; ${wayBack(intent)}`}`)
  }
}

/** Before it came to its promotion, or once it was to be undone, nobody has seen that all was replayed. */
function describePromoted({ to, phase }: Intent): string {
  const at = formatAddress(to)
  return phase === 'promoting'
    ? `an interrupted switchover has promoted ${at}; pg_dist_node is updated next`
    : `${at} is promoted, though the switchover to it was interrupted before its promotion, or was being undone: it is judged as any other promotion`
}

/** What only a person may say: that nothing was written where the promotion went. An old primary that takes writes is held no more. */
function wayBack({ from, to }: Intent): string {
  return `or, if ${formatAddress(to)} is gone for good and took no writes, run on ${formatAddress(from)}: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); then run citus-ha reconcile, which undoes the switchover`
}

/** With the next command. */
function failureOf(error: unknown): string {
  const code = codeOf(error)
  const next = isNotInstalled(code) ? 'citus-ha install --switchover' : 'citus-ha doctor'
  return `${code === undefined ? '' : `${code}: `}${messageOf(error)}; run: ${next}`
}

/**
 * Takes over what is to be carried on: whoever began it, should he live after all, undoes nothing from then on. An old primary that is
 * silent may have been given back its writes by an undo of which this coordinator was not told: it has to be proved down.
 * @returns why it can't be carried on now; null: it is ours
 */
async function whyNotOurs(
  access: Access,
  database: string,
  { group, run, stopped, from: at }: Intent,
  { from, coordinator, survey, claims }: Seen,
): Promise<string | null> {
  const node = formatAddress(at)
  const answers = from?.kind === 'answered'
  const facts = factsOf(survey, group, claims)
  const isRegistered = facts.row !== undefined && sameAddress(facts.row.address, at)
  const isDown = from?.kind === 'unreachable' && isRegistered && witnesses(facts).isDown
  if (!answers && !isDown)
    return `it is not known whether ${node} is down, and it may take writes again: start it, or make sure that its host is down (citus-ha status shows what each node sees), then run: citus-ha reconcile`
  // By a command, which had come to its end: who lives and undoes that has to run another first.
  if (stopped) return null
  const where = answers && !from.inRecovery ? at : coordinator
  const sql = `SELECT citus_ha.take_over_intent(${literal(group)}, ${literal(run)}, ${literal(randomUUID())}) AS taken`
  let taken = false
  await withSession(access, database, where, async (session) => {
    const settings = 'SET synchronous_commit = local'
    const rows = await session.run(`${settings}; BEGIN READ WRITE; ${sql}; COMMIT`, LIMIT_MS)
    taken = rows[2]?.[0]?.taken === true
  })
  return taken
    ? null
    : `the record of the switchover on ${formatAddress(where)} has changed meanwhile; run this again`
}

/**
 * Whether others have promoted another server of the group meanwhile: then the old primary must not take writes again, nor
 * the target be promoted, beside that one.
 */
function isOvertaken({ group, from, to }: Intent, { nodes }: Survey): boolean {
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  const known = answered.filter(({ address }) => sameAddress(address, from) || sameAddress(address, to))
  return answered.some(
    (node) =>
      takesWritesOf(node, group) &&
      known.some(({ systemIdentifier }) => systemIdentifier === node.systemIdentifier) &&
      !known.some(({ instance }) => instance === node.instance),
  )
}

/**
 * What servers of the group have written down themselves, the one that a failover has put in its place too: it has come
 * there with the WAL. A standby's goes with its primary's, the coordinator's when all of them are settled.
 */
async function forgetThere(access: Access, database: string, group: number, survey: Survey): Promise<void> {
  if (group === COORDINATOR_GROUP) return
  const noted = survey.nodes.filter(
    (node): node is Answered =>
      node.kind === 'answered' &&
      node.citus?.localGroup === group &&
      (node.installed?.intents ?? []).some((each) => each.group === group),
  )
  for (const { address, installed } of distinctServers(noted))
    await withSession(access, database, address, async (session) => {
      if (await isStandby(session)) return
      const forget = (installed?.intents ?? [])
        .filter((each) => each.group === group)
        .map(({ run }) => `SELECT citus_ha.forget_intents(${intArrayLiteral([group])}, ${literal(run)})`)
      const sql = ['SET synchronous_commit = local', BEGIN, ...forget, 'COMMIT']
      await session.run(sql.join('; '), LIMIT_MS)
    })
}

async function isStandby(session: SessionLike): Promise<boolean> {
  const [rows] = await session.run('SELECT pg_is_in_recovery() AS standby', LIMIT_MS)
  return rows?.[0]?.standby === true
}

async function withSession(
  access: Access,
  database: string,
  node: HostPort,
  work: (session: SessionLike) => Promise<unknown>,
): Promise<void> {
  await naming(node, async () => {
    const session = await access.open(node, database)
    try {
      await work(session)
    } finally {
      await session.close()
    }
  })
}

/**
 * A standby is to take writes when it is promoted one day. An old primary that still runs is not, and keeps its settings:
 * any reload would bring it into effect that they are gone.
 */
async function releaseStandby(session: SessionLike): Promise<void> {
  if (await isStandby(session)) await releaseServer(session)
}

/** @throws the server's error: then it was not asked for */
export async function askToPromote(session: SessionLike): Promise<void> {
  // 55000: it has been promoted, or is just now.
  await session.run('SELECT pg_promote(false)', LIMIT_MS).catch((error: unknown) => {
    if (codeOf(error) !== SqlState.notInPrerequisiteState) throw error
  })
}

/** Asks for the promotion and waits until it is there. @throws Error where it is not within ten seconds */
export async function promote(session: SessionLike): Promise<void> {
  await askToPromote(session)
  await untilPromoted(session, performance.now() + PROMOTION_MS)
}

/** Looks every millisecond, half a second long, on the server itself: writers wait for it. No row: it is not promoted yet. */
const AWAIT_PROMOTION = `SELECT pg_is_in_recovery() AS standby FROM generate_series(1, 500)
  WHERE CASE WHEN pg_is_in_recovery() THEN pg_sleep(0.001) IS NULL ELSE true END LIMIT 1`

/** @param until `performance.now()` */
export async function untilPromoted(session: SessionLike, until: number): Promise<void> {
  for (;;) {
    const [rows] = await session.run(AWAIT_PROMOTION, LIMIT_MS).catch((error: unknown) => {
      // What there is still to be replayed may be in conflict with a statement of that length, and a limit of the URL's be shorter.
      const code = codeOf(error)
      if (code === SqlState.serializationFailure || code === SqlState.queryCanceled) return []
      throw error
    })
    if (rows?.[0]?.standby === false) return
    if (performance.now() >= until)
      throw new Error('pg_promote() was called, but the server is still in recovery')
    await pause(POLL_MS)
  }
}
