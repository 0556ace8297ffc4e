import { NO_HOOKS } from '../../../src/apply/context.ts'
import { SessionLost } from '../../../src/db/pg.ts'
import { type Claims, NO_CLAIMS } from '../../../src/diagnose/facts.ts'
import { COORDINATOR_GROUP, primaryOf } from '../../../src/model/catalog.ts'
import { CitusHaError } from '../../../src/model/failure.ts'
import type { Report } from '../../../src/model/outcome.ts'
import { type WalkRequest, walk } from '../../../src/walk/walk.ts'
import { OPTIONS } from '../../support/builders.ts'
import { flawsOf } from './check.ts'
import { use } from './clock.ts'
import { type Data, ServerError } from './copy.ts'
import { Instance } from './network.ts'
import type { Schedule } from './schedule.ts'
import type { Server } from './server.ts'
import { World } from './world.ts'

/** Walks after the faults until everything is right; one more for each group that has to be vouched for. */
export const WALKS_TO_CONVERGE = 5
const MOST_RIVALS = 2
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
  const promoted = schedule.events.map(({ group, standby, old }) => {
    const members = world.members(group % world.groups.length).filter((server) => server.inRecovery)
    const chosen = members[standby % Math.max(1, members.length)]
    if (chosen) world.promote(chosen, old)
    return chosen
  })
  const vouched = schedule.vouched === null ? undefined : promoted[schedule.vouched]
  world.rival = () => {
    if (world.instances.length <= MOST_RIVALS) start(world, 1, null)
  }
  start(world, 2, vouched?.name ?? null)
  if (schedule.rival !== null) world.clock.after(schedule.rival, null, world.rival)
  await world.clock.run(() => over(world), LONGEST_MS)
  world.rethrow()
  await calm(world)
  return await converge(world)
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
    return report
  } catch (error) {
    const expected = [CitusHaError, SessionLost, ServerError].some((known) => error instanceof known)
    world.note(`${instance.name}: ${String(error)}`)
    world.count(error instanceof CitusHaError ? `error ${error.code}` : 'raw error')
    if (!expected || (instance.name.startsWith('final') && !(error instanceof CitusHaError))) throw error
    return null
  }
}

export function requestOf(world: World, { vouched, name }: Instance): WalkRequest {
  const claims: Claims = vouched ? { ...NO_CLAIMS, vouched: { host: vouched, port: 5432 } } : NO_CLAIMS
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
    forceAfterMs: null,
    began: performance.now(),
    decisionWaitMs: 500,
    witnessFreshnessMs: 500,
    acquainted: [],
    known: null,
    seen: null,
    fenceOf: () => null,
    quiesced: [],
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
    settle(world, group, registered)
  }
  // What idle sessions hold is given back by then.
  const until = world.clock.now + 20_000
  world.clock.after(20_000, null, () => undefined)
  await world.clock.run(() => world.clock.now >= until, LONGEST_MS * 2)
}

function settle(world: World, group: number, registered: string | undefined): void {
  // Nobody goes back to an old coordinator: a newer one's epochs would refuse it for ever.
  const alive = (server: Server) => (server.up && group !== COORDINATOR_GROUP ? 1000 : 0)
  const rank = (server: Server) =>
    alive(server) + (server.name === registered ? 100 : 0) + 2 * server.timeline + (server.up ? 1 : 0)
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
