import { proofText } from '../apply/decision.ts'
import { BEGIN, recordLineageSql, recordVouchedSql, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import { install, type Prepared, rehearse } from '../install/install.ts'
import type { InstallOrder } from '../install/plan.ts'
import { COORDINATOR_GROUP, rowAt } from '../model/catalog.ts'
import { CitusHaError, untrustedSchema } from '../model/failure.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { distinctServers } from '../model/servers.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 10_000

/**
 * Nodes that are to have the schema: the coordinator, each group's proved primary, writable expand coordinators.
 * A server that is not proved to be of this cluster gets nothing; standbys get theirs by replay.
 */
export function ownNodes({ survey, coordinator, diagnoses }: View): Answered[] {
  const primaries = diagnoses.flatMap(({ primary, standing }) =>
    primary && standing !== 'refused' ? [primary] : [],
  )
  const expand = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
    .filter((node) => kindOf(node) === 'expand coordinator' && node.citus?.localGroup === COORDINATOR_GROUP)
  return distinctServers([coordinator, ...primaries, ...expand].filter((node) => node.citus !== null))
}

/**
 * Installs the schema where it is missing and this role may; a node added later is no reason to refuse the rest.
 * @returns whether anything was installed, so that the survey is to be taken again
 */
export async function installWhereMissing(
  access: Access,
  request: WalkRequest,
  view: View,
): Promise<boolean> {
  // An old primary that runs on has to be fenced: its data is its successor's, which is proved.
  const old = view.survey.nodes.filter(
    (node): node is Answered =>
      view.plan.oldPrimaries.some((each) => sameAddress(each.node, node.address)) && node.kind === 'answered',
  )
  const missing = [...ownNodes(view), ...old].filter(
    (node) =>
      node.superuser &&
      node.untrusted.length === 0 &&
      ((node.installed?.migration ?? 0) < access.migration || (node.installed?.drift ?? []).length > 0),
  )
  const allowed = allowedOf(request, view.coordinator)
  for (const node of missing) {
    request.progress(`installing the schema citus_ha on ${formatAddress(node.address)}`)
    await installOne(access, request.database, node, { role: null, switchover: 'leave', allowed })
  }
  return missing.length > 0
}

/** What the configuration adds to the addresses a group may have: standbys, and other names of its nodes. */
export function allowedOf(
  { claims, aliases, seeds }: WalkRequest,
  { citus }: Pick<Answered, 'citus'>,
): InstallOrder['allowed'] {
  const catalog = citus?.catalog ?? []
  const groupOf = (address: HostPort) =>
    (rowAt(catalog, address) ?? claims.standbys.find((standby) => sameAddress(standby.address, address)))
      ?.group
  const names = aliases.flatMap(({ address, alias }) => {
    const group = groupOf(address)
    return group === undefined ? [] : [{ group, address: alias }]
  })
  // A coordinator's standby may be promoted, and is rarely registered: the candidates are what is known of it.
  const coordinators = seeds.map((address) => ({ group: COORDINATOR_GROUP, address }))
  return [...claims.standbys.map(({ group, address }) => ({ group, address })), ...names, ...coordinators]
}

/** @throws CitusHaError where the coordinator lacks the schema and this role may not install it, saying what to run */
export function requireUsable(coordinator: Answered, migration: number): void {
  requireOurs(coordinator)
  if (coordinator.superuser && (coordinator.installed?.migration ?? 0) <= migration) return
  requireInstalled(coordinator, migration)
}

/** @throws CitusHaError where a schema of that name is not ours */
function requireOurs({ address, untrusted }: Answered): void {
  if (untrusted.length > 0) throw new CitusHaError('configuration', untrustedSchema(address, untrusted))
}

/** @throws CitusHaError where the coordinator lacks the schema as this program knows it, saying what to run */
export function requireInstalled(coordinator: Answered, migration: number): void {
  requireOurs(coordinator)
  const { address, installed } = coordinator
  const node = formatAddress(address)
  if (installed && installed.migration > migration) {
    throw new CitusHaError(
      'configuration',
      `${node}: the schema citus_ha is newer (${installed.migration}) than this citus-ha (${migration}): upgrade citus-ha`,
    )
  }
  if (installed && !installed.mayExecute) {
    throw new CitusHaError(
      'configuration',
      `${node}: this role may not use the schema citus_ha; a superuser grants it with: citus-ha install --user postgres --role NAME`,
    )
  }
  if (!installed || installed.migration < migration) {
    throw new CitusHaError(
      'not-installed',
      `${node}: the schema citus_ha is ${installed ? 'old' : 'missing'}; a superuser installs it with: citus-ha install --user postgres`,
    )
  }
  if (installed.drift.length > 0) {
    throw new CitusHaError(
      'not-installed',
      `${node}: functions in the schema citus_ha differ from those of this citus-ha (${installed.drift.join(', ')}); a superuser creates them again with: citus-ha install --user postgres`,
    )
  }
}

/** @param mode `rehearse`: what would be done is found out, and nothing is changed */
export async function installOne(
  access: Access,
  database: string,
  node: Answered,
  order: InstallOrder,
  mode: 'install' | 'rehearse' = 'install',
): Promise<Prepared> {
  const session = await access.open(node.address, database)
  try {
    return await (mode === 'install' ? install : rehearse)(session, node.address, order)
  } finally {
    await session.close()
  }
}

/** Records what was proved of the groups' lines without a change: the first time, or after a promotion seen late. */
export async function recordProofs(
  access: Access,
  request: WalkRequest,
  { coordinator, plan, diagnoses }: View,
  clock: Clock,
): Promise<void> {
  const session = await access.open(coordinator.address, request.database)
  const vouched = plan.proofs.filter((proof) => proof.vouched).map(proofText)
  const evidence = diagnoses
    .filter(({ byPerson }) => byPerson)
    .flatMap(({ group, rule, summary, warnings }) =>
      [`${rule}: ${summary}`, ...warnings].map((line) => `group ${group}: ${line}`),
    )
  try {
    const limitMs = clock.limit(LIMIT_MS)
    const timeout = `SET statement_timeout = ${Math.ceil(limitMs)}`
    if (vouched.length > 0) {
      // A person's word that overrides the record is a decision: it is not said again.
      const decide = recordVouchedSql(vouched, evidence, request.madeBy)
      await session.run(`${timeout}; ${BEGIN}; ${TAKE_CHANGE_LOCK}; ${decide}; COMMIT`, limitMs)
    }
    const others = plan.proofs.filter((proof) => !proof.vouched).map(proofText)
    if (others.length === 0) return
    // Not worth a wait for a synchronous standby that is gone: any later run records it again.
    const record = recordLineageSql(others)
    await session.run(`${timeout}; SET synchronous_commit = local; ${BEGIN}; ${record}; COMMIT`, limitMs)
  } finally {
    await session.close()
  }
}
