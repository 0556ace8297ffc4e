import { messageOf } from '../db/sqlstate.ts'
import type { Blocker } from '../model/blocker.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { formatAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import { refusal } from '../model/refusal.ts'
import { textsOf } from '../model/remark.ts'
import { STOP_SERVER } from '../model/server-commands.ts'
import {
  type BareReport,
  type SwitchoverOutcome,
  type SwitchoverReport,
  withRemarks,
} from '../model/switchover.ts'
import { silenceIn } from '../observe/silence.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { behind } from '../walk/report.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { SpareSessions } from '../watch/spares.ts'
import { changeRows } from './change.ts'
import type { Move } from './check.ts'
import { runCommand } from './command.ts'
import { describeLate, describeUncounted } from './late.ts'
import { type Looked, lookBefore, planLines } from './look.ts'
import type { SwitchoverOrder } from './order.ts'
import { Overtaken, TooLate } from './patience.ts'
import { NotAskedFor } from './promote.ts'
import { retireAnew } from './retire.ts'
import { returnedAs } from './returned.ts'
import { Rollbacks } from './rollbacks.ts'
import { holdInRounds } from './rounds.ts'
import type { Scope } from './scope.ts'
import type { Side } from './side.ts'
import { each, nodesOf, Stage } from './stage.ts'
import { describeUnknown, undoSides } from './undo.ts'

/** How long reads on the old primary get to come to their end. */
const DRAIN_MS = 1000
const COMMAND_MS = 60_000
const SPARE_MS = 2000
const LOCK_MS = 300
/** A change that is given up after the promotion costs more than a node that hangs in it: a busy server gets longer than elsewhere. */
const STATEMENT_MS = 4000
/** What was checked longer ago is checked again. */
const OLD_MS = 200

/**
 * Swaps primaries and standbys without a failed statement: fence, quiesce, promote, change, and only then demote. Before
 * the promotion whatever fails is undone; afterwards it only goes forward.
 * @param requests one a database that has Citus, of one cluster
 * @throws CitusHaError where nothing can be said of the cluster, or the order makes no sense; nothing was touched then
 */
export async function switchover(
  access: Access,
  requests: readonly WalkRequest[],
  order: SwitchoverOrder,
): Promise<SwitchoverReport> {
  return withRemarks(await switched(access, requests, order))
}

async function switched(
  access: Access,
  requests: readonly WalkRequest[],
  order: SwitchoverOrder,
): Promise<BareReport> {
  const clock = new Clock()
  const looked = await clock.time('check', () => lookBefore(access, requests, order))
  const plan = planLines(looked, order)
  const before = new Run([], looked, order, clock)
  if (looked.refusals.length > 0) return { ...before.refused(looked.refusals), plan }
  if (order.mode === 'dry-run') return { ...before.report('planned', null), plan }
  const asked = performance.now()
  if (!(await order.confirm(plan))) return { ...before.report('blocked', 'it was not confirmed'), plan }
  // Whoever has thought it over has agreed to what was, and not to what is by now.
  const isOld = performance.now() - asked > OLD_MS
  const now = isOld ? await clock.time('check again', () => lookBefore(access, requests, order)) : looked
  const changed = sameMoves(looked, now)
    ? []
    : [
        refusal(
          'the situation has changed since the confirmation',
          `citus-ha switchover ${order.host === null ? `--group ${order.groups.join(',')}` : `--node ${order.host}`} --dry-run   # then run the same command again`,
        ),
      ]
  const refusals = [...now.refusals, ...changed]
  if (refusals.length > 0) return { ...before.refused(refusals), plan }
  const scopes = scopesOf(access, requests, now, order)
  try {
    for (const scope of scopes) scope.access.keep(nodesOf(scope.checked))
    return { ...(await new Run(scopes, now, order, clock).carryOut()), plan }
  } finally {
    await Promise.all(scopes.map((scope) => scope.access.close()))
  }
}

/** By their addresses, as the question had them: a server that was restarted meanwhile has just been checked again. */
function sameMoves(one: Looked, other: Looked): boolean {
  const told = ({ checked }: Looked) =>
    checked.map(({ moves }) =>
      moves.map(({ group, from, to }) => [group, formatAddress(from.address), formatAddress(to.address)]),
    )
  return JSON.stringify(told(one)) === JSON.stringify(told(other))
}

