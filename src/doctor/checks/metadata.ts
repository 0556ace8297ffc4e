import type { Activity, OtherWriter } from '../../model/activity.ts'
import { type Catalog, type CatalogRow, COORDINATOR_GROUP, primaryOf } from '../../model/catalog.ts'
import type { Inspection, PoolRow } from '../../model/inspection.ts'
import { kindOf } from '../../model/kinds.ts'
import { MANAGERS } from '../../model/manager.ts'
import { INSTALL, look, mend } from '../../model/next-step.ts'
import { formatAddress, type HostPort, sameAddress } from '../../model/node.ts'
import type { Answered } from '../../model/observation.ts'
import { psqlAsOwnRole, psqlAsSuperuser, quoted } from '../../model/shell.ts'
import type { Check, Facts, Found } from '../check.ts'
import { catalogOf, isLent, nameOf, seenAt, seenIn, systemsOf, writers } from '../servers.ts'

/** What the copies say, and whether it fits what is there. */
export const METADATA_CHECKS: readonly Check[] = [
  {
    id: 'H070',
    code: 'unsynced',
    severity: 'error',
    says: 'a metadata worker is marked as not synced: DDL fails, and its copy may be out of date',
    when: (facts) =>
      catalogOf(facts)
        .filter((row) => row.role === 'primary' && row.hasmetadata && !row.metadatasynced)
        .map((row) => ({
          group: row.group,
          node: row.address,
          summary: `${formatAddress(row.address)} is a metadata node that is not synced`,
          evidence: [`node ${row.nodeid}: hasmetadata is true, metadatasynced is false`],
          next: mend(
            onCoordinator(
              facts,
              `SELECT start_metadata_sync_to_node(${quoted(row.address.host)}, ${row.address.port})`,
            ),
          ),
        })),
  },
  {
    id: 'H071',
    code: 'copy-differs',
    severity: 'error',
    says: 'a copy of the node metadata differs from the coordinator’s',
    when: (facts) =>
      facts.copies
        .filter(({ differs, node }) => differs && !differsWithItsPrimary(facts, node))
        .map(({ node, role }) => ({
          group: null,
          node,
          summary: `the copy of ${formatAddress(node)} (${role}) differs from the coordinator’s`,
          evidence: differencesAt(facts, node),
          next: mend('citus-ha reconcile'),
        })),
  },
  {
    id: 'H072',
    code: 'other-writer',
    severity: 'info',
    says: 'another program writes pg_dist_node as well: Patroni’s Citus mode',
    when: (facts) =>
      distinctPrograms(facts.activity).map(({ program, sessions }) => ({
        group: null,
        node: facts.coordinator.address,
        summary: `${program} writes pg_dist_node as well`,
        evidence: [
          ...sessions.map(
            ({ pid, user, client }) =>
              `session ${pid} of role ${user} from ${client ?? 'the same machine'} has its name`,
          ),
          'switch over with patronictl: citus-ha switchover is refused there (H073)',
        ],
        next: look(
          onCoordinator(
            facts,
            `SELECT pid, usename, client_addr, state, xact_start FROM pg_stat_activity WHERE application_name = 'Patroni citus'`,
          ),
        ),
      })),
  },
  {
    id: 'H073',
    code: 'managed',
    severity: 'info',
    says: 'Patroni or pg_auto_failover decides who the primary of a group is: citus-ha switchover is refused there',
    when: managedGroups,
  },
  {
    id: 'H080',
    code: 'standby-unregistered',
    severity: 'warning',
    says: 'a physical standby streams from a node, and neither a row nor the configuration names it',
    when: (facts) => [...systemsOf(facts).values()].flatMap((servers) => unregistered(facts, servers)),
  },
  {
    id: 'H081',
    code: 'registered-twice',
    severity: 'warning',
    says: 'two rows name one server by two addresses, and no remedy has set them so',
    when: (facts) => twice(facts),
  },
  {
    id: 'H082',
    code: 'cluster-without-secondary',
    severity: 'error',
    says: 'an expand coordinator reads a cluster name for which a group has no active secondary',
    when: (facts) =>
      facts.inspections
        .filter(({ node }) => kindOf(node) === 'expand coordinator')
        .flatMap((inspection) => unserved(facts, inspection)),
  },
  {
    id: 'H090',
    code: 'pool-elsewhere',
    severity: 'error',
    says: 'a row of pg_dist_poolinfo leads to another node than the one it is for',
    when: (facts) => pools(facts, 'another node'),
  },
  {
    id: 'H091',
    code: 'pool-orphan',
    severity: 'warning',
    says: 'a row of pg_dist_poolinfo is for a node that is not there',
    when: (facts) => pools(facts, 'no node'),
  },
  {
    id: 'H092',
    code: 'pool-fixed',
    severity: 'info',
    says: 'a row of pg_dist_poolinfo names a host that is no node: whether it follows a promotion is not seen from here',
    when: (facts) => pools(facts, 'a host of its own'),
  },
]

const onCoordinator = (facts: Facts, sql: string) =>
  psqlAsSuperuser(facts.coordinator.address, facts.survey.database, sql)

