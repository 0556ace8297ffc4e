import { streamsFrom } from '../diagnose/diagnose.ts'
import { type Catalog, COORDINATOR_GROUP, primaryOf, sameCatalog } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Lineage, Survey } from '../model/observation.ts'
import type { CopyPlan, CopyRole, LeftOut, Plan, RowChange, Step } from '../model/plan.ts'
import { type AliasOf, isAliasOf } from './alias.ts'
import { describe, simulate } from './simulate.ts'
import { stepsBetween } from './steps.ts'
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
  const wanted = diagnoses.filter((each) => options.groups === null || options.groups.includes(each.group))
  const remedies = coordinator.installed?.remedies ?? []
  const target = targetOf(targetInput(survey, coordinator.citus.catalog, wanted, remedies, options.aliases))
  const nodes = copyNodes(survey, diagnoses, coordinator)
  const drafts = nodes.map((node) => draftCopy(node, coordinator, target.catalog, options))
  const copies = drafts.flatMap((draft) => (draft.copy ? [draft.copy] : []))
  const rewritten = copies.some((copy) => copy.steps.length > 0)
  const stale = drafts.filter((draft) => draft.leftOut && (rewritten || draft.differs))
  return {
    database: survey.database,
    fence: fencedBy(copies),
    changes: [...target.changes, ...drafts.flatMap((draft) => draft.changes)],
    copies,
    unsynced: stale
      .map((draft) => draft.leftOut?.nodeid ?? null)
      .filter((nodeid) => nodeid !== null)
      .filter((nodeid) => target.catalog.some((row) => row.nodeid === nodeid && row.metadatasynced)),
    leftOut: stale.flatMap((draft) => (draft.leftOut ? [draft.leftOut] : [])),
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
    serves: (group, address) => of(group, address) !== undefined,
    servesAsStandby: (group, address) => of(group, address)?.inRecovery === true,
    streams: (group, address) => {
      const node = of(group, address)
      return node !== undefined && streamsFrom(node, primaryIn(group))
    },
  }
}

/** A node that holds, or should hold, a copy that Citus reads when it routes a query. */
interface CopyNode {
  readonly address: HostPort
  readonly nodeid: number | null
  readonly role: CopyRole
  /** The server to be written; or why there is none. */
  readonly server: Answered | string
}

function copyNodes(survey: Survey, diagnoses: readonly Diagnosis[], coordinator: Answered): CopyNode[] {
  const catalog = coordinator.citus?.catalog ?? []
  const own = primaryOf(catalog, COORDINATOR_GROUP)
  const workers = diagnoses
    .filter((diagnosis) => diagnosis.group !== COORDINATOR_GROUP)
    .flatMap((diagnosis): CopyNode[] => {
      const row = primaryOf(catalog, diagnosis.group)
      if (!row?.hasmetadata) return []
      const role = diagnosis.standing === 'proved' ? 'promoted' : 'metadata worker'
      const server = diagnosis.primary ?? diagnosis.summary
      return [{ address: diagnosis.primary?.address ?? row.address, nodeid: row.nodeid, role, server }]
    })
  const expand = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
    .filter((node) => kindOf(node) === 'expand coordinator' && node.citus?.localGroup === COORDINATOR_GROUP)
    .map(
      (node): CopyNode => ({ address: node.address, nodeid: null, role: 'expand coordinator', server: node }),
    )
  const first: CopyNode = {
    address: coordinator.address,
    nodeid: own?.nodeid ?? null,
    role: 'coordinator',
    server: coordinator,
  }
  const seen = new Set<string>()
  return [first, ...workers, ...expand].filter((node) => {
    const key = typeof node.server === 'string' ? formatAddress(node.address) : node.server.instance
    return seen.has(key) ? false : seen.add(key)
  })
}

interface CopyDraft {
  readonly copy?: CopyPlan
  readonly leftOut?: LeftOut
  /** The copy can be read and is not what it should be. */
  readonly differs: boolean
  readonly changes: readonly RowChange[]
}

function draftCopy(node: CopyNode, coordinator: Answered, target: Catalog, options: PlanOptions): CopyDraft {
  const { server, address, nodeid, role } = node
  const leave = (why: string, differs: boolean, changes: RowChange[] = []): CopyDraft => {
    return { leftOut: { node: address, nodeid, why }, differs, changes }
  }
  if (typeof server === 'string') return leave(server, false)
  const before = server.citus?.catalog ?? []
  const truth = coordinator.citus?.catalog ?? []
  const after = role === 'expand coordinator' ? ownRows(before, truth, target) : target
  const differs = !sameCatalog(before, after)
  const installed = server.installed
  // A superuser's walk installs the schema first.
  const usable = server.superuser || (installed?.mayExecute && installed.migration >= options.migration)
  if (!usable) {
    return leave('the schema citus_ha is missing or old there: run citus-ha install', differs)
  }
  const steps = stepsBetween(before, after)
  const reach = steps?.every((step) => allowed(step, before, server, options.aliases))
  if (!steps || !reach) {
    const group = server.citus?.localGroup ?? COORDINATOR_GROUP
    const from = 'differs in more than addresses'
    const change = {
      group,
      nodeid: nodeid ?? 0,
      kind: 'resync',
      from,
      to: 'as the coordinator’s',
      why: 'left to Citus’s own sync',
    } as const
    return leave('its copy needs Citus’s own metadata sync', true, [change])
  }
  simulate(before, steps)
  const drifted = role !== 'coordinator' && role !== 'expand coordinator' && !sameCatalog(before, truth)
  return {
    copy: { node: address, role, before, steps, after },
    differs,
    changes: drifted ? driftOf(node, before, steps) : [],
  }
}

/** Would `citus_ha.may_have_address` let this step pass for a role without further rights? */
function allowed(step: Step, before: Catalog, server: Answered, aliases: readonly AliasOf[]): boolean {
  if (step.op !== 'move' || step.to.host.endsWith('.invalid') || server.superuser) return true
  const group = before.find((row) => row.nodeid === step.nodeid)?.group
  const known = [
    ...before.filter((row) => row.group === group).map((row) => row.address),
    ...(server.installed?.spareAddresses ?? [])
      .filter((spare) => spare.group === group)
      .map((spare) => spare.address),
  ]
  return known.some((address) => sameAddress(address, step.to) || isAliasOf(step.to, address, aliases))
}

/** An expand coordinator with a copy of its own has its own nodeids: it follows by group and address. */
function ownRows(before: Catalog, truth: Catalog, target: Catalog): Catalog {
  return before.map((row) => {
    const was = truth.find((each) => each.group === row.group && sameAddress(each.address, row.address))
    const now = was && target.find((each) => each.nodeid === was.nodeid)
    return now ? { ...row, address: now.address, rack: now.rack, isactive: now.isactive } : row
  })
}

function driftOf(node: CopyNode, before: Catalog, steps: readonly Step[]): RowChange[] {
  return steps
    .filter((step) => step.op !== 'move' || !step.to.host.endsWith('.invalid'))
    .map((step) => ({
      group: before.find((row) => row.nodeid === step.nodeid)?.group ?? COORDINATOR_GROUP,
      nodeid: step.nodeid,
      kind: 'drift-repaired',
      from: step.op === 'move' ? formatAddress(step.from) : `${step.column} ${step.from}`,
      to: step.op === 'move' ? formatAddress(step.to) : `${step.column} ${step.to}`,
      why: `the copy of ${formatAddress(node.address)} differed from the coordinator’s (${describe(step)})`,
    }))
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
