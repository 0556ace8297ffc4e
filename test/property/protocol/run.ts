import { NO_HOOKS } from '../../../src/apply/hooks.ts'
import { SessionLost } from '../../../src/db/pg.ts'
import { type Claims, NO_CLAIMS } from '../../../src/diagnose/facts.ts'
import { COORDINATOR_GROUP, primaryOf } from '../../../src/model/catalog.ts'
import { CitusHaError } from '../../../src/model/failure.ts'
import type { Report } from '../../../src/model/outcome.ts'
import { walk } from '../../../src/walk/walk.ts'
import type { WalkRequest } from '../../../src/walk/walk-request.ts'
import { OPTIONS } from '../../support/builders.ts'
import { checkEnding, flawsOf } from './check.ts'
import { use } from './clock.ts'
import { type Data, ServerError } from './copy.ts'
import { Instance } from './network.ts'
import { HAPPENS } from './restores.ts'
import type { Schedule } from './schedule.ts'
import type { Server } from './server.ts'
import { World } from './world.ts'

/** Walks after the faults until everything is right; one more for each group that has to be vouched for. */
export const WALKS_TO_CONVERGE = 5
const MOST_RIVALS = 2
const CAUGHT_UP_MS = 400
/** What was written down longer ago than a survey takes. */
const WRITTEN_LONG_AGO_MS = 12_000
export const LONGEST_MS = 300_000

export interface Ran {
  readonly world: World
  /** Walks after the faults. */
  readonly walks: number
}

/** Carries out a schedule in virtual time. @throws Error at the first broken invariant, with the log of it all */
export async function run(schedule: Schedule): Promise<Ran> {
  try {
    return await attempt(new World(schedule, false), schedule)
  } catch {
    // Once more for the log: the same schedule is the same run.
    const world = new World(schedule, true)
    return await attempt(world, schedule).catch((error: unknown) => {
      const told = error instanceof Error ? (error.stack ?? error.message) : String(error)
      throw new Error([told, '--- log', ...world.log].join('\n'))
    })
  }
}

async function attempt(world: World, schedule: Schedule): Promise<Ran> {
  use(world.clock)
  try {
    const walks = await live(world, schedule)
    world.rethrow()
    return { world, walks }
  } finally {
    use(null)
  }
}

async function live(world: World, schedule: Schedule): Promise<number> {
  await prepare(world, schedule.before)
  const promoted = schedule.events.map((event) => happen(world, event))
  const vouched = schedule.vouched === null ? undefined : promoted[schedule.vouched]
  const before = world.instances.length
  world.rival = () => {
    if (world.instances.length - before <= MOST_RIVALS) start(world, 1, null)
  }
  start(world, 2, vouched?.name ?? null)
  if (schedule.rival !== null) world.clock.after(schedule.rival, null, world.rival)
  await world.clock.run(() => over(world), LONGEST_MS)
  world.rethrow()
  await calm(world)
  return await converge(world)
}

/** What has been written down of the groups before anything happens. */
async function prepare(world: World, before: Schedule['before']): Promise<void> {
  if (before === 'nothing') return
  world.calm = true
  const walks = async () => {
    start(world, 1, null)
    await world.clock.run(() => over(world), LONGEST_MS)
    await passing(world, WRITTEN_LONG_AGO_MS)
  }
  await passing(world, CAUGHT_UP_MS)
  await walks()
  if (before !== 'a look') {
    const of = before === 'a failover of a worker' ? 1 : COORDINATOR_GROUP
    const next = world.members(of).find(({ inRecovery }) => inRecovery)
    if (next) world.promote(next, 'dead')
    for (const other of world.members(of)) if (other.up && other.inRecovery && next) other.follow(next)
    await walks()
    await walks()
  }
  for (const group of world.groups) {
    world.backUp(group)
    world.load(group)
  }
  world.begin()
}

/** Nothing is waited for but time. @throws as the world */
export async function passing(world: World, ms: number): Promise<void> {
  const until = world.clock.now + ms
  world.clock.after(ms, null, () => undefined)
  await world.clock.run(() => {
    world.rethrow()
    return world.clock.now >= until
  }, until + LONGEST_MS)
}

