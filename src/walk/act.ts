import { type ChangeOrder, type ChangeOutcome, change } from '../apply/change.ts'
import { closeParticipants, openParticipants } from '../apply/participants.ts'
import {
  BEGIN,
  commitPreparedSql,
  lockSql,
  prepareSql,
  rewriteSql,
  TAKE_CHANGE_LOCK,
} from '../apply/statements.ts'
import { Session } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatGid, parseGid } from '../model/gid.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { changesNothing } from '../model/plan.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { recordProofs } from './install.ts'
import type { View } from './look.ts'
import { recoverNow } from './recovery.ts'
import type { WalkRequest } from './walk.ts'

/** What became of a plan. */
export type Acted =
  | { readonly kind: 'nothing' }
  | {
      readonly kind: 'planned'
      readonly sql: readonly { readonly node: string; readonly statements: readonly string[] }[]
    }
  | {
      readonly kind: 'committed'
      readonly epoch: number
      readonly decidedAt: number
      readonly warnings: readonly string[]
    }
  | { readonly kind: 'in-doubt'; readonly why: string }
  | { readonly kind: 'blocked'; readonly why: string }

/** Nothing was changed, and a fresh survey may lead further: after a pause, or at once. */
export interface Again {
  readonly kind: 'again'
  readonly why: string
  readonly soon: 'at once' | 'after a pause'
}

/** As in gids, where the configuration gives no name: short, and the same on every run. */
export function clusterName(request: WalkRequest, coordinator: Answered): string {
  return request.cluster ?? `c${BigInt(coordinator.systemIdentifier).toString(36)}`
}

export async function act(
  access: Access,
  request: WalkRequest,
  view: View,
  clock: Clock,
): Promise<Acted | Again> {
  requireAllowed(view)
  if (request.mode === 'dry-run') return { kind: 'planned', sql: dryRun(request, view) }
  const cluster = clusterName(request, view.coordinator)
  const ours = (gid: string) => parseGid(gid, cluster, request.database) !== null
  if (view.survey.nodes.some((node) => node.kind === 'answered' && node.prepared.some(ours))) {
    const resolved = await clock.time('recover', () => recoverNow(access, request, view, 'resolve'))
    if (resolved.some(({ failed, resolution }) => failed === null && resolution.action !== 'leave')) {
      return { kind: 'again', why: 'resolved what an earlier change left in doubt', soon: 'at once' }
    }
  }
  if (changesNothing(view.plan)) {
    if (view.plan.proofs.length > 0) await clock.time('record', () => recordProofs(access, request, view))
    return { kind: 'nothing' }
  }
  return await carryOut(access, request, view, cluster, clock)
}

/** @throws CitusHaError naming what a superuser has to allow first */
function requireAllowed({ plan }: View): void {
  const [first] = plan.forbidden
  if (!first) return
  const address = formatAddress(first.address)
  throw new CitusHaError(
    'configuration',
    `group ${first.group} may not be given the address ${address} by this role; a superuser allows it with: citus-ha install, with ${address} under "standbys" or "addresses" of the configuration`,
  )
}

async function carryOut(
  access: Access,
  request: WalkRequest,
  view: View,
  cluster: string,
  clock: Clock,
): Promise<Acted | Again> {
  const limits = {
    lockTimeoutMs: request.lockTimeoutMs,
    statementMs: Math.max(4 * request.lockTimeoutMs, 2000),
    decisionWaitMs: request.decisionWaitMs,
  }
  const connect = (address: HostPort) => access.connect(address, request.database)
  const surveyed = (address: HostPort) => answeredAt(view, address)
  const { copies } = view.plan
  const participants = await clock
    .time('connect', () => openParticipants(copies, surveyed, connect, limits))
    .catch((error: unknown) => again(error))
  if ('kind' in participants) return participants
  try {
    const context = {
      limits,
      hooks: request.hooks,
      reconnect: async () => Session.open(await connect(view.coordinator.address)),
    }
    const outcome = await clock.time('change', () =>
      change(orderOf(request, view, cluster), participants, context),
    )
    if (outcome.kind === 'committed') clock.add('locked', outcome.lockedMs)
    return judge(outcome)
  } finally {
    await closeParticipants(participants)
  }
}

function orderOf(request: WalkRequest, view: View, cluster: string): ChangeOrder {
  const { plan, diagnoses } = view
  const touched = diagnoses.filter((diagnosis) =>
    plan.changes.some((change) => change.group === diagnosis.group),
  )
  return {
    plan,
    cluster,
    madeBy: request.madeBy,
    reason: plan.changes.map((change) => `${change.kind} ${change.from} -> ${change.to}`).join('; '),
    evidence: touched.flatMap(({ group, rule, code, summary, evidence }) => [
      `group ${group}: ${rule} ${code}: ${summary}`,
      ...evidence.map((line) => `group ${group}: ${line}`),
    ]),
  }
}

function judge(outcome: ChangeOutcome): Acted | Again {
  switch (outcome.kind) {
    case 'committed':
      return {
        kind: 'committed',
        epoch: outcome.epoch,
        decidedAt: performance.now(),
        warnings: outcome.warnings,
      }
    case 'in-doubt':
      return {
        kind: 'in-doubt',
        why: `${outcome.why}; any later run resolves it (${outcome.gids.join(', ')})`,
      }
    case 'outdated':
      return { kind: 'again', why: outcome.why, soon: 'at once' }
    case 'locked-out':
      return { kind: 'again', why: outcome.why, soon: 'after a pause' }
    case 'failed': {
      const left = outcome.leftovers.length > 0 ? ` (still prepared: ${outcome.leftovers.join(', ')})` : ''
      return again(Object.assign(new Error(`${outcome.why}${left}`), { code: outcome.code }))
    }
  }
}

/** @throws CitusHaError for what no second try mends */
function again(error: unknown): Again {
  const code = codeOf(error)
  const why = error instanceof Error ? error.message : String(error)
  if (code === SqlState.addressNotAllowed) {
    throw new CitusHaError(
      'configuration',
      `${why}; allow it as a superuser: citus-ha install, with the node under "standbys" of the configuration`,
    )
  }
  if (code === SqlState.insufficientPrivilege) {
    throw new CitusHaError('configuration', `${why}; run citus-ha install as a superuser to grant it`)
  }
  return { kind: 'again', why, soon: code === SqlState.staleEpoch ? 'at once' : 'after a pause' }
}

function answeredAt(view: View, address: HostPort): Answered {
  const node = view.survey.nodes.find((each) => sameAddress(each.address, address))
  if (node?.kind !== 'answered') throw new Error(`${formatAddress(address)} was not surveyed`)
  return node
}

/** The exact statements, but for the epoch and the random part of gids, which are known under the lock only. */
function dryRun(request: WalkRequest, { plan, coordinator }: View) {
  if (changesNothing(plan)) return []
  const epoch = (coordinator.installed?.epoch.epoch ?? 0) + 1
  const stamp = { timeline: coordinator.timeline ?? 0, epoch }
  const cluster = clusterName(request, coordinator)
  return plan.copies.map(({ node, role, steps }, participant) => {
    const gid = formatGid({ cluster, database: plan.database, ...stamp, random: '00000000', participant })
    const body = [lockSql(plan.fence), rewriteSql(stamp, steps, plan.unsynced)]
    const statements =
      role === 'coordinator'
        ? [BEGIN, TAKE_CHANGE_LOCK, ...body, 'SELECT citus_ha.decide(…)', 'COMMIT']
        : [BEGIN, ...body, prepareSql(gid), commitPreparedSql(gid)]
    return { node: formatAddress(node), statements }
  })
}
