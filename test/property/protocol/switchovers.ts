import { SessionLost } from '../../../src/db/pg.ts'
import { COORDINATOR_GROUP, primaryOf } from '../../../src/model/catalog.ts'
import { CitusHaError } from '../../../src/model/failure.ts'
import type { SwitchoverReport } from '../../../src/model/switchover.ts'
import type { SwitchoverOrder } from '../../../src/switchover/order.ts'
import { switchover } from '../../../src/switchover/switchover.ts'
import { walk } from '../../../src/walk/walk.ts'
import { recoverTwoPhase, setGoing } from './clients.ts'
import { use } from './clock.ts'
import { ServerError } from './copy.ts'
import { Ledger } from './ledger.ts'
import { HAPPENS } from './meanwhile.ts'
import { Instance } from './network.ts'
import { LONGEST_MS, over, passing, requestOf, sync } from './run.ts'
import type { Schedule } from './schedule.ts'
import { bytesAt, positionOf, type Server } from './server.ts'
import { useShell } from './shell.ts'
import { checkReport, flawsAfterSwitchovers } from './switchover-check.ts'
import type { SwitchoverSchedule } from './switchover-schedule.ts'
import { World } from './world.ts'

const TOTAL_LIMIT_MS = 2000
/** Sessions of a citus-ha that was stopped for good are ended by the servers within that. */
const CALM_MS = 130_000
const MOST_RIVALS = 4

/** Carries out a schedule in virtual time. @throws Error at the first broken invariant, with the log of it all */
export async function runSwitchovers(schedule: SwitchoverSchedule): Promise<World> {
  try {
    return await attempt(schedule, false)
  } catch {
    // Once more for the log: the same schedule is the same run.
    const world = new World(worldOf(schedule), true)
    return await live(world, schedule).catch((error: unknown) => {
      const told = error instanceof Error ? (error.stack ?? error.message) : String(error)
      throw new Error([told, '--- log', ...world.log].join('\n'))
    })
  }
}

async function attempt(schedule: SwitchoverSchedule, logging: boolean): Promise<World> {
  return await live(new World(worldOf(schedule), logging), schedule)
}

function worldOf({ seed, standbys, slowReplay, faults }: SwitchoverSchedule): Schedule {
  const nothing = { synchronous: false, recorded: true, events: [], rival: null, vouched: null }
  const before = 'nothing'
  return { ...nothing, before, seed, standbys, slowReplay, faults }
}

async function live(world: World, schedule: SwitchoverSchedule): Promise<World> {
  use(world.clock)
  useShell(world)
  try {
    const ledger = new Ledger(world)
    world.ledger = ledger
    if (schedule.synchronous) wait(world)
    // Standbys have caught up by then.
    await passing(world, 400)
    setGoing(world, ledger, schedule.clients)
    for (const [n, order] of schedule.orders.entries())
      orderSwitchover(world, order, schedule.stops[n] ?? 'no', schedule.promotes[n] ?? null)
    world.rival = () => {
      if (world.instances.length <= MOST_RIVALS) begin(world, 'ha', (instance) => reconcile(world, instance))
    }
    for (const at of schedule.reconciles) world.clock.after(at, null, world.rival)
    await passing(world, 950)
    await world.clock.run(() => over(world), LONGEST_MS)
    await calm(world)
    let last = begin(world, 'final', (instance) => reconcile(world, instance))
    await world.clock.run(() => over(world), LONGEST_MS * 2)
    for (const given of promotedWithLess(world)) {
      world.count('vouched for')
      last = begin(world, 'final', (instance) => reconcile(world, instance))
      last.vouched = given.name
      await world.clock.run(() => over(world), LONGEST_MS * 2)
    }
    await settle(world)
    const flaws = [...flawsAfterSwitchovers(world), ...ledger.missing((group) => registered(world, group))]
    if (flaws.length > 0) throw new Error(`after ${last.name}:\n${flaws.join('\n')}`)
    world.rethrow()
    return world
  } finally {
    use(null)
    useShell(null)
  }
}

/** `synchronous_standby_names` of each primary that has a standby. */
function wait(world: World): void {
  for (const group of world.groups) {
    const [primary] = world.primaries(group)
    const [standby] = primary ? world.followers(primary.name) : []
    if (primary && standby) primary.syncStandby = standby.name
  }
}

function begin(world: World, prefix: string, work: (instance: Instance) => Promise<void>): Instance {
  const instance = new Instance(world, `${prefix}${world.instances.length + 1}`)
  world.instances.push(instance)
  instance.walks = 1
  world.clock.after(0, instance, () => {
    work(instance).then(
      () => {
        instance.walks = 0
      },
      (error: unknown) => world.fail(error),
    )
  })
  return instance
}