function happen(world: World, { what, group, standby, old }: Schedule['events'][number]): Server | undefined {
  const members = world.members(group % world.groups.length)
  const standbys = members.filter(({ inRecovery }) => inRecovery)
  const chosen = standbys[standby % Math.max(1, standbys.length)]
  const isPromotion = what === 'promotion' || what === 'stale promotion'
  if (isPromotion && chosen) {
    // The others have what it has not got.
    if (what === 'stale promotion') for (const one of standbys) if (one !== chosen) one.replay()
    world.promote(chosen, old)
    return chosen
  }
  if (isPromotion) return undefined
  const whom = (old === 'follows' ? undefined : chosen) ?? world.primaries(group % world.groups.length)[0]
  if (old === 'dead') for (const one of world.primaries(whom?.group ?? 0)) if (one !== whom) one.crash()
  world.count(what)
  if (whom) HAPPENS[what](world, whom)
  return whom
}

export function over(world: World): boolean {
  world.rethrow()
  return world.instances.every(({ state, walks }) => state === 'dead' || walks === 0)
}

/** Sets an instance going. */
function start(world: World, times: number, vouched: string | null): Instance {
  const instance = new Instance(world, `ha${world.instances.length + 1}`)
  world.instances.push(instance)
  instance.walks = times
  instance.vouched = vouched
  world.clock.after(0, instance, () => {
    void several(world, instance).catch((error: unknown) => world.fail(error))
  })
  return instance
}

async function several(world: World, instance: Instance): Promise<void> {
  for (; instance.walks > 0; instance.walks--) {
    await once(world, instance)
    instance.vouched = null
  }
}

async function once(world: World, instance: Instance): Promise<Report | null> {
  instance.looking = false
  world.note(`${instance.name} walks${instance.vouched ? `, vouching for ${instance.vouched}` : ''}`)
  try {
    const report = await walk(instance, requestOf(world, instance))
    const groups = report.groups.map(({ group, code }) => `${group} ${code}`).join(', ')
    world.count(report.outcome)
    world.note(`${instance.name}: ${report.outcome} (${groups}) ${report.warnings.join('; ')}`)
    if (world.calm) checkEnding(world, instance.name, report)
    return report
  } catch (error) {
    const expected = [CitusHaError, SessionLost, ServerError].some((known) => error instanceof known)
    world.note(`${instance.name}: ${String(error)}`)
    world.count(error instanceof CitusHaError ? `error ${error.code}` : 'raw error')
    if (!expected || (instance.name.startsWith('final') && !(error instanceof CitusHaError))) throw error
    return null
  }
}

export function requestOf(world: World, { vouched, name, maxLag }: Instance): WalkRequest {
  const claims: Claims = { ...NO_CLAIMS, vouched: vouched ? { host: vouched, port: 5432 } : null, maxLag }
  return {
    database: 'app',
    seeds: world.members(COORDINATOR_GROUP).map(({ address }) => address),
    claims,
    groups: null,
    aliases: [],
    routing: OPTIONS.routing,
    register: [],
    cluster: 'sim',
    waitMs: 300,
    deadlineMs: 1500,
    lockTimeoutMs: 100,
    longestRoundMs: 2000,
    statementMs: 2000,
    forceAfterMs: null,
    began: performance.now(),
    decisionWaitMs: 500,
    witnessFreshnessMs: 500,
    acquainted: [],
    known: null,
    seen: null,
    silence: null,
    fenceOf: () => null,
    quiesced: [],
    believedDown: null,
    ailing: [],
    mode: 'apply',
    madeBy: name,
    signal: new AbortController().signal,
    hooks: NO_HOOKS,
    inFlight: new Set(),
    progress: (line) => world.note(`${name}: ${line}`),
  }
}

/** Faults stop: routes and servers are back, and of several primaries of a group one is left. */
async function calm(world: World): Promise<void> {
  world.note('calm')
  world.calm = true
  world.heal()
  const catalog = world.leading()?.durable.rows ?? []
  for (const group of world.groups) {
    const registered = group === COORDINATOR_GROUP ? undefined : primaryOf(catalog, group)?.address.host
    const primary = settle(world, group, registered)
    // As every message about it says: only where no other has taken its place.
    if (primary.durable.retired)
      await primary.write([(data) => ({ ...data, retired: false })], 'a person puts it back', false)
  }
  // What idle sessions hold is given back by then.
  await passing(world, 20_000)
  await rollBackOrphans(world)
}

