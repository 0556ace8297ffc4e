import { type CatalogRow, COORDINATOR_GROUP, primaryOf } from '../../model/catalog.ts'
import type { Inspection } from '../../model/inspection.ts'
import { INSTALL, look, mend } from '../../model/next-step.ts'
import { formatAddress, type HostPort, isLoopback, sameAddress } from '../../model/node.ts'
import { psqlAsSuperuser, quoted, shellWord } from '../../model/shell.ts'
import { isAliasOf } from '../../plan/alias.ts'
import type { Check, Facts, Found } from '../check.ts'
import { catalogOf, isLent, nameOf, seenAt, writerOf } from '../servers.ts'

/** The names in the rows: whether they mean something, and to whom. */
export const NAME_CHECKS: readonly Check[] = [
  {
    id: 'H060',
    code: 'name-means-self',
    severity: 'error',
    says: 'a row’s host name, such as localhost, is another machine on every node',
    when: (facts) => {
      const rows = catalogOf(facts)
      // On another port it leads nowhere, which the nodes say themselves; a cluster on one machine may well call itself so.
      const others = (row: CatalogRow) =>
        rows.filter(
          (each) =>
            !isLoopback(each.address) && each.address.port === row.address.port && !isLent(facts, each),
        )
      return rows
        .filter((row) => isLoopback(row.address) && others(row).length > 0 && !isLent(facts, row))
        .map((row) => ({
          group: row.group,
          node: row.address,
          summary: `node ${row.nodeid} of group ${row.group} is registered as ${formatAddress(row.address)}, which other nodes resolve to themselves`,
          evidence: others(row).map((each) => `node ${each.nodeid}: ${formatAddress(each.address)}`),
          next: mend(
            psqlAsSuperuser(
              facts.coordinator.address,
              facts.survey.database,
              row.group === COORDINATOR_GROUP
                ? `SELECT citus_set_coordinator_host('NAME', ${row.address.port})`
                : `SELECT citus_update_node(${row.nodeid}, 'NAME', ${row.address.port})`,
            ),
          ),
        }))
    },
  },
  {
    id: 'H061',
    code: 'coordinator-unregistered',
    severity: 'warning',
    says: 'the coordinator is in no row, so that its own failover cannot be recorded',
    when: (facts) => {
      if (primaryOf(catalogOf(facts), COORDINATOR_GROUP) || catalogOf(facts).length === 0) return []
      const { host, port } = facts.coordinator.address
      const sql = `SELECT citus_set_coordinator_host(${quoted(host)}, ${port})`
      return [
        {
          group: COORDINATOR_GROUP,
          node: facts.coordinator.address,
          summary: 'group 0 is not in pg_dist_node: two coordinators could not be distinguished',
          evidence: [
            `groups registered: ${[...new Set(catalogOf(facts).map((row) => row.group))].join(', ')}`,
          ],
          next: mend(psqlAsSuperuser(facts.coordinator.address, facts.survey.database, sql)),
        },
      ]
    },
  },
  {
    id: 'H062',
    code: 'name-not-reached',
    severity: 'error',
    says: 'a node that answers citus-ha is not reached from other nodes by the name in its row',
    when: (facts) => unreached(facts),
  },
  {
    id: 'H063',
    code: 'reaches-nobody',
    severity: 'warning',
    says: 'Citus on a node can connect as this role to no node, not even to itself: whether it resolves their names was not seen',
    when: (facts) =>
      facts.inspections.filter(isCutOff).map((inspection) => {
        const { node, reaches } = inspection
        const says = reaches.find((reach) => reach.says !== null)?.says
        const role = inspection.session.kind === 'seen' ? inspection.session.value.role : 'citus_ha'
        return {
          group: node.citus?.localGroup ?? null,
          node: nameOf(facts, node),
          summary: `Citus on ${formatAddress(nameOf(facts, node))} can connect as ${role} to no node, not even to itself`,
          evidence: [`${reaches.length} nodes were tried`, ...(says ? [says] : [])],
          next: mend(
            psqlAsSuperuser(
              nameOf(facts, writerOf(facts, node)),
              facts.survey.database,
              `INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, ${quoted(role)}, 'password=PASSWORD')`,
            ),
          ),
        }
      }),
  },
  {
    id: 'H064',
    code: 'address-not-allowed',
    severity: 'error',
    says: 'an address was added to the configuration after the last citus-ha install: a failover to it would be refused',
    when: (facts) => notAllowed(facts),
  },
]

