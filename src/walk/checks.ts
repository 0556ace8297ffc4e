import { type Claims, groupOfVouched } from '../diagnose/facts.ts'
import { show } from '../diagnose/witnesses.ts'
import { COORDINATOR_GROUP, primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { CitusHaError } from '../model/failure.ts'
import { coordinatorOf, coordinatorsIn, kindOf } from '../model/kinds.ts'
import { formatLsn, type Holds, holds, type Point, pointOf } from '../model/line.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import {
  type Answered,
  type Observation,
  type Survey,
  type Unreadable,
  willPass,
} from '../model/observation.ts'
import { putBack } from '../model/retired.ts'
import { psqlAsOwnRole, psqlAsSuperuser, shellWord } from '../model/shell.ts'

/**
 * The coordinator of a survey.
 * @throws CitusHaError saying what each candidate answered, and what to do next
 */
export function requireCoordinator(survey: Survey): Answered {
  const found = coordinatorOf(survey.nodes)
  if (found) {
    requireOne(survey, found)
    return found
  }
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const [denied] = survey.nodes.filter((node) => node.kind === 'unreadable' && !willPass(node))
  if (answered.length === 0 && denied?.kind === 'unreadable') {
    throw new CitusHaError(
      'configuration',
      `${formatAddress(denied.address)}, database ${survey.database}: ${denied.detail}${toOpen(denied)}`,
    )
  }
  if (answered.length > 0 && answered.every((node) => kindOf(node) === 'no copy')) {
    const nodes = answered.map((node) => formatAddress(node.address)).join(', ')
    throw new CitusHaError(
      'configuration',
      `${nodes}: database ${survey.database} has no Citus node metadata; give the URL of a coordinator and its database`,
    )
  }
  const retired = answered.find(
    (node) => node.retired && !node.inRecovery && node.citus?.localGroup === COORDINATOR_GROUP,
  )
  if (retired) throw new CitusHaError('no-coordinator', `${noCoordinator(survey)}${putBack(retired)}`)
  const next = nextWithout(survey)
  const ends = next === null ? [] : [`next: ${next}`]
  const { nodes } = survey
  const lines =
    nodes.length === 1
      ? [noCoordinator(survey), ...ends]
      : [
          `${NONE}: ${nodes.length} servers were asked`,
          ...nodes.map((node) => `  ${candidate(node)}`),
          ...ends,
        ]
  throw new CitusHaError('no-coordinator', [noCoordinator(survey), ...ends].join('; '), { lines })
}

function toOpen({ cause, detail }: Unreadable): string {
  if (cause === 'privilege') return '; a superuser grants it with: citus-ha install --user postgres'
  if (/^role .* does not exist$/.test(detail))
    return '; give a role that exists there, or create this one: citus-ha install --role NAME --user postgres'
  if (/^role .* is not permitted to log in$/.test(detail))
    return '; give another role, or run there as a superuser: ALTER ROLE NAME LOGIN'
  // Which says by itself where one was looked for.
  if (/^the server asks for a password /.test(detail)) return ''
  return cause === 'auth' ? '; check pg_hba.conf there, and the password' : ''
}

const NONE = 'no writable coordinator answers'

/** What each of those that were asked for one has answered. */
export function noCoordinator({ nodes }: Survey): string {
  return `${NONE}: ${nodes.map(candidate).join('; ')}`
}

/** Whoever gave the URL of a worker is told where its coordinator is, as its own copy says. */
function candidate(node: Observation): string {
  const named = namedBy(node)
  const hint = named && `: it is a worker; its pg_dist_node names ${formatAddress(named)} as the coordinator`
  return `${show(node)}${hint ?? ''}`
}

/** The coordinator's address, where a worker is asked; null: it is none, or its copy has no row of group 0. */
function namedBy(node: Observation): HostPort | null {
  if (node.kind !== 'answered' || !node.citus || node.citus.localGroup === COORDINATOR_GROUP) return null
  return primaryOf(node.citus.catalog, COORDINATOR_GROUP)?.address ?? null
}

/**
 * What a person does where no coordinator answers; null: nothing that was seen says what. That it does not answer here does not say
 * that it does not run: nothing is promoted beside one that does.
 */
function nextWithout({ nodes, database }: Survey): string | null {
  const [silent] = nodes.filter(({ kind }) => kind === 'unreachable')
  const standby = nodes.find(
    (node) => node.kind === 'answered' && node.inRecovery && node.citus?.localGroup === COORDINATOR_GROUP,
  )
  const promote = standby
    ? `${psqlAsSuperuser(standby.address, 'postgres', 'SELECT pg_promote()')} && citus-ha reconcile`
    : 'promote a standby of the coordinator, then, with the URL of that standby as well: citus-ha reconcile'
  if (silent?.kind === 'unreachable') {
    const asked = `${psqlAsOwnRole(silent.address, database, 'SELECT 1')}   # does not answer citus-ha`
    if (silent.cause === 'dns') return `${asked}: correct its host name`
    return `${asked}: start it; only if it is gone for good: ${promote}`
  }
  const named = nodes.flatMap((node) => namedBy(node) ?? [])
  const unasked = named.find((address) => !nodes.some((node) => sameAddress(node.address, address)))
  if (unasked) return `give the URL of the coordinator: --coordinator ${urlOf(unasked, database)}`
  return standby ? `start the coordinator; only if it is gone for good: ${promote}` : null
}