/** What a run may end with beside its report. */
function unlessFlaw(world: World, { name }: Instance, error: unknown): void {
  const expected = [CitusHaError, SessionLost, ServerError].some((known) => error instanceof known)
  world.note(`${name}: ${String(error)}`)
  world.count(error instanceof CitusHaError ? `error ${error.code}` : 'raw error')
  if (!expected) throw error
}

async function reconcile(world: World, instance: Instance): Promise<void> {
  world.note(`${instance.name} reconciles`)
  try {
    const final = instance.name.startsWith('final')
    const request = requestOf(world, instance)
    const report = await walk(instance, {
      ...request,
      deadlineMs: final ? 20_000 : request.deadlineMs,
      progress: progress(world, instance),
    })
    world.note(
      `${instance.name}: ${report.outcome} ${report.warnings.join('; ')} ${report.refusals.map(({ summary }) => summary).join('; ')}`,
    )
    world.count(report.outcome)
  } catch (error) {
    unlessFlaw(world, instance, error)
  }
}

const progress =
  (world: World, { name }: Instance) =>
  (line: string) => {
    world.note(`${name}: ${line}`)
    if (/is undone/.test(line)) world.count('undone by another')
    if (/is completed: .* is promoted/.test(line)) world.count('carried on by another')
    if (/has promoted/.test(line)) world.count('changed by another')
    if (/is promoted, though/.test(line)) world.count('promoted before its time')
    if (/is cleaned up/.test(line)) world.count('overtaken')
  }

type Given = SwitchoverSchedule['orders'][number]

type Stops = SwitchoverSchedule['stops'][number]

function orderSwitchover(world: World, given: Given, stops: Stops, promoteCommand: string | null): void {
  world.clock.after(given.at, null, () => {
    begin(world, 'sw', async (instance) => {
      instance.switches = true
      const able = world.groups.filter((group) => world.members(group).length > 1)
      const groups = [...new Set(given.groups.map((n) => able[n % able.length] ?? 0))]
      const busy = world.instances.filter(
        (one) => one !== instance && one.name.startsWith('sw') && one.walks > 0,
      )
      if (busy.some(({ state }) => state !== 'dead')) world.count('two at once')
      world.note(`${instance.name} switches over ${groups}`)
      const order = { ...orderOf(world, groups, given, stops), promoteCommand }
      const { dies, meanwhile } = given
      const [group = 0] = groups
      const [from, to] = [registered(world, group)?.name ?? '', order.to?.host ?? null]
      const hooks = {
        reached: async (point: string) => {
          world.note(`${instance.name} reached ${point}`)
          world.reached(point)
          if (point === meanwhile?.at) {
            world.note(`MEANWHILE ${meanwhile.what}`)
            world.count(`meanwhile: ${meanwhile.what}`)
            HAPPENS[meanwhile.what](world, { group, from, to })
          }
          if (point !== dies?.at) return
          world.count(`dies at ${point}`)
          if (dies.how === 'killed') instance.kill()
          else instance.freeze()
          await new Promise(() => undefined)
        },
      }
      const request = { ...requestOf(world, instance), hooks, progress: progress(world, instance) }
      try {
        const report = await switchover(instance, [request], order)
        tell(world, instance, report)
        checkReport(world, instance, report)
      } catch (error) {
        // Where it can't give a report it has words for that, and an exit code.
        if (!(error instanceof CitusHaError)) throw error
        unlessFlaw(world, instance, error)
      }
    })
  })
}

function orderOf(world: World, groups: readonly number[], { to }: Given, stops: Stops): SwitchoverOrder {
  const [group = 0] = groups
  const rows = world.leading()?.durable.rows ?? []
  const others = world.members(group).filter(({ name }) => name !== primaryOf(rows, group)?.address.host)
  const target = to === null || groups.length > 1 ? undefined : others[to % Math.max(1, others.length)]
  return {
    groups,
    host: null,
    to: target?.address ?? null,
    promoteCommand: null,
    demoteCommand: stops === 'no' ? null : 'stop',
    demote: stops === 'no' ? 'last' : 'first',
    undoCommand: stops === 'and is started again' ? 'start' : null,
    totalLimitMs: TOTAL_LIMIT_MS,
    maxLag: 1_000_000,
    unreachable: 'refuse',
    slotLoss: 'refuse',
    mode: 'apply',
    confirm: async () => true,
  }
}

function tell(world: World, { name }: Instance, report: SwitchoverReport): void {
  const { outcome, why, refusals, left, warnings } = report
  world.note(`${name}: ${outcome} ${why ?? ''} ${[...refusals, ...left, ...warnings].join('; ')}`)
  world.count(`switchover ${outcome}`)
}