function scopesOf(
  access: Access,
  requests: readonly WalkRequest[],
  { checked, ailing, surveys }: Looked,
  { totalLimitMs }: SwitchoverOrder,
): Scope[] {
  // Whoever plans a pause has more patience within a round than a change that nobody waited for.
  const patience = Math.min(LOCK_MS, totalLimitMs / 4)
  return requests.flatMap((given, n): Scope[] => {
    const [own, survey] = [checked[n], surveys[n]]
    const request = {
      ...given,
      lockTimeoutMs: Math.max(given.lockTimeoutMs, patience),
      statementMs: Math.max(given.statementMs, STATEMENT_MS),
      ailing: ailing[n] ?? [],
      silence: survey ? silenceIn(survey, Promise.resolve()) : null,
    }
    return own
      ? [{ request, checked: own, access: new SpareSessions(access, request.database, SPARE_MS) }]
      : []
  })
}

/** Some groups are promoted, others not. */
interface Stuck {
  readonly outcome: 'partly' | 'unproved'
  readonly why: string
}

/** One switchover, step by step. */
class Run {
  readonly #scopes: readonly Scope[]
  readonly #order: SwitchoverOrder
  readonly #databases: readonly string[]
  readonly #moves: readonly Move[]
  readonly #clock: Clock
  readonly #stage: Stage
  readonly #warnings: string[]
  readonly #cutOff: Blocker[] = []
  readonly #left: string[] = []
  /** Whose groups were not promoted, while others were. */
  readonly #failed: Side[] = []
  /** Why old primaries are not known to be retired, a line each. */
  readonly #unretired: string[] = []
  #reports: readonly Report[] = []
  /** Whether the change was committed, in every database. */
  #isDecided = false
  /** `performance.now()` of the last commit. */
  #pauseEnded: number | null = null
  #othersMs = 0
  /** What the steps inside of the one that runs have taken. */
  #insideMs = 0

  constructor(
    scopes: readonly Scope[],
    { databases, checked, warnings }: Looked,
    order: SwitchoverOrder,
    clock: Clock,
  ) {
    this.#scopes = scopes
    this.#order = order
    this.#databases = databases
    this.#moves = checked[0]?.moves ?? []
    this.#clock = clock
    this.#stage = new Stage(scopes, this.#moves, order)
    this.#warnings = [...warnings]
  }

