import { z } from 'zod'
import { describeBlocker, readBlockers } from '../apply/blockers.ts'
import { openNamed } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import { intArrayLiteral, statement } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import { errorsAfter } from '../doctor/after.ts'
import { describeSlot, lostSlots } from '../doctor/checks/slots.ts'
import { type Ailing, nextCommand, whyAiling } from '../model/ailing.ts'
import { CitusHaError } from '../model/failure.ts'
import { intentsIn } from '../model/intents.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation, Survey } from '../model/observation.ts'
import { refusal } from '../model/refusal.ts'
import { psqlAsOwnRole, psqlAsSuperuser, shellWord } from '../model/shell.ts'
import { wasAway } from '../observe/failure.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { factsAbout } from '../walk/doctor.ts'
import { requireUsable } from '../walk/install.ts'
import { settleIntents } from '../walk/intents.ts'
import { type View, view } from '../walk/look.ts'
import { observePatiently } from '../walk/patience.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { type Checked, check, lagOf, type Move } from './check.ts'
import {
  type Judged,
  judgeClients,
  judgeDatabase,
  type Named,
  namedIn,
  needsCoordinator,
  readClients,
} from './clients.ts'
import { managed } from './managed.ts'
import type { SwitchoverOrder } from './order.ts'
import { rehearse } from './rehearsal.ts'

const GRANT = 'citus-ha install --switchover --user postgres   # or another superuser'

export interface Looked {
  readonly databases: readonly string[]
  /** A database each. */
  readonly checked: readonly Checked[]
  /** As `checked`: copies that could not be rewritten, which the change is made without. */
  readonly ailing: readonly (readonly Ailing[])[]
  /** As `checked`: who was silent need not be waited for again. */
  readonly surveys: readonly Survey[]
  readonly refusals: readonly string[]
  readonly warnings: readonly string[]
  /** Who would be waited for, a line each. */
  readonly waits: readonly string[]
  /** What else becomes of the old primaries' own. */
  readonly plan: readonly string[]
}

const LIMIT_MS = 5000

/**
 * Everything that can be asked before anything is touched. What an earlier switchover left behind is undone or carried
 * on first, but not in a dry run.
 * @throws CitusHaError where nothing can be said of the cluster, a server was lost meanwhile, or an earlier switchover is in
 * the way
 */
export async function lookBefore(
  access: Access,
  requests: readonly WalkRequest[],
  order: SwitchoverOrder,
): Promise<Looked> {
  try {
    return await lookAtAll(access, requests, order)
  } catch (error) {
    if (!wasAway(error)) throw error
    throw new CitusHaError('blocked', messageOf(error), { cause: error })
  }
}

async function lookAtAll(
  access: Access,
  requests: readonly WalkRequest[],
  order: SwitchoverOrder,
): Promise<Looked> {
  const checked: Checked[] = []
  const ailing: (readonly Ailing[])[] = []
  const surveys: Survey[] = []
  const told: Told = { refusals: [], warnings: [], waits: [], plan: [] }
  for (const request of requests) {
    const seen = await look(access, request, order)
    const own = check(seen, order, access.migration)
    checked.push(own)
    surveys.push(seen.survey)
    ailing.push(await rehearsed(access, request, own, order, told))
    told.refusals.push(...own.refusals, ...namesToFollow(request, own.moves))
    await lookElsewhere(access, requests, seen, own.moves, told)
    told.warnings.push(...own.warnings)
    for (const move of own.moves) await askServers(access, seen, move, told)
    await askDoctor(access, request, seen, own.moves, order, told)
    if (own.moves.length > 0) await askCoordinator(access, request, seen, own.moves, told)
  }
  const distinct = (lines: readonly string[]) => [...new Set(lines)]
  return {
    databases: requests.map(({ database }) => database),
    checked,
    ailing,
    surveys,
    refusals: distinct(told.refusals),
    warnings: distinct(told.warnings),
    waits: distinct(told.waits),
    plan: distinct(told.plan),
  }
}