/**
 * What a person does, where a coordinator is gone for good under whose timeline something is prepared: no older one may decide
 * that, since the newer one may have. `citus-ha recover` names it.
 */
async function rollBackOrphans(world: World): Promise<void> {
  const timeline = world.leading()?.timeline ?? 0
  for (const server of world.servers.values()) {
    if (!server.up || server.inRecovery) continue
    for (const gid of server.durable.prepared.keys()) {
      if (timelineOf(gid) <= timeline) continue
      world.count('an orphan')
      await server.resolvePrepared(gid, 'roll back')
    }
  }
}

function settle(world: World, group: number, registered: string | undefined): Server {
  // Nobody goes back to an old coordinator: a newer one's epochs would refuse it for ever.
  const alive = (server: Server) => (server.up && group !== COORDINATOR_GROUP ? 10_000 : 0)
  const begun = group === COORDINATOR_GROUP ? newestPrepared(world) : 0
  const rank = (server: Server) =>
    (server.durable.retired ? -20_000 : 0) +
    (server.timeline >= begun ? 5000 : 0) +
    alive(server) +
    (server.name === registered ? 100 : 0) +
    2 * world.rankOf(server) +
    (server.up ? 1 : 0)
  const primaries = world.members(group).filter((server) => !server.inRecovery)
  const [primary] = primaries.sort((a, b) => rank(b) - rank(a))
  if (!primary) throw new Error(`group ${group} has lost its primary`)
  primary.start()
  for (const other of world.members(group)) {
    if (other === primary) continue
    other.start()
    other.upstream = primary.name
    if (!other.inRecovery || !other.streamsFrom()) other.follow(primary)
    else other.replay()
  }
  world.note(`group ${group}: ${primary.name} is the primary`)
  return primary
}

/** What a coordinator of that timeline has prepared, no older one rolls back. */
function newestPrepared(world: World): number {
  const gids = [...world.servers.values()].flatMap(({ durable }) => [...durable.prepared.keys()])
  return Math.max(0, ...gids.map(timelineOf))
}

/** Of the coordinator that prepared it; 0 where it is not ours. */
function timelineOf(gid: string): number {
  return Number(/^citus_ha_.*_(\d+)_\d+_[^_]+_\d+$/.exec(gid)?.[1] ?? 0)
}

async function converge(world: World): Promise<number> {
  let flaws: string[] = []
  let doubted: number[] = []
  let vouching = 0
  for (let n = 1; n <= WALKS_TO_CONVERGE + vouching; n++) {
    const group = n > 2 ? doubted[0] : undefined
    const vouched = group === undefined ? null : (world.primaries(group)[0]?.name ?? null)
    if (vouched) vouching++
    const instance = new Instance(world, `final${n}`)
    instance.vouched = vouched
    instance.walks = 1
    world.instances.push(instance)
    let report: Report | null = null
    world.clock.after(0, instance, () => {
      once(world, instance).then(
        (given) => {
          report = given
          instance.walks = 0
        },
        (error: unknown) => world.fail(error),
      )
    })
    await world.clock.run(() => over(world), LONGEST_MS * 2)
    await sync(world)
    flaws = flawsOf(world)
    if (flaws.length === 0) return n
    doubted = refusedIn(report)
  }
  throw new Error(`after ${WALKS_TO_CONVERGE + vouching} walks:\n${flaws.join('\n')}`)
}

function refusedIn(report: Report | null): number[] {
  return (report?.refusals ?? []).map(({ group }) => group)
}

/** Citus's own daemon brings the copies up to date whose flag says that they are not. */
export async function sync(world: World): Promise<void> {
  const leading = world.leading()
  if (!leading) return
  for (const row of leading.durable.rows) {
    const node = world.server(row.address.host)
    if (row.metadatasynced || !row.hasmetadata || !node?.up || node.inRecovery) continue
    if (!node.locks.isFree('pg_dist_node') || !leading.locks.isFree('pg_dist_node')) continue
    const mark = (data: Data): Data => ({
      ...data,
      rows: data.rows.map((each) => (each.nodeid === row.nodeid ? { ...each, metadatasynced: true } : each)),
    })
    await leading.write([mark], 'Citus marks as synced', false)
    const { rows } = leading.durable
    await node.write([(data) => ({ ...data, rows })], 'Citus syncs', false)
  }
}
