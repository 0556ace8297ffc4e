import { type Catalog, COORDINATOR_GROUP, groupsOf, primaryOf } from '../../../src/model/catalog.ts'
import { formatAddress, sameAddress } from '../../../src/model/node.ts'
import { flawOf } from '../../../src/plan/simulate.ts'
import { type Change, type Data, isBefore } from './copy.ts'
import type { Instance } from './network.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** What must be true of everything that any server makes durable. @throws Error naming what is not */
export function checkWrite(
  world: World,
  server: Server,
  before: Data,
  after: Data,
  how: string,
  by: Instance | undefined,
): void {
  const say = (what: string): never => {
    throw new Error(`at ${world.clock.now} ms, ${server.name}, ${how}: ${what}`)
  }
  for (const change of after.changes.slice(before.changes.length)) {
    for (const gid of change.gids) {
      world.decided.set(gid, change)
      world.decidedAt.set(gid, world.clock.now)
    }
    checkDecision(world, before.rows, change, say)
  }
  const [, verb, gid] = /^(commit|roll back) (citus_ha_\S+)$/.exec(how) ?? []
  if (verb === 'commit' && gid && !world.decided.has(gid)) say('it was never decided')
  if (verb === 'roll back' && gid && isDecidedBy(world.leading(), gid) && !isBesideBackup(world, gid, by))
    say('it was decided')
  const [made = world.decided.get(verb === 'commit' && gid ? gid : '')] = after.changes.slice(
    before.changes.length,
  )
  // A decision that a person vouched for; or his word in this very run, which workers write down that no change reaches.
  const word = by?.vouched ? world.get(by.vouched) : undefined
  const vouched = made ? vouchedBy(world, made) : word
  // On a backup, the epochs of what was given up count no more.
  const isBack = vouched?.group === COORDINATOR_GROUP
  if (isBefore(after.epoch, before.epoch) && !isBack) say('its epoch goes back')
  checkLines(before, after, vouched, say)
  if (before.rows === after.rows) return
  const flaw = flawOf(after.rows)
  if (flaw) say(flaw)
  if (!how.startsWith('Citus')) {
    if (!isBefore(before.epoch, after.epoch) && !isBack) say('an older epoch overwrites a newer one')
    checkIdentities(before.rows, after.rows, say)
  }
  for (const row of after.rows) {
    const target = world.server(row.address.host)
    if (row.role === 'primary' && (!target || target.group !== row.group))
      say(`group ${row.group} is sent to ${formatAddress(row.address)}`)
  }
}

function isDecidedBy(coordinator: Server | undefined, gid: string): boolean {
  return coordinator?.durable.changes.some((change) => change.gids.includes(gid)) === true
}

/**
 * It was decided when whoever rolls it back had looked already, and had seen a backup of the coordinator that was promoted beside
 * it, and lacked nothing that was known then: by what could be known, that one leads.
 */
function isBesideBackup(world: World, gid: string, by: Instance | undefined): boolean {
  const leading = world.leading()
  const isNewer = ({ name, timeline, inRecovery }: Server) =>
    name !== leading?.name && !inRecovery && timeline > (leading?.timeline ?? 0)
  const found =
    by !== undefined &&
    (world.decidedAt.get(gid) ?? 0) > by.surveyed &&
    world.members(COORDINATOR_GROUP).some(isNewer)
  if (found) world.count('decided beside a backup')
  return found
}

/** The record of a line only goes forward, along that line, but for a decision on a vouched promotion. */
function checkLines(
  before: Data,
  after: Data,
  vouched: Server | undefined,
  say: (what: string) => never,
): void {
  for (const was of before.lineage) {
    if (vouched?.group === was.group) continue
    const is = after.lineage.find(({ group }) => group === was.group)
    if (!is || is === was) continue
    const kept = was.history.every((entry, n) => JSON.stringify(entry) === JSON.stringify(is.history[n]))
    const same = is.timeline === was.timeline && is.history.length === was.history.length
    const descends = is.timeline > was.timeline && is.history[was.history.length]?.timeline === was.timeline
    if (!kept || !(same || descends))
      say(`group ${was.group}: the line ${JSON.stringify(was)} is overwritten by ${JSON.stringify(is)}`)
  }
}