/** The coordinator is needed; others may be done without where that is allowed, as those that can't be reached. */
async function rehearsed(
  access: Access,
  request: WalkRequest,
  own: Checked,
  { unreachable }: SwitchoverOrder,
  told: Told,
): Promise<readonly Ailing[]> {
  if (own.moves.length === 0) return []
  const failed = await rehearse(access, request, own)
  const [coordinator] = own.entries.entries
  for (const each of failed) {
    const isNeeded = coordinator !== undefined && sameAddress(each.node, coordinator.node)
    const why = `${formatAddress(each.node)} failed in a rehearsal of the change, ${whyAiling(each)}`
    const next = nextCommand(each, request.database)
    if (isNeeded) told.refusals.push(refusal(why, next))
    else if (unreachable === 'refuse')
      told.refusals.push(refusal(why, `${next}   # or continue without it: --allow-unreachable`))
    else told.warnings.push(`${why}; it is left out; to find the cause, run: ${next}`)
  }
  return failed
}

/** Databases of the old primaries that have Citus and are not switched: their rows would name a read-only server. */
async function lookElsewhere(
  access: Access,
  requests: readonly WalkRequest[],
  seen: View,
  moves: readonly Move[],
  told: Told,
): Promise<void> {
  const switched = requests.map(({ database }) => database)
  const others = moves.flatMap(({ from }) => {
    return from.databases.filter((name) => !switched.includes(name)).map((name) => ({ from, name }))
  })
  const looks = others.map(async ({ from, name }) => {
    await judgeOne(access, seen, from, name, await access.prober(name).probe(from.address), told)
  })
  await Promise.all(looks)
}

async function judgeOne(
  access: Access,
  seen: View,
  from: Answered,
  name: string,
  here: Observation,
  told: Told,
): Promise<void> {
  const named = needsCoordinator(here) ? await askCoordinatorsRows(access, seen, from, name) : 'unknown'
  tell(told, judgeDatabase(from, name, here, named))
}

function tell(told: Told, { refusals, warnings }: Judged): void {
  told.refusals.push(...refusals)
  told.warnings.push(...warnings)
}

async function askCoordinatorsRows(
  access: Access,
  { survey, coordinator }: View,
  from: Answered,
  name: string,
): Promise<Named> {
  const there = await access.prober(name).probe(coordinator.address)
  if (there.kind === 'unreadable' && there.cause === 'no-database') return 'no such database'
  if (there.kind !== 'answered') return 'unknown'
  return namedIn(there.citus?.catalog ?? [], from, coordinator, survey.nodes)
}

async function look(access: Access, request: WalkRequest, order: SwitchoverOrder): Promise<View> {
  const acquainted = [...request.acquainted, ...(order.to ? [order.to] : [])]
  const about = { ...request, acquainted, groups: order.host === null ? order.groups : null }
  const observed = async () => {
    const seen = view(await observePatiently(access, about, new Clock(), { whom: 'all' }), access, about)
    requireUsable(seen.coordinator, access.migration)
    // What is right in every group is asked, not in those alone that change.
    return view(seen.survey, access, { ...about, groups: null })
  }
  const seen = await observed()
  if (intentsIn(seen.survey.nodes).length === 0 || order.mode === 'dry-run') return seen
  for (const { line } of await settleIntents(access, about, seen.survey, new Clock())) request.progress(line)
  const again = await observed()
  const [left] = intentsIn(again.survey.nodes)
  if (!left) return again
  throw new CitusHaError(
    'blocked',
    `group ${left.group}: a switchover to ${formatAddress(left.to)} is running, or was interrupted (${left.phase}); citus-ha reconcile completes it, or says what is missing`,
  )
}

interface Told {
  readonly refusals: string[]
  readonly warnings: string[]
  readonly waits: string[]
  readonly plan: string[]
}

const targetRow = z.object({
  may_promote: z.boolean(),
  recovers: z.boolean(),
  apply_delay: z.string().nullable(),
  is_standby: z.boolean(),
  replay_paused: z.boolean().nullable(),
})
const primaryRow = z.object({
  may_reload: z.boolean(),
  recovers: z.boolean(),
  has_parameter_privileges: z.boolean(),
  superuser: z.boolean(),
})
const mayRows = z.array(z.object({ name: z.string(), may_alter: z.boolean() }))

/** Nobody could write down the new primary: whoever moves the name is to switch it. */
function namesToFollow({ claims }: WalkRequest, moves: readonly Move[]): string[] {
  return moves
    .filter(({ from }) => claims.following.some((name) => sameAddress(name, from.address)))
    .map(({ group, from }) =>
      refusal(
        `group ${group}: ${formatAddress(from.address)} follows the primary by itself (addresses, follows): switch it with the tool that moves that name`,
        `citus-ha status --group ${group}   # after that`,
      ),
    )
}

