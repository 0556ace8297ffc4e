import { COORDINATOR_GROUP, primaryOf } from '../../../src/model/catalog.ts'
import type { SwitchoverReport } from '../../../src/model/switchover.ts'
import { textOfRows } from './check.ts'
import type { Instance } from './network.ts'
import { OURS, type Server } from './server.ts'
import type { World } from './world.ts'

/** Whether a switchover's word is the truth, at the moment in which it is given. @throws Error naming what is not */
export function checkReport(world: World, instance: Instance, report: SwitchoverReport): void {
  const say = (what: string): never => {
    throw new Error(`at ${world.clock.now} ms, ${instance.name} says ${report.outcome}: ${what}`)
  }
  const leading = latest(world)
  const own = leading?.durable.changes.filter(({ madeBy }) => madeBy === instance.name) ?? []
  const others = world.instances.filter((one) => one !== instance && one.walks > 0 && one.state !== 'dead')
  if (report.outcome === 'switched' && leading) {
    const decided = own.at(-1)
    for (const { group, to } of report.moves) {
      const host = to.replace(/:\d+$/, '')
      // Another change may have come since.
      const last = leading.durable.changes.at(-1)
      if (decided && primaryOf(decided.after, group)?.address.host !== host)
        say(`its change does not name ${to}`)
      if (last && last !== decided) continue
      for (const copy of copiesOf(world, leading)) {
        if (primaryOf(copy.durable.rows, group)?.address.host !== host)
          say(`${copy.name} does not name ${to}`)
      }
    }
  }
  if (report.outcome === 'refused' || report.outcome === 'blocked') {
    if (own.length > 0) say('it has made a change')
    if (report.left.length > 0 || others.length > 0) return
    const kept = leading?.durable.intents.filter(({ madeBy }) => madeBy === instance.name) ?? []
    // A standby that others have promoted may not have got the last word.
    if (kept.length > 0 && leading && !world.othersPromoted.has(leading))
      say('what it intended is still written down')
    for (const { group, from } of report.moves) {
      const server = world.server(from.replace(/:\d+$/, ''))
      // Another run has switched it meanwhile, or has died in the middle; or as above.
      const noted = [...(leading?.durable.intents ?? []), ...(server?.durable.intents ?? [])]
      if (noted.some((intent) => intent.group === group && intent.madeBy !== instance.name)) continue
      if (primaryOf(leading?.durable.rows ?? [], group)?.address.host !== server?.name) continue
      if (server?.up && (server.readOnly || server.readOnlyInFile)) say(`${from} is read-only`)
    }
  }
}

/** The coordinator on the highest timeline, whether it is up just now or not. */
function latest(world: World): Server | undefined {
  const all = world.members(COORDINATOR_GROUP).filter(({ inRecovery }) => !inRecovery)
  return all.sort((a, b) => b.timeline - a.timeline)[0]
}

/** Nodes whose rows queries are routed by. */
function copiesOf(world: World, leading: Server): Server[] {
  const rows = leading.durable.rows.filter(({ role, metadatasynced }) => role === 'primary' && metadatasynced)
  const named = rows.flatMap(({ address }) => world.server(address.host) ?? [])
  return [...new Set([leading, ...named])].filter(({ up, inRecovery }) => up && !inRecovery)
}

/** What is still wrong when all faults are over and one undisturbed reconcile has followed; empty if nothing is. */
export function flawsAfterSwitchovers(world: World): string[] {
  const leading = world.leading()
  if (!leading) return ['no coordinator']
  const flaws: string[] = []
  const truth = textOfRows(leading.durable.rows)
  for (const group of world.groups) {
    const row = primaryOf(leading.durable.rows, group)
    const named = row && world.server(row.address.host)
    const newest = world.primaries(group).sort((a, b) => b.timeline - a.timeline)[0]
    if (!named || named.inRecovery || !named.up)
      flaws.push(`group ${group}: ${row?.address.host} is no primary`)
    else if (named !== newest)
      flaws.push(`group ${group}: registered is ${named.name}, promoted is ${newest?.name}`)
    if (named?.readOnly || named?.readOnlyInFile)
      flaws.push(`group ${group}: ${named.name} is left read-only`)
    const rivals = world.primaries(group).filter((one) => one !== named && !one.readOnly)
    if (rivals.length > 0)
      flaws.push(`group ${group}: ${rivals.map(({ name }) => name)} takes writes as well`)
  }
  for (const named of copiesOf(world, leading)) {
    const noted = named.durable.intents.some(({ group }) => group === named.group)
    if (noted && named !== leading) flaws.push(`${named.name} still has an intent about its group`)
  }
  for (const { group, phase } of leading.durable.intents)
    flaws.push(`group ${group}: an intent is left, ${phase}`)
  for (const copy of copiesOf(world, leading)) {
    const rows = textOfRows(copy.durable.rows)
    if (rows !== truth) flaws.push(`${copy.name} says ${rows}, ${leading.name} says ${truth}`)
  }
  for (const server of world.servers.values()) {
    if (!server.up || server.inRecovery || server.readOnly) continue
    for (const gid of server.durable.prepared.keys())
      if (gid.startsWith(OURS)) flaws.push(`${server.name} has ${gid} prepared`)
  }
  if (leading.group !== COORDINATOR_GROUP) flaws.push('the coordinator is of another group')
  return flaws
}
