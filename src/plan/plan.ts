import type { Ailing } from '../model/ailing.ts'
import { type CatalogRow, COORDINATOR_GROUP, rowAt } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { holds } from '../model/line.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered, LineProof, Survey } from '../model/observation.ts'
import type { CopyPlan, Plan, RowChange } from '../model/plan.ts'
import { type Remark, remark, textsOf, type WarningCode } from '../model/remark.ts'
import { isStale, remedyOf } from '../model/remedy.ts'
import { distinctServers, seenServer } from '../model/servers.ts'
import { conditionsOf } from './conditions.ts'
import { type CopyDraft, copyNodes, draftCopy } from './copies.ts'
import type { PlanOptions } from './options.ts'
import type { OrderInput } from './order.ts'
import { registrationsOf } from './registrations.ts'
import { type Target, targetOf } from './target.ts'
import type { TargetInput } from './target-input.ts'

/** What has to be written where, on this evidence. Pure. @throws Error without a coordinator in the survey. */
export function plan(survey: Survey, diagnoses: readonly Diagnosis[], options: PlanOptions): Plan {
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator?.citus) throw new Error('a plan needs a coordinator')
  // A coordinator that is not proved to be the one has no truth to spread, of whichever group.
  const own = diagnoses.find((each) => each.group === COORDINATOR_GROUP)
  const leads = own === undefined || own.primary?.instance === coordinator.instance
  const wanted = diagnoses.filter(
    (each) =>
      leads &&
      (options.groups === null || options.groups.includes(each.group)) &&
      !isSetAside(each, options.ailing),
  )
  const remedies = coordinator.installed?.remedies ?? []
  const input = targetInput(survey, coordinator, wanted, options)
  const target = targetOf(input)
  const nodes = copyNodes(survey, diagnoses, coordinator).slice(0, leads ? undefined : 1)
  const order = (server: Answered) => orderInput(survey, server, input)
  // A primary that is down, in whose place a standby is read: what it has is right again when it is back.
  const lent = degradedRows(target)
  const degraded = lent.map(({ group }) => group)
  const drafts = nodes.map((node) =>
    draftCopy(node, coordinator, { ...target, order, degraded }, { ...options, database: survey.database }),
  )
  const { aliases, register: listed } = options
  const news = registrationsOf({ survey, coordinator, diagnoses: wanted, listed, aliases })
  const copies = drafts.flatMap((draft) => (draft.copy ? [draft.copy] : []))
  // A copy that Citus is to sync, and knows it, is nothing to commit again.
  const isNews = (change: RowChange) =>
    change.kind !== 'resync' ||
    target.catalog.some((row) => row.nodeid === change.nodeid && row.metadatasynced)
  const rewritten = copies.some((copy) => copy.steps.length > 0)
  const left = drafts
    .filter(({ leftOut }) => leftOut)
    .filter(({ leftOut }) => !lent.some(({ nodeid }) => nodeid === leftOut?.nodeid))
  const stale = left.filter(({ differs }) => rewritten || differs)
  const remarks = [
    ...target.remarks,
    ...wanted.flatMap((each) => each.remarks),
    ...news.remarks,
    ...left.flatMap(noPart),
  ]
  return {
    database: survey.database,
    fence: fencedBy(copies),
    oldPrimaries: wanted.flatMap((diagnosis) => stillWritable(survey, diagnosis)),
    changes: [...target.changes, ...drafts.flatMap((draft) => draft.changes).filter(isNews)],
    copies,
    unsynced: stale
      .map((draft) => draft.leftOut?.nodeid ?? null)
      .filter((nodeid) => nodeid !== null)
      .filter((nodeid) => target.catalog.some((row) => row.nodeid === nodeid && row.metadatasynced)),
    leftOut: left.flatMap((draft) => (draft.leftOut ? [draft.leftOut] : [])),
    forbidden: drafts.flatMap((draft) => draft.forbidden),
    degraded,
    proofs: wanted.flatMap((diagnosis) => proofOf(diagnosis, coordinator)),
    leader: leads ? leaderOf(own) : null,
    remedies: target.remedies.filter((remedy) => !remedies.some((known) => same(known, remedy))),
    remediesEnded: remedies
      .filter((known) => !target.remedies.some((remedy) => remedy.nodeid === known.nodeid))
      .map((known) => known.nodeid),
    remediesStale: remedies.filter((known) => isStale(known, input.catalog)).map((known) => known.nodeid),
    registrations: news.registrations,
    warnings: textsOf(remarks),
    remarks,
  }
}

/** It is read and may be right: that it can't be written is found out when it has to be, unless it is said now. */
function noPart({ leftOut, isReadable, differs }: CopyDraft): Remark<WarningCode>[] {
  if (!leftOut || !isReadable || differs || leftOut.ailing !== null) return []
  const { node, why } = leftOut
  return [remark('takes-no-part', `${formatAddress(node)} takes no part in changes: ${why}`, { node })]
}

