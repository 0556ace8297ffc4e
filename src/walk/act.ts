import type { Watch } from '../apply/blockers.ts'
import { type ChangeOrder, type ChangeOutcome, change, type Failed, recoverCitus } from '../apply/change.ts'
import type { Fence } from '../apply/fence.ts'
import { ailingIn } from '../apply/participant-error.ts'
import { closeSessions, openSessions } from '../apply/participants.ts'
import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { type Ailing, describeEssential, whyAiling } from '../model/ailing.ts'
import type { Blocker } from '../model/blocker.ts'
import { CitusHaError } from '../model/failure.ts'
import { parseGid } from '../model/gid.ts'
import { isHeld } from '../model/intents.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { changesNothing, type Plan } from '../model/plan.ts'
import { shellWord } from '../model/shell.ts'
import type { Access } from './access.ts'
import { isDispensable, partOf } from './ailments.ts'
import type { Clock } from './clock.ts'
import { dryRun } from './dry-run.ts'
import { guardTransactions } from './guard.ts'
import { recordProofs } from './install.ts'
import { type LeftBehind, type Settled, settleLeftBehind } from './intents.ts'
import { limitsOf, watchOf } from './limits.ts'
import { clusterName, type View } from './look.ts'
import { recordPositions } from './positions.ts'
import { recoverNow } from './recovery.ts'
import { type Registered, registerAll } from './register.ts'
import { forgetStaleRemedies } from './remedies.ts'
import { retireLeft } from './retire.ts'
import type { WalkRequest } from './walk-request.ts'

/** What became of a plan. */
export type Acted = Done & {
  /** Switchovers that are left behind: a group of which may take no writes. */
  readonly unfinished: readonly Settled[]
}

type Done =
  | { readonly kind: 'nothing'; readonly warnings: readonly string[]; readonly unfenced: readonly string[] }
  /** Rows were added on the coordinator, with nothing else to be done; Citus ships them. */
  | ({
      readonly kind: 'registered'
      readonly decidedAt: number
      readonly unfenced: readonly string[]
    } & Registered)
  | {
      readonly kind: 'planned'
      readonly sql: readonly { readonly node: string; readonly statements: readonly string[] }[]
    }
  | {
      readonly kind: 'committed'
      readonly epoch: number
      readonly decidedAt: number
      readonly warnings: readonly string[]
      readonly unfenced: readonly string[]
      readonly ended: readonly Blocker[]
      /** What is left to do on the change's sessions, beside verifying it. Has to be called once. */
      readonly aftermath: () => Promise<void>
    }
  | { readonly kind: 'in-doubt'; readonly why: string }
  | {
      readonly kind: 'blocked'
      readonly why: string
      readonly blockers: readonly Blocker[]
      readonly warnings: readonly string[]
    }

/** Nothing was changed, and a fresh survey may lead further: after a pause, or at once. */
export interface Again {
  readonly kind: 'again'
  readonly why: string
  readonly soon: 'at once' | 'after a pause'
  /** A decision that could not be looked up: until it is, "nothing changed" is not known. */
  readonly inDoubt: string | null
  /** gids that may be prepared somewhere, for a later round or run to resolve. */
  readonly left: readonly string[]
  /** Who was in the way, and who was ended for it. */
  readonly blockers: readonly Blocker[]
  readonly ended: readonly Blocker[]
  /** Where nobody could say who was in the way. */
  readonly unasked: readonly string[]
  /** Whose part in the change failed, and with what. */
  readonly ailing: readonly Ailing[]
}

export async function act(
  access: Access,
  request: WalkRequest,
  view: View,
  clock: Clock,
): Promise<Acted | Again> {
  requireAllowed(view)
  if (request.quiesced.includes(view.coordinator.instance)) {
    // It is read-only, and would decide all the same, where its successor does not hear of it.
    const at = formatAddress(view.coordinator.address)
    const why = `${at} was the coordinator, and the server that replaced it does not answer`
    return again(new Error(why), watchOf(access, request))
  }
  const cluster = clusterName(request, view.coordinator)
  if (request.mode === 'dry-run')
    return { kind: 'planned', sql: dryRun(view, cluster, request), unfinished: [] }
  const ours = (gid: string) => parseGid(gid, cluster, request.database) !== null
  if (view.survey.nodes.some((node) => node.kind === 'answered' && node.prepared.some(ours))) {
    const resolved = await clock
      .time('recover', () => recoverNow(access, request, view, 'resolve', clock))
      .catch((error: unknown) => again(error, watchOf(access, request)))
    if (!Array.isArray(resolved)) return resolved
    if (resolved.some(({ failed, resolution }) => failed === null && resolution.action !== 'leave')) {
      return {
        ...again(
          new Error('resolved prepared transactions that an earlier change left'),
          watchOf(access, request),
        ),
        soon: 'at once',
      }
    }
  }
  const left = await settleLeftBehind(access, request, view.survey, clock).catch(
    (error: unknown): LeftBehind => ({ again: error, unfinished: [] }),
  )
  if (left.again !== null) return { ...again(left.again, watchOf(access, request)), soon: 'at once' }
  const done = changesNothing(view.plan)
    ? await keepRecords(access, request, view, clock)
    : await carryOut(access, request, view, cluster, clock)
  if (done.kind === 'again') return done
  return { ...(await retiringOthers(access, request, view, done, clock)), unfinished: left.unfinished }
}