/** A standby's copy is its primary's: where that one differs, it is fixed there, and the standby follows. */
function differsWithItsPrimary(facts: Facts, node: HostPort): boolean {
  const answered = facts.survey.nodes.filter((each): each is Answered => each.kind === 'answered')
  const standby = answered.find((each) => sameAddress(each.address, node))
  if (!standby?.inRecovery) return false
  return facts.copies.some(({ differs, node: other }) => {
    const primary = answered.find((each) => sameAddress(each.address, other))
    return differs && primary?.inRecovery === false && primary.systemIdentifier === standby.systemIdentifier
  })
}

function differencesAt(facts: Facts, address: HostPort): string[] {
  const seen = seenAt(facts, address)
  const rows = seen?.kind === 'answered' ? (seen.citus?.catalog ?? []) : []
  const truth = catalogOf(facts)
  const ids = [...new Set([...truth, ...rows].map((row) => row.nodeid))].sort((a, b) => a - b)
  return ids.flatMap((nodeid) => {
    const [here, there] = [describeRow(truth, nodeid), describeRow(rows, nodeid)]
    return here === there ? [] : [`node ${nodeid}: ${there} there, ${here} on the coordinator`]
  })
}

function describeRow(rows: Catalog, nodeid: number): string {
  const row = rows.find((each) => each.nodeid === nodeid)
  if (!row) return 'no row'
  const { role, group, address, rack, cluster, isactive, shouldhaveshards } = row
  const words = [
    `${role} of group ${group} at ${formatAddress(address)}`,
    `rack ${rack}`,
    `cluster ${cluster}`,
  ]
  if (!isactive) words.push('inactive')
  if (!shouldhaveshards) words.push('without shards')
  return words.join(', ')
}

/**
 * By number: what is attached to the servers of one system, less the standbys that are known. A standby can't be told
 * by its address (`pg_stat_replication` has no port of a server), and often not by its name.
 */
function unregistered(facts: Facts, servers: readonly Inspection[]): Found[] {
  const attached = servers.flatMap((each) => seenIn(each.attached) ?? [])
  const primary = servers.find(({ node }) => !node.inRecovery)?.node ?? servers[0]?.node
  if (attached.length === 0 || !primary) return []
  const group = primary.citus?.localGroup ?? null
  const known = servers.filter(({ node }) => node.inRecovery && node.receiver?.status === 'streaming')
  const rows = catalogOf(facts)
    .filter((row) => row.group === group)
    .map((row) => row.address)
  const configured = facts.claims.standbys.filter((each) => each.group === group).map((each) => each.address)
  const silent = [...rows, ...configured, ...(group === COORDINATOR_GROUP ? facts.seeds : [])].filter(
    (address, n, all) =>
      seenAt(facts, address)?.kind !== 'answered' &&
      all.findIndex((each) => sameAddress(each, address)) === n,
  )
  const unknown = attached.length - known.length - silent.length
  if (unknown <= 0) return []
  const at = nameOf(facts, primary)
  return [
    {
      group,
      node: at,
      summary: `${unknown} of ${attached.length} standbys attached in group ${group ?? '?'} ${unknown === 1 ? 'is' : 'are'} in no row of pg_dist_node and not in the configuration: citus-ha would not see its promotion`,
      evidence: [
        ...attached.map(
          (each) => `attached: ${each.applicationName || 'unnamed'} from ${each.clientHost ?? 'a socket'}`,
        ),
        ...known.map(({ node }) => `known: ${formatAddress(nameOf(facts, node))}`),
      ],
      next:
        group === COORDINATOR_GROUP
          ? look(
              `${psqlAsOwnRole(at, facts.survey.database, 'SELECT application_name, client_addr FROM pg_stat_replication')}   # add it under "coordinators" of the configuration, then: ${INSTALL}`,
            )
          : mend(
              onCoordinator(
                facts,
                `SELECT citus_add_secondary_node('STANDBY', PORT, ${quoted(at.host)}, ${at.port})`,
              ),
            ),
    },
  ]
}

function twice(facts: Facts): Found[] {
  const byInstance = new Map<string, CatalogRow[]>()
  for (const row of catalogOf(facts).filter((each) => !isLent(facts, each))) {
    const seen = seenAt(facts, row.address)
    if (seen?.kind !== 'answered') continue
    byInstance.set(seen.instance, [...(byInstance.get(seen.instance) ?? []), row])
  }
  return [...byInstance.values()].flatMap((rows): Found[] => {
    const spare = rows.findLast((row) => row.role === 'secondary') ?? rows[1]
    if (rows.length < 2 || !spare) return []
    const names = rows.map((row) => `node ${row.nodeid} (${row.role}, ${formatAddress(row.address)})`)
    const sql = `SELECT citus_remove_node(${quoted(spare.address.host)}, ${spare.address.port})`
    return [
      {
        group: spare.group,
        node: spare.address,
        summary: `${names.join(' and ')} are one server`,
        evidence: names,
        next: mend(onCoordinator(facts, sql)),
      },
    ]
  })
}

