import { coordinatorItself } from '../diagnose/facts.ts'
import { type CatalogRow, COORDINATOR_GROUP } from '../model/catalog.ts'
import { describeIntent } from '../model/intent.ts'
import { intentsIn } from '../model/intents.ts'
import { kindOf, strangersIn } from '../model/kinds.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered, Lineage, Survey } from '../model/observation.ts'
import { refusal } from '../model/refusal.ts'
import { STOP_SERVER } from '../model/server-commands.ts'
import { distinctServers } from '../model/servers.ts'
import { shellWord } from '../model/shell.ts'

/** What `citus-ha relearn` would write down in one database, and where. */
export interface Relearning {
  /** One a group, as its registered primary is now. */
  readonly lines: readonly Lineage[]
  /** For people, one line for each group that is not as on record; empty: there is nothing to learn. */
  readonly changes: readonly string[]
  /** Servers that keep a record and take writes, the coordinator last; standbys get theirs by replay. */
  readonly nodes: readonly Answered[]
  /** From which the order of changes goes on, above everything that any copy has seen. */
  readonly epoch: number
  /** Why it must not be done, one line each, with the next command. */
  readonly refusals: readonly string[]
}

/**
 * Takes the registered primaries for what they are now, whatever is on record of them. Who is asked for that says that they
 * are right; what speaks against it is refused: one that does not answer, is a standby or of another group, and any other
 * server of a group that takes writes.
 */
export function relearning(survey: Survey, coordinator: Answered): Relearning {
  const { nodes } = survey
  const rows = (coordinator.citus?.catalog ?? []).filter((row) => row.role === 'primary')
  // A coordinator need not have a row.
  const isNamed = rows.some(({ group }) => group === COORDINATOR_GROUP)
  const unnamed = { group: COORDINATOR_GROUP, address: coordinator.address }
  const primaries: readonly Pick<CatalogRow, 'group' | 'address'>[] = isNamed ? rows : [unnamed, ...rows]
  const answered = nodes.filter((node): node is Answered => node.kind === 'answered')
  const refusals: string[] = []
  const itself = rows.find((row) => coordinatorItself(survey, row) !== undefined)
  const behind = (row: Pick<CatalogRow, 'group' | 'address'>) =>
    row === itself || row === unnamed
      ? coordinator
      : answered.find((each) => sameAddress(each.address, row.address))
  const registered = primaries.map((row) => behind(row)?.instance)
  const learnt = primaries.flatMap((row) => {
    const node = behind(row)
    const why = node ? whyNotLearnt(node, row, coordinator) : silent(row, coordinator)
    if (why !== null) refusals.push(`group ${row.group}: ${formatAddress(row.address)}: ${why}`)
    return node && why === null ? [node] : []
  })
  const strangers = strangersIn(nodes)
  const copies = distinctServers(answered).filter(
    (node) => !node.inRecovery && !strangers.includes(node) && kindOf(node) !== 'no copy',
  )
  const others = copies.filter(
    (node) =>
      node.instance !== coordinator.instance &&
      kindOf(node) !== 'expand coordinator' &&
      !registered.includes(node.instance),
  )
  refusals.push(
    ...others.map((node) => {
      const does = node.retired ? 'is retired and still running' : 'takes writes as well'
      const why = `${formatAddress(node.address)} ${does}, as group ${node.citus?.localGroup}, and is in no primary’s row`
      return refusal(why, stop(formatAddress(node.address)))
    }),
    ...intentsIn(nodes).map((intent) => refusal(describeIntent(intent), 'citus-ha recover')),
    ...copies
      .filter(({ prepared }) => prepared.length > 0)
      .map(({ address }) =>
        refusal(`${formatAddress(address)}: a change is in doubt there`, 'citus-ha recover'),
      ),
  )
  const lines = learnt.map(lineOf)
  const recorded = coordinator.installed?.lineage ?? []
  return {
    lines,
    changes: lines.flatMap((line) => changeOf(recorded, line)),
    nodes: [...copies.filter((node) => node.instance !== coordinator.instance).sort(byGroup), coordinator],
    epoch: 1 + Math.max(0, ...answered.map(({ installed }) => installed?.epoch.epoch ?? 0)),
    refusals,
  }
}

const byGroup = (one: Answered, other: Answered): number =>
  (one.citus?.localGroup ?? 0) - (other.citus?.localGroup ?? 0)

const DOCTOR = 'citus-ha doctor'
const stop = (which: string) => `${STOP_SERVER}   # on ${which}; then: citus-ha relearn`

function silent({ group }: Pick<CatalogRow, 'group'>, { address }: Answered): string {
  if (group !== COORDINATOR_GROUP) return refusal('it does not answer', DOCTOR)
  const leading = formatAddress(address)
  return refusal(
    `it does not answer, and ${leading} is the coordinator`,
    `citus-ha reconcile --promoted ${shellWord(leading)}`,
  )
}

function whyNotLearnt(
  node: Answered,
  { group }: Pick<CatalogRow, 'group'>,
  coordinator: Answered,
): string | null {
  if (node.inRecovery)
    return refusal('it is a standby', 'citus-ha reconcile   # once the right server is promoted')
  if (node.retired) return refusal('it is retired: another server has replaced it', 'citus-ha status')
  if (node.citus?.localGroup !== group)
    return refusal(
      `it does not belong to this group: its pg_dist_local_group says ${node.citus?.localGroup ?? 'nothing'}`,
      DOCTOR,
    )
  if (group === COORDINATOR_GROUP && node.instance !== coordinator.instance)
    return refusal(
      `it takes writes, and so does the coordinator ${formatAddress(coordinator.address)}`,
      stop('the one that is not the coordinator'),
    )
  if (node.untrusted.length > 0)
    return refusal(`its schema citus_ha was not made by citus-ha: ${node.untrusted.join('; ')}`, DOCTOR)
  if (!node.superuser)
    return refusal(
      'relearn needs a superuser there',
      'citus-ha relearn --user postgres   # or another superuser',
    )
  if (node.timeline === null || node.history === null)
    return refusal(
      `its timeline${node.timeline === null ? '' : ` ${node.timeline}`} or its history file (pg_wal/*.history) could not be read`,
      DOCTOR,
    )
  return null
}

function lineOf({ citus, systemIdentifier, timeline, history }: Answered): Lineage {
  return { group: citus?.localGroup ?? 0, systemIdentifier, timeline: timeline ?? 1, history: history ?? [] }
}

function changeOf(recorded: readonly Lineage[], now: Lineage): string[] {
  const was = recorded.find(({ group }) => group === now.group)
  const told = ({ systemIdentifier, timeline }: Lineage) => `system ${systemIdentifier}, timeline ${timeline}`
  if (was === undefined) return [`group ${now.group}: nothing is on record; ${told(now)}`]
  const isSame =
    was.systemIdentifier === now.systemIdentifier &&
    was.timeline === now.timeline &&
    JSON.stringify(was.history) === JSON.stringify(now.history)
  return isSame ? [] : [`group ${now.group}: ${told(was)} -> ${told(now)}`]
}