/** A change retires the old primaries of its own groups: others that were left behind wait for nobody's next run. */
async function retiringOthers(
  access: Access,
  request: WalkRequest,
  { survey, diagnoses, plan }: View,
  done: Done,
  clock: Clock,
): Promise<Done> {
  if (done.kind !== 'committed') return done
  // A switchover that is at it holds its own.
  const own = plan.oldPrimaries.map(({ node }) => formatAddress(node))
  const nodes = survey.nodes.filter(
    (node) =>
      !own.includes(formatAddress(node.address)) &&
      !(node.kind === 'answered' && request.quiesced.includes(node.instance)),
  )
  const { failed, warnings } = await clock.time('retire', () =>
    retireLeft(access, request, { survey: { ...survey, nodes }, diagnoses }),
  )
  return {
    ...done,
    unfenced: [...done.unfenced, ...failed],
    warnings: [...done.warnings, ...warnings],
  }
}

/** Where no row is wrong: what was proved is recorded, what counts no more forgotten, and standbys get rows of their own. */
async function keepRecords(
  access: Access,
  request: WalkRequest,
  view: View,
  clock: Clock,
): Promise<Done | Again> {
  await guardTransactions(access, request, view)
  const { proofs, remediesStale, registrations } = view.plan
  const watch = watchOf(access, request)
  try {
    if (proofs.length > 0) await clock.time('record', () => recordProofs(access, request, view, clock))
    if (remediesStale.length > 0)
      await clock.time('forget', () => forgetStaleRemedies(access, request, view, clock))
    await recordPositions(access, request, view)
    const { failed, warnings } = await clock.time('retire', () => retireLeft(access, request, view))
    if (registrations.length === 0) return { kind: 'nothing', warnings, unfenced: failed }
    const done = await clock.time('register', () => registerAll(access, request, view, watch))
    const told = [...warnings, ...done.warnings]
    if (done.changes.length === 0) return { kind: 'nothing', warnings: told, unfenced: failed }
    return { kind: 'registered', decidedAt: performance.now(), ...done, warnings: told, unfenced: failed }
  } catch (error) {
    await Promise.all(watch.asked)
    return again(error, watch)
  }
}

/** @throws CitusHaError naming what a superuser has to allow first */
function requireAllowed({ plan, coordinator, survey }: View): void {
  const [first] = plan.forbidden
  if (!first) return
  const address = formatAddress(first.address)
  const asSuperuser = `postgres://postgres@${formatAddress(coordinator.address)}/${encodeURIComponent(survey.database)}`
  throw new CitusHaError(
    'configuration',
    `group ${first.group} may not be given the address ${address} by this role. Name ${address} under "standbys" or "addresses" of the configuration, then run as a superuser: citus-ha install; or make this change once as a superuser: citus-ha reconcile --group ${first.group} --promoted ${shellWord(address)} --coordinator ${shellWord(asSuperuser)}`,
  )
}

/** Inside the fence that is held for one of the groups, if it still is; what comes to nothing leaves it as it was. */
async function carryOut(
  access: Access,
  request: WalkRequest,
  view: View,
  cluster: string,
  clock: Clock,
): Promise<Done | Again> {
  const fence = request.fenceOf(view.plan.fence)
  if (fence === null || !(await fence.borrow())) {
    // One that has lost a session keeps its other locks until its time is over, and the change would wait for them.
    if (fence !== null && fence.endedWhy !== null) await fence.end(fence.endedWhy)
    return await changeInside(null, access, request, view, cluster, clock)
  }
  try {
    const acted = await changeInside(fence, access, request, view, cluster, clock)
    if (acted.kind !== 'committed') {
      await fence.giveBack()
      return acted
    }
    const aftermath = () => acted.aftermath().finally(() => fence.giveBack())
    return { ...acted, aftermath }
  } catch (error) {
    await fence.giveBack()
    throw error
  }
}