function registered(world: World, group: number): Server | undefined {
  const row = primaryOf(world.leading()?.durable.rows ?? [], group)
  return row && world.server(row.address.host)
}

/**
 * Outsiders may promote a standby that has not got all that is on record: that is refused until a person vouches for it,
 * who can see whether the one that has more is gone. Nobody else is left of such a group.
 */
function promotedWithLess(world: World): Server[] {
  return world.groups.flatMap((group) => {
    const [only, ...others] = world.primaries(group)
    if (!only || others.length > 0 || !world.othersPromoted.has(only)) return []
    return registered(world, group) !== only && isBehindRecord(world, only) ? [only] : []
  })
}

/** Whether any server has it on record that its line went further than where this one has left it. */
function isBehindRecord(world: World, { group, history }: Server): boolean {
  const recorded = [...world.servers.values()].flatMap(({ durable }) => durable.positions)
  return recorded.some((position) => {
    const left = history.find(({ timeline }) => timeline === position.timeline)
    return position.group === group && left !== undefined && position.lsn > bytesAt(positionOf(left.lsn))
  })
}

/** Faults stop: routes and servers are back, those that others have replaced as standbys of the new ones. */
async function calm(world: World): Promise<void> {
  world.note('calm')
  world.calm = true
  world.heal()
  for (const group of world.groups) tidy(world, group)
  // What the dead had sent has arrived long before a person reads what is written down.
  await passing(world, 100)
  for (const group of world.groups) finishByHand(world, group)
  await passing(world, CALM_MS)
}

/** Of those that were promoted at the same time one is left, and whom others have replaced follows it. */
function tidy(world: World, group: number): void {
  const members = world.members(group)
  const writable = members.filter(({ inRecovery }) => !inRecovery)
  const highest = Math.max(...writable.map(({ timeline }) => timeline))
  const newest = writable.filter(({ timeline }) => timeline === highest)
  const primary =
    newest.find((one) => one === registered(world, group)) ??
    newest.find((one) => world.othersPromoted.has(one)) ??
    newest[0]
  if (!primary) throw new Error(`group ${group} has lost its primary`)
  for (const one of members) {
    // By others, whoever has switched over since; citus-ha leaves its own as it left them.
    const isReplaced = members.some(
      (each) => world.othersPromoted.has(each) && (each === primary || each.timeline > one.timeline),
    )
    // Promoted by others while a switchover had asked its target, which is further: two take writes, and no evidence tells whose
    // count. A person leaves one of them.
    const isBeside = world.othersPromoted.has(one)
    if (one !== primary && !one.inRecovery && (isReplaced || isBeside || newest.includes(one)))
      one.follow(primary)
    else one.start()
  }
  for (const one of members) {
    if (!one.inRecovery) continue
    if (one.streamsFrom()) one.replay()
    else one.follow(primary)
  }
  world.note(`group ${group}: ${primary.name} is the primary`)
}

/**
 * A promotion by a command that was cut off is nobody's to repeat but a person's, who is told so: by what the old primary has
 * written down, which may not have come as far as the coordinator's, unless that one was stopped first.
 */
function finishByHand(world: World, group: number): void {
  const old = registered(world, group)
  const its = old?.up && !old.inRecovery ? old : null
  const noted = [...(world.leading()?.durable.intents ?? []), ...(its?.durable.intents ?? [])]
  const own = its?.durable.intents.find((each) => each.group === group)
  for (const { phase, byCommand, stopped, group: of, to } of noted) {
    const target = world.server(to.host)
    if (its && !stopped && own?.phase !== 'promoting') continue
    if (of !== group || phase !== 'promoting' || !byCommand || !target?.inRecovery || !old?.readOnly) continue
    world.count('promoted by hand')
    target.replay()
    target.promote()
    return
  }
}

/** What Citus does by itself in a while: its recovery, and its sync of copies. */
async function settle(world: World): Promise<void> {
  // A configuration that is read anew, WAL on its way.
  await passing(world, 500)
  const done = { recovered: false }
  world.clock.after(0, null, () => {
    const all = [...world.servers.values()].filter(
      (server) => !server.readOnly || server.group === COORDINATOR_GROUP,
    )
    Promise.all(all.map((server) => recoverTwoPhase(world, server))).then(
      () => {
        done.recovered = true
      },
      (error: unknown) => world.fail(error),
    )
  })
  await world.clock.run(() => {
    world.rethrow()
    return done.recovered
  }, LONGEST_MS * 2)
  await sync(world)
}
