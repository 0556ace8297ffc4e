import { type Ailing, describeLeftOut } from '../model/ailing.ts'
import {
  type Catalog,
  type CatalogRow,
  COORDINATOR_GROUP,
  primaryOf,
  sameCatalog,
  secondariesOf,
} from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { kindOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { CopyPlan, CopyRole, LeftOut, Plan, RowChange, Step } from '../model/plan.ts'
import { withoutRemedies } from '../model/remedy.ts'
import { isAliasOf } from './alias.ts'
import type { PlanOptions } from './options.ts'
import { type OrderInput, orderSteps } from './order.ts'
import { describe, simulate } from './simulate.ts'
import { stepsBetween } from './steps.ts'

/** A node that holds, or should hold, a copy that Citus reads when it routes a query. */
export interface CopyNode {
  readonly address: HostPort
  readonly nodeid: number | null
  readonly role: CopyRole
  /** The server to be written; or why there is none. */
  readonly server: Answered | string
  /** No server runs there: its port refuses connections. */
  readonly isDown: boolean
}

export function copyNodes(
  survey: Survey,
  diagnoses: readonly Diagnosis[],
  coordinator: Answered,
): CopyNode[] {
  const catalog = withoutRemedies(coordinator.citus?.catalog ?? [], coordinator.installed?.remedies ?? [])
  const own = primaryOf(catalog, COORDINATOR_GROUP)
  const workers = diagnoses
    .filter((diagnosis) => diagnosis.group !== COORDINATOR_GROUP)
    .flatMap((diagnosis): CopyNode[] => {
      const row = primaryOf(catalog, diagnosis.group)
      if (!row?.hasmetadata || diagnosis.code === 'disabled') return []
      const role = diagnosis.standing === 'proved' ? 'promoted' : 'metadata worker'
      const server = diagnosis.primary ?? diagnosis.summary
      const address = diagnosis.primary?.address ?? row.address
      const seen = survey.nodes.find((node) => sameAddress(node.address, address))
      const isDown = seen?.kind === 'unreachable' && seen.cause === 'refused'
      return [{ address, nodeid: row.nodeid, role, server, isDown }]
    })
  const expand = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
    .filter((node) => kindOf(node) === 'expand coordinator' && node.citus?.localGroup === COORDINATOR_GROUP)
    .map((server): CopyNode => {
      const { address } = server
      return { address, nodeid: null, role: 'expand coordinator', server, isDown: false }
    })
  const first: CopyNode = {
    address: coordinator.address,
    nodeid: own?.nodeid ?? null,
    role: 'coordinator',
    server: coordinator,
    isDown: false,
  }
  const seen = new Set<string>()
  return [first, ...workers, ...expand].filter((node) => {
    const key = typeof node.server === 'string' ? formatAddress(node.address) : node.server.instance
    return seen.has(key) ? false : seen.add(key)
  })
}

/** What every copy should come to. */
export interface CopyTarget {
  readonly catalog: Catalog
  readonly order: (server: Answered) => OrderInput
  /** Groups whose primary's row names a standby. */
  readonly degraded: readonly number[]
}

export interface CopyDraft {
  readonly copy?: CopyPlan
  readonly leftOut?: LeftOut
  readonly forbidden: Plan['forbidden']
  /** The copy can be read and is not what it should be. */
  readonly differs: boolean
  readonly isReadable: boolean
  readonly changes: readonly RowChange[]
}

/** What a change does to one copy, or why it is left out. */
export function draftCopy(
  node: CopyNode,
  coordinator: Answered,
  target: CopyTarget,
  options: PlanOptions & { readonly database: string },
): CopyDraft {
  const { server, address, nodeid, role } = node
  const isReadable = typeof server !== 'string'
  const ailing = role === 'coordinator' ? null : ailingAt(node, options)
  const leave = (why: string, differs: boolean, changes: RowChange[] = []): CopyDraft => {
    const sendsAstray = node.isDown ? [] : astray(isReadable ? before : null, goal)
    const leftOut = { node: address, nodeid, why, ailing, sendsAstray }
    return { leftOut, forbidden: [], differs, isReadable, changes }
  }
  const before = isReadable ? (server.citus?.catalog ?? []) : []
  const truth = coordinator.citus?.catalog ?? []
  const own = role === 'expand coordinator'
  const goal = own ? ownRows(before, truth, target.catalog) : inOrderOf(before, target.catalog)
  if (!isReadable) return leave(server, false)
  const differs = !sameCatalog(before, goal)
  const installed = server.installed
  if (ailing) return leave(describeLeftOut(ailing, options.database), differs)
  if (server.untrusted.length > 0) {
    return leave(
      `the schema citus_ha there was not made by citus-ha: ${server.untrusted.join('; ')}`,
      differs,
    )
  }
  // A superuser's walk installs the schema first.
  if (!server.superuser && !isCurrent(installed, options.migration)) {
    const why =
      installed && !installed.mayExecute
        ? 'this role may not use the schema citus_ha there: connect as the role that citus-ha install created'
        : 'the schema citus_ha is missing or old there: run citus-ha install'
    return leave(why, differs)
  }
  const rewrite = stepsBetween(before, goal)
  const forbidden = (rewrite ?? []).flatMap((step) => forbiddenBy(step, before, server))
  // What the coordinator's copy may not be given, nobody can spread.
  if (!rewrite || (forbidden.length > 0 && role !== 'coordinator')) {
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
  const order = orderSteps(
    goal,
    rewrite.map((step) => step.nodeid),
    target.order(server),
  )
  const steps = [...rewrite, ...order]
  // Its Citus may delete its records of a degraded group; or it still has some of one that was.
  const isGuarded = !own && (target.degraded.length > 0 || installed?.keepsTransactions === true)
  const after = simulate(before, steps)
  const drifted = role !== 'coordinator' && !own && !sameCatalog(before, truth)
  const moved = rewrite.length === 0 ? readsMoved(node, before, order) : []
  return {
    copy: { node: address, role, before, steps, after, isGuarded },
    forbidden,
    differs,
    isReadable,
    changes: drifted ? driftOf(node, before, rewrite) : moved,
  }
}

/** Groups whose primary these rows don't name, or are not known to. */
function astray(rows: Catalog | null, goal: Catalog): number[] {
  const isRight = (row: CatalogRow) => {
    const own = rows && primaryOf(rows, row.group)
    return own ? sameAddress(own.address, row.address) : false
  }
  return goal.filter((row) => row.role === 'primary' && !isRight(row)).map(({ group }) => group)
}

function ailingAt({ address, server }: CopyNode, { ailing }: PlanOptions): Ailing | null {
  const names = typeof server === 'string' ? [address] : [address, server.address]
  return ailing.find(({ node }) => names.some((name) => sameAddress(name, node))) ?? null
}

/** Whether a role may use it, and it is the one of this program. */
function isCurrent(installed: Answered['installed'], migration: number): boolean {
  return installed?.mayExecute === true && installed.migration >= migration && installed.drift.length === 0
}

/** The same rows in the order in which they stand in this copy. */
function inOrderOf(before: Catalog, target: Catalog): Catalog {
  const place = new Map(before.map((row, n) => [row.nodeid, n]))
  const placeOf = ({ nodeid }: CatalogRow) => place.get(nodeid) ?? before.length
  return [...target].sort((a, b) => placeOf(a) - placeOf(b))
}

function readsMoved(node: CopyNode, before: Catalog, order: readonly Step[]): RowChange[] {
  return order.flatMap(({ nodeid }): RowChange[] => {
    const row = before.find((each) => each.nodeid === nodeid)
    if (!row) return []
    const { group, cluster, address } = row
    const [first] = secondariesOf(before, group, cluster)
    const from = first ? formatAddress(first.address) : 'nobody'
    const why = `in the copy of ${formatAddress(node.address)} a secondary that serves no reads comes before one that does`
    return [{ group, nodeid, kind: 'reads-moved', from, to: formatAddress(address), why }]
  })
}

/** The address that `citus_ha.may_have_address` would not let this step give, for a role without further rights. */
function forbiddenBy(step: Step, before: Catalog, server: Answered): Plan['forbidden'] {
  if (step.op !== 'move' || step.to.host.endsWith('.invalid') || server.superuser) return []
  const group = before.find((row) => row.nodeid === step.nodeid)?.group ?? COORDINATOR_GROUP
  const known = [
    ...before.filter((row) => row.group === group).map((row) => row.address),
    ...(server.installed?.spareAddresses ?? [])
      .filter((spare) => spare.group === group)
      .map((spare) => spare.address),
  ]
  const may = known.some((address) => sameAddress(address, step.to) || isAliasOf(step.to, address, []))
  return may ? [] : [{ group, address: step.to }]
}

/** What a node's copy should be where the coordinator's is `truth`: the same, or an expand coordinator's own rows. */
export function copyShouldBe(
  before: Catalog,
  truth: Catalog,
  own: 'own rows' | 'as the coordinator’s',
): Catalog {
  return own === 'own rows' ? ownRows(before, truth, truth) : truth
}

/**
 * An expand coordinator with a copy of its own has its own nodeids. The primary's row of a group follows the
 * primary; a secondary's row follows its address, or, where that is gone, takes one that no row here has.
 */
function ownRows(before: Catalog, truth: Catalog, target: Catalog): Catalog {
  const goals = new Map<number, CatalogRow>()
  for (const row of before) {
    const now = row.role === 'primary' ? primaryOf(target, row.group) : followed(row, truth, target)
    if (now) goals.set(row.nodeid, now)
  }
  for (const row of before.filter((each) => each.role === 'secondary' && !goals.has(each.nodeid))) {
    const given = [...goals.values()]
    const free = target.find(
      (now) => now.group === row.group && now.role === 'secondary' && !given.includes(now),
    )
    const taken = given.some((now) => sameAddress(now.address, row.address))
    if (taken && free) goals.set(row.nodeid, free)
  }
  return before.map((row) => {
    const now = goals.get(row.nodeid)
    return now ? { ...row, address: now.address, rack: now.rack, isactive: now.isactive } : row
  })
}

function followed(row: CatalogRow, truth: Catalog, target: Catalog): CatalogRow | undefined {
  const was = truth.find((each) => each.group === row.group && sameAddress(each.address, row.address))
  const now = was && target.find((each) => each.nodeid === was.nodeid)
  return now?.role === 'secondary' ? now : undefined
}

function driftOf(node: CopyNode, before: Catalog, steps: readonly Step[]): RowChange[] {
  return steps
    .filter((step) => step.op === 'move' || step.op === 'set')
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
