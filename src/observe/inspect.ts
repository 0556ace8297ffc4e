import { z } from 'zod'
import type { Parameters, SessionLike } from '../db/pg.ts'
import { statement } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import type { Inspection, Look, Reach } from '../model/inspection.ts'
import { MANAGERS, type Manager } from '../model/manager.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { inOneLine } from '../model/one-line.ts'
import { reachesRow } from './rows.ts'

export interface InspectOptions {
  readonly open: (address: HostPort) => Promise<SessionLike>
  /** Nodes that this one is asked to reach, by the names in their rows. */
  readonly targets: readonly HostPort[]
  /** Functions of the schema `citus_ha` that a role of citus-ha needs. */
  readonly functions: readonly string[]
  /** Aborted: no further node is asked about. */
  readonly signal: AbortSignal
}

/** For each answer, in milliseconds; the server's own limit is shorter, so that it says what was too slow. */
const ANSWER_MS = 3000
const SERVER_MS = 2500
/** How long Citus may try to connect, for one node. Its default is 30 s. */
const CONNECT_MS = 1000
/** For all the nodes that one is asked to reach. */
const REACHES_MS = 15_000

const LIMITS = [
  `SET statement_timeout = ${SERVER_MS}`,
  `SET lock_timeout = ${SERVER_MS}`,
  `SET citus.node_connection_timeout = ${CONNECT_MS}`,
].join('; ')

/**
 * A closer look at one server that answered the survey, on a session such as a change would open. Reads only, and
 * takes no lock that anybody waits for. Never throws: what could not be read says why.
 */
export async function inspect(node: Answered, options: InspectOptions): Promise<Inspection> {
  let session: SessionLike | undefined
  try {
    session = await options.open(node.address)
    return await inspectOn(session, node, options)
  } catch (error) {
    return unseen(node, messageOf(error))
  } finally {
    await session?.close()
  }
}

async function inspectOn(
  session: SessionLike,
  node: Answered,
  { targets, functions, signal }: InspectOptions,
): Promise<Inspection> {
  const look = <T>(name: string, row: z.ZodType<T>, parameters?: Parameters) =>
    lookAt(session, name, row, parameters)
  // First, and before this session sets anything: what a session gets that has set nothing yet.
  const settings = await look('probe/settings', settingsRow)
  await session.run(LIMITS, ANSWER_MS)
  const hasPools = settings.kind === 'seen' && settings.value.hasPools
  const usable = node.installed?.mayExecute === true
  return {
    node,
    session: settings,
    clock: await clockOf(session),
    prepared: await look('probe/prepared', preparedRow),
    ...(await attachedTo(session)),
    daemons: await look('probe/daemons', daemonsRow),
    slots: await look('probe/slots', slotsRow),
    missingRights: usable
      ? await look('probe/rights', rightsRow, [JSON.stringify(functions)])
      : { kind: 'seen', value: [] },
    switchoverRights:
      node.serverVersion >= 150_000
        ? await look('probe/switchover-rights', switchoverRightsRow)
        : { kind: 'seen', value: { granted: [], missing: [] } },
    pools: hasPools ? await look('probe/pools', poolsRow) : { kind: 'seen', value: [] },
    reaches: (node.citus?.catalog.length ?? 0) > 0 ? await reachesOf(session, targets, signal) : [],
  }
}

async function lookAt<T>(
  session: SessionLike,
  name: string,
  row: z.ZodType<T>,
  parameters?: Parameters,
): Promise<Look<T>> {
  try {
    const [rows] = await session.run(statement(name), ANSWER_MS, parameters)
    return { kind: 'seen', value: row.parse(rows?.[0]) }
  } catch (error) {
    return { kind: 'unseen', why: messageOf(error) }
  }
}

async function attachedTo(session: SessionLike): Promise<Pick<Inspection, 'attached' | 'managers'>> {
  const seen = await lookAt(session, 'probe/attached', attachedRow)
  if (seen.kind === 'unseen') return { attached: seen, managers: seen }
  const { standbys, managers } = seen.value
  return { attached: { kind: 'seen', value: standbys }, managers: { kind: 'seen', value: managers } }
}

async function clockOf(session: SessionLike): Promise<Inspection['clock']> {
  const asked = Date.now()
  const look = await lookAt(session, 'probe/clock', z.object({ ms: z.number() }))
  if (look.kind === 'unseen') return look
  const withinMs = (Date.now() - asked) / 2
  return { kind: 'seen', value: { offsetMs: look.value.ms - asked - withinMs, withinMs } }
}

