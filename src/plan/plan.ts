import { streamsFrom } from '../diagnose/diagnose.ts'
import { type Catalog, COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Lineage, Survey } from '../model/observation.ts'
import type { CopyPlan, Plan, RowChange } from '../model/plan.ts'
import { distinctServers } from '../model/servers.ts'
import type { AliasOf } from './alias.ts'
import { copyNodes, draftCopy } from './copies.ts'
import { type TargetInput, targetOf } from './target.ts'

export interface PlanOptions {
  /** Groups to change; null for all. The copies of the others take part all the same. */
  readonly groups: readonly number[] | null
  readonly aliases: readonly AliasOf[]
  /** The migration of the schema `citus_ha` that this program needs on a copy it rewrites. */
  readonly migration: number
}

/** What has to be written where, on this evidence. Pure. @throws Error without a coordinator in the survey. */
export function plan(survey: Survey, diagnoses: readonly Diagnosis[], options: PlanOptions): Plan {
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator?.citus) throw new Error('a plan needs a coordinator')
  // A coordinator that is not proved to be the one has no truth to spread, of whichever group.
  const own = diagnoses.find((each) => each.group === COORDINATOR_GROUP)
  const leads = own === undefined || own.primary?.instance === coordinator.instance
  const wanted = diagnoses.filter(
    (each) => leads && (options.groups === null || options.groups.includes(each.group)),
  )
  const remedies = coordinator.installed?.remedies ?? []
  const target = targetOf(targetInput(survey, coordinator.citus.catalog, wanted, remedies, options.aliases))
  const nodes = copyNodes(survey, diagnoses, coordinator).slice(0, leads ? undefined : 1)
  const drafts = nodes.map((node) => draftCopy(node, coordinator, target.catalog, options))
  const copies = drafts.flatMap((draft) => (draft.copy ? [draft.copy] : []))
  // A copy that Citus is to sync, and knows it, is nothing to commit again.
  const isNews = (change: RowChange) =>
    change.kind !== 'resync' ||
    target.catalog.some((row) => row.nodeid === change.nodeid && row.metadatasynced)
  const rewritten = copies.some((copy) => copy.steps.length > 0)
  const stale = drafts.filter((draft) => draft.leftOut && (rewritten || draft.differs))
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
    leftOut: stale.flatMap((draft) => (draft.leftOut ? [draft.leftOut] : [])),
    forbidden: drafts.flatMap((draft) => draft.forbidden),
    proofs: wanted.flatMap((diagnosis) => proofOf(diagnosis, coordinator)),
    remedies: target.remedies.filter((remedy) => !remedies.some((known) => same(known, remedy))),
    remediesEnded: remedies
      .filter((known) => !target.remedies.some((remedy) => remedy.nodeid === known.nodeid))
      .map((known) => known.nodeid),
    warnings: [...target.warnings, ...wanted.flatMap((diagnosis) => diagnosis.warnings)],
  }
}

function targetInput(
  survey: Survey,
  catalog: Catalog,
  diagnoses: readonly Diagnosis[],
  remedies: TargetInput['remedies'],
  aliases: readonly AliasOf[],
): TargetInput {
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const of = (group: number, address: HostPort) => {
    const node = answered.find((each) => sameAddress(each.address, address))
    return node?.citus?.localGroup === group ? node : undefined
  }
  const primaryIn = (group: number) => diagnoses.find((each) => each.group === group)?.primary ?? null
  return {
    catalog,
    diagnoses,
    remedies,
    aliases,
    expandReaders: answered
      .filter((node) => kindOf(node) === 'expand coordinator')
      .map((node) => ({ kind: 'expand coordinator', cluster: node.citus?.clusterName ?? 'default' })),
    servesAsStandby: (group, address) => of(group, address)?.inRecovery === true,
    streams: (group, address) => {
      const node = of(group, address)
      return node !== undefined && streamsFrom(node, primaryIn(group))
    },
  }
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
    .filter((node) => node.citus?.localGroup === group)
  return distinctServers(others).map((node) => ({ group, node: node.address }))
}

/** What is now known of a group's line, where it differs from the record. */
function proofOf(diagnosis: Diagnosis, coordinator: Answered): Lineage[] {
  const { primary, group, standing } = diagnosis
  if (standing === 'refused' || !primary || primary.timeline === null || primary.history === null) return []
  const { systemIdentifier, timeline, history } = primary
  const known = coordinator.installed?.lineage.find((line) => line.group === group)
  const proof = { group, systemIdentifier, timeline, history }
  return known && JSON.stringify(known) === JSON.stringify(proof) ? [] : [proof]
}

const same = (a: object, b: object): boolean => JSON.stringify(a) === JSON.stringify(b)
