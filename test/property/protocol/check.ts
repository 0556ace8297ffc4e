import { type Catalog, COORDINATOR_GROUP, groupsOf, primaryOf } from '../../../src/model/catalog.ts'
import { formatAddress, sameAddress } from '../../../src/model/node.ts'
import { flawOf } from '../../../src/plan/simulate.ts'
import { type Change, type Data, isBefore } from './copy.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** What must be true of everything that any server makes durable. @throws Error naming what is not */
export function checkWrite(world: World, server: Server, before: Data, after: Data, how: string): void {
  const say = (what: string): never => {
    throw new Error(`at ${world.clock.now} ms, ${server.name}, ${how}: ${what}`)
  }
  for (const change of after.changes.slice(before.changes.length)) {
    for (const gid of change.gids) world.decided.add(gid)
    checkDecision(world, before.rows, change, say)
  }
  const [, verb, gid] = /^(commit|roll back) (citus_ha_\S+)$/.exec(how) ?? []
  if (verb === 'commit' && gid && !world.decided.has(gid)) say('it was never decided')
  if (verb === 'roll back' && gid && isDecidedBy(world.leading(), gid)) say('it was decided')
  if (isBefore(after.epoch, before.epoch)) say('its epoch goes back')
  checkLines(world, before, after, say)
  if (before.rows === after.rows) return
  const flaw = flawOf(after.rows)
  if (flaw) say(flaw)
  if (!how.startsWith('Citus')) {
    if (!isBefore(before.epoch, after.epoch)) say('an older epoch overwrites a newer one')
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

/** The record of a line only goes forward, along that line, but for a decision on a vouched promotion. */
function checkLines(world: World, before: Data, after: Data, say: (what: string) => never): void {
  const [change] = after.changes.slice(before.changes.length)
  const vouched = change ? vouchedBy(world, change) : undefined
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