  get #first(): WalkRequest {
    const [first] = this.#scopes
    if (!first) throw new Error('a switchover needs a database')
    return first.request
  }

  async carryOut(): Promise<BareReport> {
    const first = this.#order.demote === 'first'
    const counting = first ? await Rollbacks.begin(this.#scopes, this.#moves).catch(() => null) : null
    const report = await this.#carryOut()
    return { ...report, rolledBack: (await counting?.end().catch(() => null)) ?? null }
  }

  async #carryOut(): Promise<BareReport> {
    try {
      const blocked = await this.#prepare().then(
        () => null,
        (error: unknown) => ({ error }),
      )
      if (blocked) return await this.#giveUp(blocked.error)
      const stuck = await this.#promote()
      if (stuck !== null && 'undo' in stuck) return await this.#giveUp(stuck.undo)
      return await this.#finish(stuck)
    } finally {
      await this.#stage.close()
    }
  }

  /** One step may have another one inside: what that takes is its own. */
  async #step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const [began, outsideMs] = [performance.now(), this.#insideMs]
    this.#insideMs = 0
    let value: T
    try {
      value = await work()
    } finally {
      const tookMs = performance.now() - began
      this.#clock.add(name, tookMs - this.#insideMs)
      this.#insideMs = outsideMs + tookMs
    }
    await this.#first.hooks.reached(name)
    return value
  }

  /** Everything that can be undone. @throws what kept it from going on */
  async #prepare(): Promise<void> {
    const { signal } = this.#first
    const stage = this.#stage
    await this.#step('connect', () => stage.connect())
    await holdInRounds(stage, this.#first, (name, work) => this.#step(name, work))
    await this.#step('clear', () => stage.clear())
    await this.#step('replay', () => stage.follow())
    signal.throwIfAborted()
    if (this.#order.demote === 'first') {
      const began = performance.now()
      await this.#step('stop', () => stage.stop())
      this.#othersMs += performance.now() - began
    }
    signal.throwIfAborted()
    stage.requireWhole()
  }

  /** @returns null; what is to be undone; or why it is not through everywhere, and can't be undone */
  async #promote(): Promise<{ readonly undo: unknown } | Stuck | null> {
    const stage = this.#stage
    try {
      await this.#step('promoting', () => stage.settle())
      stage.requireWhole()
      await stage.ready()
    } catch (error) {
      return { undo: error }
    }
    const began = performance.now()
    const { sides } = stage
    const promoting = Promise.all(
      sides.map((side) =>
        stage.promote(side).then(
          () => null,
          (error: unknown) => ({ side, error }),
        ),
      ),
    ).finally(() => {
      this.#othersMs += performance.now() - began
    })
    const [failures] = await this.#clock.time('promote', () => Promise.all([promoting, stage.rehearse()]))
    const failed = failures.filter((failure) => failure !== null)
    const refused = failed.filter(({ error }) => error instanceof NotAskedFor).map(({ side }) => side)
    if (refused.length === sides.length) return { undo: failed[0]?.error }
    await this.#first.hooks.reached('promoted')
    if (failed.length === 0) return null
    // Of these it surely does not come any more: they are primaries again while the others go forward.
    const coordinator = sides.find(({ move }) => move.group === COORDINATOR_GROUP)
    if (coordinator && !failed.some(({ side }) => side === coordinator))
      await stage.writeOn(coordinator.move.to.address).catch((error: unknown) => {
        this.#left.push(`${formatAddress(coordinator.move.to.address)}: ${messageOf(error)}`)
      })
    const { left, goesOn } = await undoSides(stage, refused, this.#order.undoCommand)
    const unknown = failed.map(({ side }) => side).filter((side) => !refused.includes(side))
    this.#left.push(...left, ...unknown.map(describeUnknown))
    this.#failed.push(...failed.map(({ side }) => side))
    return {
      outcome: refused.length === failed.length && !goesOn ? 'partly' : 'unproved',
      why: failed.map(({ side, error }) => `group ${side.move.group}: ${messageOf(error)}`).join('; '),
    }
  }

  /** The change and what follows it, of the groups that are promoted. */
  async #finish(stuck: Stuck | null): Promise<BareReport> {
    // Nothing is known to be promoted: what there is to be changed a later run knows.
    if (stuck && this.#failed.length === this.#stage.sides.length)
      return this.report(stuck.outcome, stuck.why)
    const changed = await this.#step('change', () => this.#change())
    // Where it is decided who is the primary the old one is done with, whoever else could not be seen to know it.
    if (!this.#isDecided) return this.report('unproved', changed)
    const promoted = this.#stage.sides.filter((side) => !this.#failed.includes(side))
    await this.#step('drain', () => each(promoted, (side) => this.#drain(side)))
    const late = promoted.flatMap(({ move, late }) => {
      if (late === null) return [describeUncounted(move)]
      return late > 0 ? [describeLate(move, late)] : []
    })
    const open = [...(changed === null ? [] : [changed]), ...this.#unretired]
    const why = [...open, ...late, ...(stuck ? [stuck.why] : [])].join('; ')
    const outcome = open.length > 0 ? 'unproved' : late.length > 0 ? 'late-writes' : 'switched'
    return this.report(stuck?.outcome ?? outcome, why === '' ? null : why)
  }

  /** @returns null, or why it is not proved */
  async #change(): Promise<string | null> {
    const reached = async (point: string) => {
      if (point === 'decided' || point.startsWith('committed')) this.#pauseEnded = performance.now()
      await this.#first.hooks.reached(point)
    }
    const moved = this.#moves.filter((move) => !this.#failed.some((side) => side.move === move))
    const during = { stage: this.#stage, clock: this.#clock, hooks: { reached } }
    const { reports, why, isDecided } = await changeRows(this.#scopes, this.#moves, moved, during)
    this.#reports = reports
    this.#isDecided = isDecided
    return why
  }

  /** What follows does not undo the rest: it is told, as a warning where nothing can be lost by it. Never throws. */
  async #drain(side: Side): Promise<void> {
    if (this.#stage.stopped) return await this.#closeReturned(side)
    const { demoteCommand } = this.#order
    const at = formatAddress(side.move.from.address)
    const { cutOff, unended, unretired } = await side.close(DRAIN_MS, this.#first.madeBy)
    this.#cutOff.push(...cutOff)
    if (unended !== null)
      this.#warnings.push(
        `${at}: not every session could be terminated: ${unended}; what they still write there is lost: stop that server (there: ${STOP_SERVER})`,
      )
    const isGone = await this.#retireAnew(
      side,
      this.#scopes.filter((_, n) => unretired.includes(n)),
    )
    if (demoteCommand === null) {
      if (isGone) return
      this.#warnings.push(
        `${at} is still running, read-only: rewind or rebuild it as a standby of the new primary (pg_rewind, pg_basebackup)`,
      )
      return
    }
    try {
      await side.demoted(() => runCommand(demoteCommand, side.move, COMMAND_MS))
    } catch (error) {
      // A command that stops it by itself, as that of an HA tool, leaves it with what was set before the promotion.
      this.#warnings.push(
        `${at} could not be demoted: ${messageOf(error)}; if it returns as a standby without pg_rewind or pg_basebackup, it stays read-only even when it is promoted: citus-ha doctor (H150) then says how to reset that`,
      )
    }
  }

  /** @returns whether it does not run any more, or is another by now, and was not retired. Never throws */
  async #retireAnew(side: Side, scopes: readonly Scope[]): Promise<boolean> {
    const at = formatAddress(side.move.from.address)
    const retirements = await Promise.all(scopes.map((scope) => retireAnew(scope, side.move)))
    this.#unretired.push(...retirements.flatMap(({ failed }) => failed))
    if (!retirements.some((each) => each.isGone)) return false
    // What was counted may be another line's.
    side.late = null
    this.#warnings.push(
      `${at} was stopped, made a standby or promoted again before it was retired: run citus-ha status, and citus-ha reconcile once it is running`,
    )
    return true
  }

  /** An old primary that was stopped may have been started again, by a service manager for one. Never throws. */
  async #closeReturned(side: Side): Promise<void> {
    const states = await Promise.all(this.#scopes.map((scope) => returnedAs(scope, side.move)))
    if (states.every((state) => state === null)) return
    // Clients that came while nothing was held there: there is no mark of before to count from.
    side.late = null
    const running = this.#scopes.filter((_, n) => states[n] === 'running')
    if (await this.#retireAnew(side, running)) return
    const at = formatAddress(side.move.from.address)
    this.#warnings.push(
      `${at} was started again after --demote-command had stopped it, and is still running, read-only: rewind or rebuild it as a standby of the new primary (pg_rewind, pg_basebackup)`,
    )
  }

  /** Everything as it was. */
  async #giveUp(error: unknown): Promise<BareReport> {
    const stage = this.#stage
    if (error instanceof TooLate) stage.waitedFor.push(...error.blockers)
    const { left, goesOn, unknown } = await undoSides(stage, stage.sides, this.#order.undoCommand)
    this.#left.push(...left)
    this.#failed.push(...unknown)
    await stage.release('the switchover was undone')
    this.#pauseEnded = performance.now()
    const interrupted = error instanceof Error && error.name === 'AbortError'
    if (error instanceof Overtaken && !goesOn && this.#left.length + stage.left.length === 0)
      return this.refused([error.message])
    return this.report(goesOn ? 'unproved' : 'blocked', interrupted ? 'interrupted' : messageOf(error))
  }

  refused(refusals: readonly string[]): BareReport {
    return { ...this.report('refused', refusals.join('; ')), refusals }
  }

  report(outcome: SwitchoverOutcome, why: string | null): BareReport {
    const { began, waitedFor, ended, sides } = this.#stage
    return {
      outcome,
      databases: this.#databases,
      moves: this.#moves
        .filter(({ group }) => !this.#failed.some(({ move }) => move.group === group))
        .map(({ group, from, to }) => {
          return { group, from: formatAddress(from.address), to: formatAddress(to.address) }
        }),
      refusals: [],
      plan: [],
      why,
      pauseMs: began === null ? null : tenths((this.#pauseEnded ?? performance.now()) - began),
      othersMs: this.#othersMs === 0 ? null : tenths(this.#othersMs),
      timings: this.#clock.steps,
      waitedFor: distinct(waitedFor),
      ended: distinct(ended),
      cutOff: distinct([...this.#cutOff, ...sides.flatMap(({ cutOff }) => cutOff)]),
      rolledBack: null,
      left: [...this.#stage.left, ...this.#left],
      warnings: [
        ...this.#warnings,
        ...sides.flatMap(({ warnings }) => warnings),
        ...this.#reports.flatMap(({ copies }) => textsOf(behind(copies))),
      ],
      reports: this.#reports,
      durationMs: this.#clock.totalMs,
    }
  }
}

const tenths = (ms: number): number => Math.round(ms * 10) / 10

function distinct(blockers: readonly Blocker[]): Blocker[] {
  const keyOf = ({ node, pid, statement }: Blocker) => `${formatAddress(node)} ${pid === 0 ? statement : pid}`
  return [...new Map(blockers.map((one) => [keyOf(one), one])).values()]
}