/**
 * Nobody writes down a primary who has less of its group's line than a member that its survey saw, or than it knows from the
 * records, unless a person vouched for it. As a coordinator counts the one on whom a decision is made.
 * @throws Error naming what it lacks
 */
export function checkWrittenDown(world: World, by: Instance, at: Server, before: Data, after: Data): void {
  const [change] = after.changes.slice(before.changes.length)
  const decided = change ? decidedIn(world, at, before, change) : []
  for (const [group, primary] of new Map([...toldIn(by, before, after), ...decided])) {
    const old = primaryOf(before.rows, group)?.address.host
    if (!old) continue
    // Of a switchover the clients' writes tell; it decides like any other change.
    if (by.switches || before.intents.some((intent) => intent.group === group)) {
      if (change) world.evidence.decided(primary)
      continue
    }
    const isVouched = by.vouched === primary.name
    const why = isVouched ? null : world.evidence.against(by, at, group, primary, old)
    if (why)
      throw new Error(
        `at ${world.clock.now} ms, ${by.name} writes ${primary.name} down as the primary of group ${group}: ${why}`,
      )
    world.count(
      isVouched ? 'written down by a person' : `written down ${change ? 'by a change' : 'as it is'}`,
    )
    if (change || isVouched) world.evidence.decided(primary)
  }
}

function decidedIn(world: World, at: Server, before: Data, { after }: Change): Map<number, Server> {
  const found = new Map([[COORDINATOR_GROUP, at]])
  for (const group of groupsOf(after)) {
    const [was, is] = [primaryOf(before.rows, group), primaryOf(after, group)]
    if (was && is && !sameAddress(was.address, is.address)) found.set(group, world.get(is.address.host))
  }
  return found
}

/** Whose line, or whose position as a primary, was written down without a decision. */
function toldIn(by: Instance, before: Data, after: Data): Map<number, Server> {
  const found = new Map<number, Server>()
  const writable = [...by.saw.values()].filter(({ inRecovery }) => !inRecovery).map(({ server }) => server)
  for (const line of after.lineage.filter((row) => !before.lineage.includes(row))) {
    const same = (one: Server) =>
      one.group === line.group &&
      one.timeline === line.timeline &&
      JSON.stringify(one.history) === JSON.stringify(line.history)
    const [only, ...more] = writable.filter(same)
    if (only && more.length === 0) found.set(line.group, only)
  }
  for (const row of after.positions.filter((one) => !before.positions.includes(one) && !one.inRecovery)) {
    const server = writable.find(({ name }) => name === row.address.host)
    if (server) found.set(row.group, server)
  }
  return found
}

function checkIdentities(before: Catalog, after: Catalog, say: (what: string) => never): void {
  const identity = (rows: Catalog) =>
    rows
      .map(({ nodeid, group, role, cluster }) => [nodeid, group, role, cluster].join())
      .sort()
      .join(' ')
  if (identity(before) !== identity(after)) say('a row is another node than before')
}

function vouchedBy(world: World, { madeBy }: Change): Server | undefined {
  const instance = world.instances.find(({ name }) => name === madeBy)
  return instance?.vouched ? world.get(instance.vouched) : undefined
}