async function askServers(access: Access, seen: View, { group, from, to }: Move, told: Told): Promise<void> {
  const { database } = seen.survey
  let targetRecovers = true
  await asking(access, to.address, database, async (session) => {
    const [rows] = await session.run(statement('switchover/target'), LIMIT_MS)
    const at = formatAddress(to.address)
    const target = targetRow.parse(rows?.[0])
    targetRecovers = target.recovers
    if (!target.is_standby)
      told.refusals.push(
        refusal(`${at}: it has been promoted meanwhile`, `citus-ha reconcile --group ${group}`),
      )
    if (!target.may_promote) told.refusals.push(refusal(`${at}: this role may not call pg_promote()`, GRANT))
    if (target.replay_paused)
      told.refusals.push(
        refusal(
          `${at}: its replay is paused`,
          psqlAsSuperuser(to.address, database, 'SELECT pg_wal_replay_resume()'),
        ),
      )
    if (target.apply_delay !== null && target.apply_delay !== '0')
      told.refusals.push(
        refusal(
          `${at}: recovery_min_apply_delay is ${target.apply_delay}`,
          altered(to.address, database, 'recovery_min_apply_delay = 0'),
        ),
      )
  })
  await asking(access, from.address, database, async (session) => {
    const [rows] = await session.run(statement('switchover/primary'), LIMIT_MS)
    const { may_reload, recovers, has_parameter_privileges, superuser } = primaryRow.parse(rows?.[0])
    // Left over from when it was an old primary itself, and started again as it was.
    if (recovers && !targetRecovers)
      told.refusals.push(
        refusal(
          `${formatAddress(to.address)}: citus.recover_2pc_interval is -1: as a primary its Citus would recover no prepared transaction`,
          altered(to.address, database, `citus.recover_2pc_interval = '60s'`),
        ),
      )
    const [alter] = has_parameter_privileges
      ? await session.run(statement('switchover/may-alter'), LIMIT_MS)
      : [[{ name: 'default_transaction_read_only', may_alter: false }]]
    const denied = superuser ? [] : mayRows.parse(alter).filter((each) => !each.may_alter)
    const at = formatAddress(from.address)
    const next = has_parameter_privileges
      ? GRANT
      : `citus-ha switchover --group ${group} --coordinator ${shellWord(`postgres://SUPERUSER@HOST:PORT/${encodeURIComponent(database)}`)}   # before PostgreSQL 15 only a superuser may`
    const names = denied.map(({ name }) => name).join(', ')
    if (names !== '') told.refusals.push(refusal(`${at}: this role may not set ${names}`, next))
    if (!superuser && !may_reload)
      told.refusals.push(refusal(`${at}: this role may not call pg_reload_conf()`, GRANT))
    const { closed, ...clients } = await readClients(session)
    tell(told, judgeClients(from.address, clients))
    const noRight = { kind: 'unreadable', address: from.address, cause: 'privilege', detail: '' } as const
    await Promise.all(closed.map((name) => judgeOne(access, seen, from, name, noRight, told)))
    const [open] = await session.run('SELECT citus_ha.open_transactions(clock_timestamp()) AS open', LIMIT_MS)
    told.waits.push(...readBlockers(from.address, open?.[0]?.open, access.clientTexts).map(describeBlocker))
  })
}

/** What doctor would say of the servers as they will be; and what the old ones have that the new ones have not. */
async function askDoctor(
  access: Access,
  request: WalkRequest,
  seen: View,
  moves: readonly Move[],
  { maxLag, slotLoss, promoteCommand }: SwitchoverOrder,
  told: Told,
): Promise<void> {
  const servers = moves.flatMap(({ from, to }) => [from, to])
  if (servers.length === 0) return
  const facts = await factsAbout(access, request, seen, servers, maxLag)
  told.refusals.push(
    ...errorsAfter(facts, moves).map((each) =>
      refusal(`${each.id}: ${each.summary}`, each.mend ?? each.look ?? ''),
    ),
  )
  for (const { group, from, to } of moves) {
    const [was, is] = [from, to].map((node) =>
      facts.inspections.find((each) => each.node.instance === node.instance),
    )
    if (!was || !is) continue
    if (promoteCommand === null) told.refusals.push(...managed([was, is], group))
    const at = formatAddress(from.address)
    if (was.slots.kind === 'unseen')
      told.refusals.push(
        refusal(
          `${at}: its replication slots could not be read: ${was.slots.why}`,
          psqlAsOwnRole(from.address, request.database, SLOTS),
        ),
      )
    const lost = lostSlots(was, [is])
    for (const slot of was.slots.kind === 'seen' ? was.slots.value : []) {
      const what = describeSlot(slot)
      if (lost.includes(slot)) {
        told.plan.push(
          `${at}: ${what} is not on ${formatAddress(to.address)}: changes that were not consumed by then are lost`,
        )
        if (slotLoss === 'refuse')
          told.refusals.push(
            refusal(
              `${at}: ${what} would be lost`,
              `${psqlAsOwnRole(from.address, request.database, SLOTS)}   # or lose it: --allow-slot-loss`,
            ),
          )
      } else if (slot.type === 'physical') told.plan.push(`${at}: ${what} stays there`)
    }
  }
}