/** It was asked about itself too, and reaches nobody: it has no way to log in, or is cut off. */
function isCutOff({ reaches }: Inspection): boolean {
  return reaches.length > 0 && reaches.every((reach) => reach.reaches.kind === 'seen' && !reach.reaches.value)
}

/** One finding a name, with everybody who does not reach it. */
function unreached(facts: Facts): Found[] {
  const complaints = new Map<string, { to: HostPort; from: Inspection[]; says: string[] }>()
  for (const inspection of facts.inspections.filter((each) => !isCutOff(each))) {
    for (const { to, reaches, says } of inspection.reaches) {
      // Whom we do not reach either is down, and told of elsewhere.
      const target = seenAt(facts, to)
      const isOther = target?.kind === 'answered' && target.instance !== inspection.node.instance
      if (reaches.kind === 'unseen' || reaches.value || !isOther) continue
      const known = complaints.get(formatAddress(to)) ?? { to, from: [], says: [] }
      known.from.push(inspection)
      known.says.push(`${formatAddress(nameOf(facts, inspection.node))}: ${says ?? 'does not reach it'}`)
      complaints.set(formatAddress(to), known)
    }
  }
  return [...complaints.values()].map(({ to, from, says }): Found => {
    const names = from.map(({ node }) => formatAddress(nameOf(facts, node)))
    return {
      group: catalogOf(facts).find((row) => sameAddress(row.address, to))?.group ?? null,
      node: to,
      summary: `${formatAddress(to)} is not reached from ${names.slice(0, 2).join(', ')}${names.length > 2 ? ` and ${names.length - 2} more` : ''}`,
      evidence: says,
      next: look(
        `ssh -- ${shellWord(from[0]?.node.address.host ?? '')} getent hosts ${shellWord(shellWord(to.host))}   # no answer: DNS or /etc/hosts there; else pg_hba.conf of ${shellWord(formatAddress(to))}, or a password`,
      ),
    }
  })
}

/** A candidate that leads already has its row, whatever name it was asked by. */
function mayBecomeCoordinator(facts: Facts, address: HostPort): boolean {
  const seen = seenAt(facts, address)
  return seen?.kind !== 'answered' || (seen.inRecovery && seen.citus?.localGroup === COORDINATOR_GROUP)
}

/** As `citus_ha.may_have_address` has it on the coordinator: the group's own addresses, and those it was told of. */
function notAllowed(facts: Facts): Found[] {
  const { coordinator, claims, aliases, seeds, migration } = facts
  const { installed } = coordinator
  if (!installed?.mayExecute || installed.migration < migration || coordinator.superuser) return []
  const rows = catalogOf(facts)
  const groupAt = (address: HostPort) =>
    [...rows, ...claims.standbys].find((each) => sameAddress(each.address, address))?.group
  const wanted = [
    ...claims.standbys,
    ...aliases.flatMap(({ address, alias }) => {
      const group = groupAt(address)
      return group === undefined ? [] : [{ group, address: alias }]
    }),
    ...seeds
      .filter((address) => mayBecomeCoordinator(facts, address))
      .map((address) => ({ group: COORDINATOR_GROUP, address })),
  ]
  const known = [...rows, ...installed.spareAddresses]
  const missing = wanted.filter(
    ({ group, address }) =>
      !known.some(
        (each) =>
          each.group === group &&
          (sameAddress(each.address, address) || isAliasOf(address, each.address, [])),
      ),
  )
  return missing.map(({ group, address }) => ({
    group,
    node: address,
    summary: `a failover of group ${group} to ${formatAddress(address)} would be refused: that address was added to the configuration after the last citus-ha install`,
    evidence: [
      `allowed besides its rows: ${installed.spareAddresses
        .filter((each) => each.group === group)
        .map((each) => formatAddress(each.address))
        .join(', ')}`,
    ],
    next: mend(INSTALL),
  }))
}