const urlOf = (address: HostPort, database: string) =>
  shellWord(`postgres://${formatAddress(address)}/${encodeURIComponent(database)}`)

/** Two coordinators can be told apart by the row of group 0 alone; without one there is nothing to go by. */
function requireOne(survey: Survey, leading: Answered): void {
  const all = coordinatorsIn(survey.nodes)
  const foreign = all.find((node) => node.systemIdentifier !== leading.systemIdentifier)
  const rival = all.find((node) => node.instance !== leading.instance)
  const registered = primaryOf(leading.citus?.catalog ?? [], COORDINATOR_GROUP) !== undefined
  if (!foreign && (!rival || registered)) return
  const nodes = [leading, foreign ?? rival ?? leading]
    .map((node) => formatAddress(node.address))
    .join(' and ')
  throw new CitusHaError(
    'two-coordinators',
    foreign
      ? `${nodes} are coordinators of two different systems; give the URLs of one`
      : `${nodes} both take writes as coordinators, and group 0 is not in pg_dist_node (citus_set_coordinator_host)`,
  )
}

/** @throws CitusHaError where group 0's primary is proved to be another coordinator than the one that would write */
export function requireLeading(coordinator: Answered, diagnoses: readonly Diagnosis[]): void {
  const primary = diagnoses.find((diagnosis) => diagnosis.group === COORDINATOR_GROUP)?.primary
  if (!primary || primary.instance === coordinator.instance) return
  throw new CitusHaError(
    'two-coordinators',
    `${formatAddress(primary.address)} is the registered primary of group 0, but ${formatAddress(coordinator.address)} also takes writes as the coordinator, and the timeline history does not tell which one leads: stop ${formatAddress(coordinator.address)} first`,
  )
}

/** @throws CitusHaError for a node that is vouched for and that nothing says the group of */
export function requirePlaced(survey: Survey, coordinator: Answered, claims: Claims): void {
  if (!claims.vouched || groupOfVouched(survey, coordinator.citus?.catalog ?? [], claims) !== null) return
  throw new CitusHaError(
    'usage',
    `${formatAddress(claims.vouched)} is not in pg_dist_node, not listed under "standbys", and does not answer: citus-ha cannot tell its group. Give --group N`,
  )
}

/** @throws CitusHaError for a group that is not among those the coordinator knows */
export function requireGroups(groups: readonly number[] | null, known: readonly number[]): void {
  const missing = (groups ?? []).find((group) => !known.includes(group))
  if (missing !== undefined) {
    throw new CitusHaError(
      'usage',
      `there is no group ${missing}; pg_dist_node has ${known.join(', ') || 'none'}`,
    )
  }
}

/** The coordinator as it was known before, and how far it was: a cluster never goes back to an older line of it. */
export interface KnownCoordinator extends Point {
  readonly systemIdentifier: string
}

/**
 * A number proves nothing, since two promotions can take the same: lines are compared, as diagnose does it.
 * @param maxLag how much of what the coordinator had written its standby may lack, in bytes
 * @throws CitusHaError where another system, or another line of the same, answers as the coordinator
 */
export function requireKnown(coordinator: Answered, known: KnownCoordinator | null, maxLag: number): void {
  if (known === null) return
  const node = formatAddress(coordinator.address)
  if (coordinator.systemIdentifier !== known.systemIdentifier) {
    throw new CitusHaError(
      'two-coordinators',
      `${node} is a coordinator of another system: ${coordinator.systemIdentifier}; the last known coordinator was of ${known.systemIdentifier}`,
    )
  }
  const found = holds(pointOf(coordinator), known)
  const why = notOf(found, coordinator, known, maxLag)
  if (why === null) return
  throw new CitusHaError(
    'two-coordinators',
    `${node} takes writes, but it is neither the last known coordinator nor one promoted from it: ${why}: it is an old coordinator or a backup; stop it, or, if it is the right one, restart this watch`,
  )
}

function notOf(found: Holds, { timeline }: Answered, known: KnownCoordinator, maxLag: number): string | null {
  switch (found.has) {
    case 'all':
      return null
    case 'less':
      return found.known - found.until > BigInt(maxLag)
        ? `it has timeline ${found.timeline} up to ${formatLsn(found.until)}, but the last known coordinator was at ${formatLsn(found.known)}`
        : null
    case 'another line':
      return found.why
    // Without a history the number is all there is: a lower one is older.
    case 'unknown':
      return (timeline ?? 0) < known.timeline
        ? `it is on timeline ${timeline}, but the last known coordinator was on ${known.timeline}`
        : null
  }
}