/** At the moment of a decision: whoever is written down as a primary is one, and alone in that. */
function checkDecision(world: World, before: Catalog, change: Change, say: (what: string) => never): void {
  const decider = world.instances.find(({ name }) => name === change.madeBy)
  if (!decider) throw new Error(`nobody is called ${change.madeBy}`)
  for (const group of groupsOf(change.after)) {
    const was = primaryOf(before, group)
    const is = primaryOf(change.after, group)
    if (!was || !is || sameAddress(was.address, is.address)) continue
    const server = world.get(is.address.host)
    if (!server.everPrimary) say(`${server.name} is no primary`)
    if (group === COORDINATOR_GROUP || vouchedBy(world, change) === server) continue
    const atWork = (one: Server) =>
      one.up &&
      !one.inRecovery &&
      !one.durable.retired &&
      !one.readOnly &&
      world.quietSince(decider.surveyed, one.name)
    for (const rival of world.members(group)) {
      if (rival === server || !atWork(rival) || !world.quietSince(decider.surveyed, decider.name, rival.name))
        continue
      // Of a switchover, which looks at those alone whom it has promoted: two promote at the same moment.
      if (decider.switches && world.othersPromoted.has(rival)) world.count('promoted beside others')
      else say(`${rival.name} took writes all the time, and ${decider.name} reached it`)
    }
    const old = world.get(was.address.host)
    const others = [...world.servers.values()].filter((one) => one !== old && one !== server)
    // Whoever may have found it silent: without a route, without its own stream, or disturbed meanwhile.
    const witness = others.find(
      (one) =>
        !world.quietSince(decider.surveyed, one.name, old.name) ||
        !world.quietSince(decider.surveyed, one.name) ||
        (one.inRecovery && one.group === group && !one.streamsFrom()),
    )
    if (atWork(old) && !witness) say(`${old.name} took writes all the time, and every server reached it`)
  }
}

/** As the report says it to people: by host and port. */
interface Ended {
  readonly outcome: string
  readonly refusals: readonly unknown[]
  readonly copies: readonly { readonly node: string; readonly state: string }[]
}

/**
 * At the end of a walk, with nobody else at work and no faults any more: exit code 0 (README) is the world's word too. Nothing
 * was refused, every row is right on every server that takes writes, and on each one that was called right.
 */
export function checkEnding(world: World, name: string, { outcome, refusals, copies }: Ended): void {
  if (outcome !== 'converged' && outcome !== 'changed') return
  world.count('ended with 0')
  const truth = textOfRows(world.leading()?.durable.rows ?? [])
  const wrong = copies
    .filter(({ state }) => state === 'right')
    .map(({ node }) => world.get(node.replace(/:\d+$/, '')))
    .filter((server) => server.up && textOfRows(server.durable.rows) !== truth)
    .map((server) => `${server.name} is called right`)
  const flaws = [...flawsOf(world), ...wrong, ...(refusals.length > 0 ? ['a group is refused'] : [])]
  if (flaws.length > 0) throw new Error(`${name} ends with 0 (${outcome}):\n${flaws.join('\n')}`)
}

/** What is still wrong once everything is calm; empty if nothing is. */
export function flawsOf(world: World): string[] {
  const leading = world.leading()
  if (!leading) return ['no coordinator']
  const truth = leading.durable.rows
  const flaws: string[] = []
  for (const group of world.groups) {
    const [primary] = world.primaries(group)
    const row = primaryOf(truth, group)
    if (!primary || !row || row.address.host !== primary.name)
      flaws.push(`group ${group}: registered is ${row?.address.host}, the primary is ${primary?.name}`)
  }
  for (const server of world.servers.values()) {
    if (!server.up || server.inRecovery) continue
    for (const gid of server.durable.prepared.keys()) flaws.push(`${server.name} has ${gid} prepared`)
    if (textOfRows(server.durable.rows) !== textOfRows(truth))
      flaws.push(`${server.name} says ${textOfRows(server.durable.rows)}`)
  }
  return flaws
}

export function textOfRows(rows: Catalog): string {
  return [...rows]
    .sort((a, b) => a.nodeid - b.nodeid)
    .map(
      (row) =>
        `${row.nodeid}:${row.role[0]}${row.group}@${row.address.host}${row.isactive ? '' : '!'}${row.rack}`,
    )
    .join(' ')
}