async function changeInside(
  fence: Fence | null,
  access: Access,
  request: WalkRequest,
  view: View,
  cluster: string,
  clock: Clock,
): Promise<Done | Again> {
  const limits = limitsOf(request)
  const open = (address: HostPort) => access.open(address, request.database)
  const surveyed = (address: HostPort) => answeredAt(view, address)
  const watch = watchOf(access, request, heldIn(view))
  const { copies } = view.plan
  const oldPrimaries = view.plan.oldPrimaries.filter(
    ({ node }) => !request.quiesced.includes(surveyed(node).instance),
  )
  const fenced = (server: Answered) => fence?.at(server) ?? null
  const opened = await clock
    .time('connect', () => openSessions({ copies, oldPrimaries }, { surveyed, open, limits, fenced }))
    .catch((error: unknown) =>
      failedRound({ why: messageOf(error), code: codeOf(error), ailing: ailingIn(error) }, watch, view.plan),
    )
  if ('kind' in opened) return opened
  const context = {
    limits,
    hooks: request.hooks,
    inFlight: request.inFlight,
    watch,
    fence,
    reconnect: () => open(view.coordinator.address),
  }
  const aftermath = async () => {
    if (view.plan.fence.length > 0) await recoverCitus(opened, context)
    await closeSessions(opened)
  }
  try {
    const outcome = await clock.time('change', () => change(orderOf(request, view, cluster), opened, context))
    await Promise.all(watch.asked)
    if (outcome.kind !== 'committed') {
      await closeSessions(opened)
      return judge(outcome, watch, view)
    }
    await fence?.dismiss([...opened.participants, ...opened.oldPrimaries].map(({ session }) => session))
    clock.add('locked', outcome.lockedMs)
    return { ...outcome, warnings: [...outcome.warnings, ...watch.unasked], ended: watch.ended, aftermath }
  } catch (error) {
    await closeSessions(opened)
    throw error
  }
}

/**
 * Old primaries that a switchover has made read-only and left behind. Who writes there all the same writes what is lost, and may wait
 * for ever: for a synchronous standby that is the primary by now. The switchover would have ended it as well.
 */
function heldIn(view: View): HostPort[] {
  return view.plan.oldPrimaries
    .filter(({ node, group }) => isHeld(answeredAt(view, node), group))
    .map(({ node }) => node)
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

function judge(
  outcome: Exclude<ChangeOutcome, { kind: 'committed' }>,
  watch: Watch,
  { plan }: Pick<View, 'plan'>,
): Again {
  switch (outcome.kind) {
    case 'in-doubt': {
      const why = `${outcome.why}; run citus-ha recover to resolve it (${outcome.gids.join(', ')})`
      return { ...again(new Error(why), watch), inDoubt: why, left: outcome.gids }
    }
    case 'outdated':
      return { ...failedRound(outcome, watch, plan), soon: 'at once' }
    case 'locked-out':
      return failedRound(outcome, watch, plan)
    case 'failed': {
      const left =
        outcome.leftovers.length > 0 ? ` (may still be prepared: ${outcome.leftovers.join(', ')})` : ''
      const failed = failedRound(outcome, watch, plan)
      return { ...failed, why: `${failed.why}${left}`, left: outcome.leftovers }
    }
  }
}

/**
 * A round in which participants failed: those that the change can do without are left out of a later one.
 * @throws CitusHaError for what no second try mends, with one that it can't do without
 */
function failedRound({ why, code, ailing }: Failed, watch: Watch, plan: Plan): Again {
  const essential = ailing.filter((each) => !isDispensable(each, plan))
  const isBlocked = ({ node }: Ailing) => watch.seen.some((blocker) => sameAddress(blocker.node, node))
  const told = ailing.map((each) =>
    essential.includes(each)
      ? // Who is in the way has a line of his own.
        describeEssential(each, partOf(each, plan), isBlocked(each) ? null : plan.database)
      : `${formatAddress(each.node)}, ${whyAiling(each)}`,
  )
  const error = new Error(told.length > 0 ? told.join('; ') : why)
  const [first] = essential
  const decides = ailing.length === 0 ? code : (first?.code ?? undefined)
  return { ...again(Object.assign(error, { code: decides }), watch), ailing }
}

/** @throws CitusHaError for what no second try mends */
export function again(error: unknown, watch: Watch): Again {
  const code = codeOf(error)
  const why = error instanceof Error ? error.message : String(error)
  if (code === SqlState.addressNotAllowed) {
    throw new CitusHaError(
      'configuration',
      `${why}; name the node under "standbys" of the configuration, then run as a superuser: citus-ha install`,
    )
  }
  if (code === SqlState.insufficientPrivilege) {
    throw new CitusHaError('configuration', `${why}; run citus-ha install as a superuser to grant it`)
  }
  // Whoever was in a deadlock with us goes on by now, and whoever has changed a copy has done so.
  const isOver: readonly unknown[] = [SqlState.staleEpoch, SqlState.unexpectedCopy, SqlState.deadlockDetected]
  const soon = isOver.includes(code) ? 'at once' : 'after a pause'
  const { seen, ended, unasked } = watch
  return { kind: 'again', why, soon, inDoubt: null, left: [], blockers: seen, ended, unasked, ailing: [] }
}

function answeredAt(view: View, address: HostPort): Answered {
  const node = view.survey.nodes.find((each) => sameAddress(each.address, address))
  if (node?.kind !== 'answered') throw new Error(`${formatAddress(address)} was not surveyed`)
  return node
}