const SLOTS = 'SELECT slot_name, slot_type, active FROM pg_replication_slots'

const altered = (node: HostPort, database: string, setting: string) =>
  psqlAsSuperuser(node, database, `ALTER SYSTEM SET ${setting}`, 'SELECT pg_reload_conf()')

const busyRow = z.object({
  busy: z.array(
    z.object({ pid: z.number(), application: z.string().nullable(), statement: z.string().nullable() }),
  ),
})

const recentRow = z.object({ lifetime: z.string().nullable(), recent: z.boolean() })

async function askCoordinator(
  access: Access,
  { database }: WalkRequest,
  { coordinator }: View,
  moves: readonly Move[],
  told: Told,
): Promise<void> {
  const at = formatAddress(coordinator.address)
  await asking(access, coordinator.address, database, async (session) => {
    const [rows] = await session.run(statement('switchover/busy'), LIMIT_MS)
    for (const { pid, application, statement: said } of busyRow.parse(rows?.[0]).busy) {
      const what = said && access.clientTexts === 'shown' ? `: ${said.replace(/\s+/g, ' ')}` : ''
      told.refusals.push(
        refusal(
          `${at}: pid ${pid}, ${application || 'no application name'}, changes tables or moves shards${what}`,
          `${psqlAsOwnRole(coordinator.address, database, `SELECT state, query FROM pg_stat_activity WHERE pid = ${pid}`)}   # wait for its end`,
        ),
      )
    }
    const groups = intArrayLiteral(moves.map(({ group }) => group))
    const [seen] = await session.run(statement('switchover/recent').replace('$1', groups), LIMIT_MS)
    const { recent, lifetime } = recentRow.parse(seen?.[0])
    if (recent)
      told.warnings.push(
        `the group was changed less than citus.max_cached_connection_lifetime (${lifetime}) ago: a session whose first statement on it since then is a COPY or DDL may fail once (docs/switchover.md)`,
      )
  })
}

async function asking(
  access: Access,
  address: Move['from']['address'],
  database: string,
  work: (session: SessionLike) => Promise<void>,
): Promise<void> {
  const session = await openNamed(access, address, database)
  try {
    await work(session)
  } finally {
    await session.close()
  }
}

/** The whole plan, a line each. */
export function planLines({ checked, waits, plan, warnings }: Looked, order: SwitchoverOrder): string[] {
  const [first] = checked
  const entries = (first?.entries.entries ?? []).map(({ node }) => formatAddress(node))
  const demote =
    order.demoteCommand === null ? 'left running, read-only' : `stopped by: ${order.demoteCommand}`
  const moves = first?.moves ?? []
  // Where none can be carried out, nobody waits and nobody is promoted.
  const steps = [
    ...moves.map(({ group, from, to }) => {
      const [was, is] = [from, to].map(({ address }) => formatAddress(address))
      return `group ${group}: ${is} becomes the primary instead of ${was} (${lagOf(to, from)} bytes behind)`
    }),
    `writes to ${moves.map(({ group }) => `group ${group}`).join(', ')} are held on ${entries.join(', ')} for ${order.totalLimitMs} ms at most; reads continue`,
    `promoted by ${order.promoteCommand ?? 'pg_promote()'}; the old primary is ${demote}${order.demote === 'first' ? ', before the promotion: reads fail meanwhile' : ''}`,
  ]
  return [
    ...(moves.length > 0 ? steps : []),
    ...plan,
    ...waits.map((line) => `open transaction that would be waited for: ${line}`),
    ...warnings.map((line) => `warning: ${line}`),
  ]
}