/** One after the other: a node that hangs costs the asker `CONNECT_MS`, and all of them no more than the limit. */
async function reachesOf(
  session: SessionLike,
  targets: readonly HostPort[],
  signal: AbortSignal,
): Promise<Reach[]> {
  const until = performance.now() + REACHES_MS
  let notice: string | null = null
  session.onNotice?.((text) => {
    notice = inOneLine(text)
  })
  const reaches: Reach[] = []
  for (const to of targets) {
    notice = null
    const late = signal.aborted || performance.now() > until
    const reach = late
      ? ({ kind: 'unseen', why: `no time left after ${REACHES_MS} ms` } as const)
      : await lookAt(session, 'probe/reaches', reachesRow, [to.host, to.port])
    reaches.push({ to, reaches: reach, says: notice })
  }
  return reaches
}

function unseen(node: Answered, why: string): Inspection {
  const nothing = { kind: 'unseen', why: `${formatAddress(node.address)}: ${why}` } as const
  return {
    node,
    session: nothing,
    clock: nothing,
    prepared: nothing,
    attached: nothing,
    managers: nothing,
    daemons: nothing,
    slots: nothing,
    missingRights: nothing,
    switchoverRights: nothing,
    pools: nothing,
    reaches: [],
  }
}

const settingsRow = z
  .object({
    role: z.string(),
    extension: z.string().nullable(),
    has_pools: z.boolean(),
    settings: z.record(z.string(), z.object({ value: z.string(), source: z.string() })),
  })
  .transform(({ has_pools, ...rest }) => ({ ...rest, hasPools: has_pools }))

const preparedRow = z
  .object({
    in_use: z.number().int(),
    transactions: z.array(
      z.object({
        gid: z.string(),
        owner: z.string(),
        may_be_ours: z.boolean(),
        age_ms: z.number(),
        locks: z.array(z.string()),
      }),
    ),
  })
  .transform(({ in_use, transactions }) => ({
    inUse: in_use,
    transactions: transactions.map(({ age_ms, may_be_ours, ...rest }) => ({
      ...rest,
      ageMs: age_ms,
      mayBeOurs: may_be_ours,
    })),
  }))

const attachedRow = z
  .object({
    standbys: z.array(z.object({ application_name: z.string(), client_host: z.string().nullable() })),
    managers: z.array(z.enum(Object.keys(MANAGERS) as Manager[])),
  })
  .transform(({ standbys, managers }) => ({
    managers,
    standbys: standbys.map((each) => ({
      applicationName: each.application_name,
      clientHost: each.client_host,
    })),
  }))

const daemonsRow = z
  .object({
    daemons: z.array(z.object({ name: z.string(), pid: z.number().int(), busy_ms: z.number().nullable() })),
  })
  .transform(({ daemons }) => daemons.map(({ busy_ms, ...rest }) => ({ ...rest, busyMs: busy_ms })))

const slotsRow = z
  .object({
    slots: z.array(
      z.object({
        name: z.string(),
        type: z.enum(['physical', 'logical']),
        database: z.string().nullable(),
        active: z.boolean(),
        temporary: z.boolean(),
        failover: z.boolean(),
        synced: z.boolean(),
        unread: z.number().nullable(),
        consumer: z.string().nullable(),
      }),
    ),
  })
  .transform(({ slots }) => slots)

const switchoverRightsRow = z.object({ granted: z.array(z.string()), missing: z.array(z.string()) })

const rightsRow = z.object({ missing: z.array(z.string()) }).transform(({ missing }) => missing)

/** The keywords of a libpq connection string as a person writes it, with quotes perhaps, and what they are set to. */
function valuesOfConninfo(conninfo: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const [, key, quoted, plain] of conninfo.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))/g)) {
    values.set(key ?? '', (quoted ?? plain ?? '').replace(/\\(.)/g, '$1'))
  }
  return values
}

const poolsRow = z
  .object({ pools: z.array(z.object({ nodeid: z.number().int(), poolinfo: z.string() })) })
  .transform(({ pools }) =>
    pools.map(({ nodeid, poolinfo }) => {
      const values = valuesOfConninfo(poolinfo)
      const port = values.get('port')
      return { nodeid, host: values.get('host') || null, port: port ? Number(port) : null }
    }),
  )