/** Its own new primary failed: the others are done without it, and it has to wait. */
function isSetAside({ standing, primary }: Diagnosis, ailing: readonly Ailing[]): boolean {
  return standing === 'proved' && ailing.some(({ node }) => primary && sameAddress(primary.address, node))
}

/** Rows of primaries that name a standby. */
function degradedRows({ catalog, remedies }: Pick<Target, 'catalog' | 'remedies'>): CatalogRow[] {
  return catalog.filter((row) => row.role === 'primary' && remedyOf(row, remedies) !== undefined)
}

function targetInput(
  survey: Survey,
  coordinator: Answered,
  diagnoses: readonly Diagnosis[],
  { aliases, routing, following }: PlanOptions,
): TargetInput {
  const seen = expandNodes(survey).map((node) => node.citus?.clusterName ?? 'default')
  return {
    coordinator: coordinator.address,
    database: survey.database,
    catalog: coordinator.citus?.catalog ?? [],
    diagnoses,
    remedies: coordinator.installed?.remedies ?? [],
    aliases,
    heard: survey.testimony,
    routing,
    following,
    isRead: (cluster) => routing.readers === 'assumed' || seen.includes(cluster),
    conditions: conditionsOf(survey, diagnoses, aliases, routing.maxLag),
  }
}

function expandNodes(survey: Survey): Answered[] {
  return survey.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && kindOf(node) === 'expand coordinator',
  )
}

/** How the secondaries of this copy are to be ordered: for those who read by it, itself or its standbys. */
function orderInput(survey: Survey, server: Answered, input: TargetInput): OrderInput {
  const { catalog, conditions, routing, diagnoses, isRead } = input
  const readers = expandNodes(survey).filter((node) => node.citus?.localGroup === server.citus?.localGroup)
  const racks = readers.flatMap(({ address }) => rowAt(catalog, address)?.rack ?? [])
  const mayMove = routing.secondaryDown === 'leave' ? [] : diagnoses
  const groups = mayMove.filter(({ standing }) => standing !== 'refused').map(({ group }) => group)
  return { groups, conditions, racks, isRead }
}

/** Writes to a group stand still where a row of its primary moves. */
function fencedBy(copies: readonly CopyPlan[]): number[] {
  const groups = copies.flatMap((copy) =>
    copy.steps.flatMap((step) => {
      const row = copy.before.find((each) => each.nodeid === step.nodeid)
      return step.op === 'move' && row?.role === 'primary' ? [row.group] : []
    }),
  )
  return [...new Set(groups)].sort((a, b) => a - b)
}

/** Other servers of a promoted group's line that take writes: an old primary that nobody stopped. */
function stillWritable(survey: Survey, { standing, primary, group }: Diagnosis): Plan['oldPrimaries'] {
  if (standing !== 'proved' || !primary) return []
  const others = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
    .filter(
      (node) => node.systemIdentifier === primary.systemIdentifier && node.instance !== primary.instance,
    )
    .filter((node) => node.citus?.localGroup === group && !node.retired)
  const successor = primary.address
  return distinctServers(others).map((node) => ({
    group,
    node: node.address,
    successor,
    seen: seenServer(node),
  }))
}

/** What is now known of a group's line, where it differs from the record. */
function proofOf(diagnosis: Diagnosis, coordinator: Answered): LineProof[] {
  const line = lineageOf(diagnosis)
  if (!line) return []
  const { lineage = [], positions = [] } = coordinator.installed ?? {}
  const known = lineage.find(({ group }) => group === line.group)
  if (!known) return [line]
  const lsn = diagnosis.primary?.lsn ?? 0n
  const isBehind = positions.some((each) => each.group === line.group && each.lsn > lsn)
  const isAnother = holds({ ...line, lsn: null }, { ...known, lsn: null }).has === 'another line'
  const overrides = diagnosis.byPerson && (isBehind || isAnother || isUndecided(diagnosis, coordinator))
  if (overrides) return [{ ...line, vouched: true }]
  return same(known, line) ? [] : [line]
}

/** What others know of group 0 speaks against it, and no change has been made under its timeline: the person decides it. */
function isUndecided({ group, primary, remarks }: Diagnosis, { installed }: Answered): boolean {
  const isSpokenAgainst = remarks.some(({ code }) => code === 'data-loss' || code === 'other-line')
  return group === COORDINATOR_GROUP && isSpokenAgainst && installed?.epoch.timeline !== primary?.timeline
}

function lineageOf({ primary, group, standing }: Diagnosis): LineProof | null {
  if (standing === 'refused' || !primary || primary.timeline === null || primary.history === null) return null
  const { systemIdentifier, timeline, history } = primary
  return { group, systemIdentifier, timeline, history }
}

/** As every other server is to have it that takes part. What a person vouched for overrides what they have on record. */
function leaderOf(own: Diagnosis | undefined): LineProof | null {
  const line = own ? lineageOf(own) : null
  return line && own?.byPerson ? { ...line, vouched: true } : line
}

const same = (a: object, b: object): boolean => JSON.stringify(a) === JSON.stringify(b)