/** Citus looks at secondaries of the session's cluster only, in every group that has shards. */
function unserved(facts: Facts, { node }: Inspection): Found[] {
  const name = node.citus?.clusterName ?? 'default'
  const rows = node.citus?.catalog ?? []
  const groups = rows
    .filter((row) => row.role === 'primary' && row.group !== COORDINATOR_GROUP && row.shouldhaveshards)
    .map((row) => row.group)
  const serves = (group: number) =>
    rows.some(
      (row) => row.group === group && row.role === 'secondary' && row.cluster === name && row.isactive,
    )
  return groups
    .filter((group) => !serves(group))
    .map((group) => ({
      group,
      node: node.address,
      summary: `${formatAddress(node.address)} reads cluster ${name}, and group ${group} has no active secondary in it`,
      evidence: rows
        .filter((row) => row.group === group && row.role === 'secondary')
        .map(
          (row) =>
            `node ${row.nodeid} ${formatAddress(row.address)}: cluster ${row.cluster}${row.isactive ? '' : ', inactive'}`,
        ),
      next: mend(onCoordinator(facts, addSecondary(rows, group, name))),
    }))
}

/** Of the group's primary, which the rows name: only its standby is to be filled in. */
function addSecondary(rows: Catalog, group: number, cluster: string): string {
  const primary = primaryOf(rows, group)?.address
  const of = primary ? `${quoted(primary.host)}, ${primary.port}` : `'PRIMARY', PRIMARY_PORT`
  return `SELECT citus_add_secondary_node('STANDBY', PORT, ${of}, ${quoted(cluster)})`
}

type Fit = 'fits' | 'another node' | 'no node' | 'a host of its own'

function fitOf(rows: Catalog, { nodeid, host, port }: PoolRow): Fit {
  const own = rows.find((row) => row.nodeid === nodeid)
  if (!own) return 'no node'
  if (host === null) return 'fits'
  const leads = { host, port: port ?? own.address.port }
  if (rows.some((row) => row !== own && sameAddress(row.address, leads))) return 'another node'
  if (host === own.address.host) return 'fits'
  return rows.some((row) => row.address.host === host) ? 'another node' : 'a host of its own'
}

function pools(facts: Facts, fit: Fit): Found[] {
  return writers(facts).flatMap(({ node, pools: seenPools }) => {
    // There each node has a row, which leads nowhere on purpose.
    if (node.retired) return []
    const rows = node.citus?.catalog ?? []
    const misfits = (seenIn(seenPools) ?? []).filter((pool) => fitOf(rows, pool) === fit)
    return misfits.map((pool): Found => {
      const row = rows.find((each) => each.nodeid === pool.nodeid)
      const leads = `${pool.host ?? 'its host'}:${pool.port ?? row?.address.port ?? '?'}`
      const is = row ? `which is at ${formatAddress(row.address)}` : 'which is in no row'
      return {
        group: row?.group ?? null,
        node: node.address,
        summary: `on ${formatAddress(nameOf(facts, node))}, pg_dist_poolinfo sends connections to node ${pool.nodeid}, ${is}, to ${leads}`,
        evidence: [`pg_dist_poolinfo: nodeid ${pool.nodeid}, ${leads}`],
        // A pooler of its own may well be meant.
        next:
          fit === 'a host of its own'
            ? look(
                psqlAsSuperuser(
                  nameOf(facts, node),
                  facts.survey.database,
                  `SELECT * FROM pg_dist_poolinfo WHERE nodeid = ${pool.nodeid}`,
                ),
              )
            : mend(
                psqlAsSuperuser(
                  nameOf(facts, node),
                  facts.survey.database,
                  `DELETE FROM pg_dist_poolinfo WHERE nodeid = ${pool.nodeid}`,
                ),
              ),
      }
    })
  })
}

/** Each once: it may have several sessions. */
function distinctPrograms(
  activity: Activity | null,
): { readonly program: string; readonly sessions: readonly OtherWriter[] }[] {
  const all = activity?.otherWriters ?? []
  return [...new Set(all.map(({ program }) => program))].map((program) => ({
    program,
    sessions: all.filter((each) => each.program === program),
  }))
}

/** One line a program and group. */
function managedGroups({ inspections }: Facts): Found[] {
  const seen = inspections.flatMap(({ node, managers }) =>
    (seenIn(managers) ?? []).map((program) => ({ node, program, group: node.citus?.localGroup ?? null })),
  )
  const firsts = seen.filter(
    ({ program, group }, n) =>
      seen.findIndex((each) => each.program === program && each.group === group) === n,
  )
  return firsts.map(({ program, group }) => {
    const own = seen.filter((each) => each.program === program && each.group === group)
    return {
      group,
      node: null,
      summary: `${program} decides who the primary of ${group === null ? 'a server without Citus' : `group ${group}`} is`,
      evidence: own.map(({ node }) => `${formatAddress(node.address)}: ${program} is connected to it`),
      next: look(`${MANAGERS[program].shows}   # with its own options`),
    }
  })
}
