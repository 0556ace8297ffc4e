import { setTimeout as pause } from 'node:timers/promises'
import { diagnose } from '../diagnose/diagnose.ts'
import type { Facts, Finding } from '../doctor/check.ts'
import { examine } from '../doctor/examine.ts'
import { CALLABLE } from '../install/grants.ts'
import type { Inspection } from '../model/inspection.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import { type Remark, remark } from '../model/remark.ts'
import { distinctServers } from '../model/servers.ts'
import { inspect } from '../observe/inspect.ts'
import { plan } from '../plan/plan.ts'
import type { Access } from './access.ts'
import { readActivity } from './activity.ts'
import { requireCoordinator } from './checks.ts'
import { Clock } from './clock.ts'
import { copiesOf } from './copies.ts'
import { factsOf } from './facts.ts'
import { givenOf, observe, type View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

/** What `citus-ha doctor` found in one database. */
export interface Examination {
  readonly database: string
  readonly coordinator: string
  /** ISO 8601, of the survey. */
  readonly at: string
  /** Servers that were looked at closely. */
  readonly servers: readonly string[]
  /** Worst first. */
  readonly findings: readonly Finding[]
  /** The findings’ sentences, as every other answer has them. */
  readonly remarks: readonly Remark[]
}

const LOOKS = 3
const LOOK_AGAIN_MS = 300
const PROGRESS_AFTER_MS = 1000
const PROGRESS_EVERY_MS = 5000

/**
 * Looks for what would make the next failover fail, in one database. Changes nothing and takes no lock.
 * @throws CitusHaError without a coordinator
 */
export async function examineDatabase(
  access: Access,
  request: WalkRequest,
  maxLagBytes: number,
): Promise<Examination> {
  const waiting = new Set<string>(['the survey'])
  const stop = tellSlowness(request, waiting)
  try {
    const view = await settledView(access, request)
    waiting.clear()
    const { survey, coordinator } = view
    const [inspections, { activity }] = await Promise.all([
      inspectAll(access, request, survey, waiting),
      readActivity(access, coordinator, request.database),
    ])
    const findings = examine({ ...factsOf(view, inspections, maxLagBytes), activity })
    return {
      database: request.database,
      coordinator: formatAddress(coordinator.address),
      at: survey.at,
      servers: inspections.map(({ node }) => formatAddress(node.address)),
      findings,
      remarks: findings.map(({ code, group, node, summary }) => remark(code, summary, { group, node })),
    }
  } finally {
    stop()
  }
}

/** Citus's own sync may be at work on a copy, or a standby behind by a moment: that is looked at again. */
async function settledView(access: Access, request: WalkRequest): Promise<View> {
  for (let look = 1; ; look++) {
    const view = viewOf(await observe(access, request, new Clock()), access, request)
    const unsettled =
      copiesOf(view).some(({ differs }) => differs) ||
      (view.coordinator.citus?.catalog ?? []).some((row) => row.hasmetadata && !row.metadatasynced)
    if (!unsettled || look === LOOKS) return view
    await pause(LOOK_AGAIN_MS, undefined, { signal: request.signal })
  }
}

/** As for a walk, but that two coordinators are something to tell of, and no reason to stop. */
function viewOf(survey: Survey, access: Access, request: WalkRequest): View {
  const { claims, aliases, routing } = request
  const coordinator = coordinatorOf(survey.nodes) ?? requireCoordinator(survey)
  const diagnoses = diagnose(survey, claims)
  const { following } = claims
  const options = {
    groups: null,
    aliases,
    routing,
    following,
    register: [],
    ailing: [],
    migration: access.migration,
  }
  const made = plan(survey, diagnoses, options)
  const given = givenOf(access, request, coordinator)
  return { survey, coordinator, diagnoses, plan: made, groups: null, aliases, given }
}

/**
 * What the checks look at, of some servers only and without asking whom they reach.
 * @throws CitusHaError where the request is given up
 */
export async function factsAbout(
  access: Access,
  request: WalkRequest,
  view: View,
  servers: readonly Answered[],
  maxLagBytes: number,
): Promise<Facts> {
  const open = (address: HostPort) => access.open(address, request.database)
  const options = { open, targets: [], functions: CALLABLE, signal: request.signal }
  const inspections = await Promise.all(distinctServers(servers).map((node) => inspect(node, options)))
  return factsOf(view, inspections, maxLagBytes)
}

async function inspectAll(
  access: Access,
  { database, claims, signal }: WalkRequest,
  survey: Survey,
  waiting: Set<string>,
): Promise<Inspection[]> {
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const rows = coordinatorOf(survey.nodes)?.citus?.catalog ?? []
  const named = [...rows.map((row) => row.address), ...claims.standbys.map(({ address }) => address)]
  const targets = distinct(named).filter((address) =>
    answered.some((node) => formatAddress(node.address) === formatAddress(address)),
  )
  const open = (address: HostPort) => access.open(address, database)
  const inspections = await Promise.all(
    distinctServers(answered).map(async (node) => {
      const address = formatAddress(node.address)
      waiting.add(address)
      try {
        return await inspect(node, { open, targets, functions: CALLABLE, signal })
      } finally {
        waiting.delete(address)
      }
    }),
  )
  signal.throwIfAborted()
  return inspections
}

function distinct(addresses: readonly HostPort[]): HostPort[] {
  return [...new Map(addresses.map((address) => [formatAddress(address), address])).values()]
}

/** Says, after a second and then now and again, what is still being waited for. @returns what ends it */
function tellSlowness({ database, progress }: WalkRequest, waiting: ReadonlySet<string>): () => void {
  const tell = () => progress(`${database}: still waiting for ${[...waiting].join(', ')}`)
  let every: NodeJS.Timeout | undefined
  const first = setTimeout(() => {
    tell()
    every = setInterval(tell, PROGRESS_EVERY_MS)
  }, PROGRESS_AFTER_MS)
  return () => {
    clearTimeout(first)
    clearInterval(every)
  }
}
