import type { Fence } from '../apply/fence.ts'
import { type SessionLike, SessionLost } from '../db/pg.ts'
import { codeOf, messageOf } from '../db/sqlstate.ts'
import type { Blocker } from '../model/blocker.ts'
import type { FenceReport } from '../model/fence.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import type { SwitchoverOutcome, SwitchoverReport } from '../model/switchover.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { holdFence } from '../walk/fence.ts'
import { type WalkRequest, walk } from '../walk/walk.ts'
import { SpareSessions } from '../watch/spares.ts'
import type { Checked, Move } from './check.ts'
import { runCommand } from './command.ts'
import { Intents } from './intents.ts'
import { lookBefore, planLines } from './look.ts'
import type { SwitchoverOrder } from './order.ts'
import { Side, TooLate } from './side.ts'

/** One database of the servers that change places. */
export interface Scope {
  readonly request: WalkRequest
  readonly access: SpareSessions
  readonly checked: Checked
}

/** How long past the limit of the pause the fence lasts, for the change: milliseconds. */
const MARGIN_MS = 10_000
/** How long a promotion that was asked for is waited for. */
const PROMOTION_MS = 30_000
/** How long the change may go on trying: what was promoted has to be written down. */
const CHANGE_MS = 60_000
/** How long reads on the old primary get to come to their end. */
const DRAIN_MS = 1000
const COMMAND_MS = 60_000

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
  const clock = new Clock()
  const spares = requests.map(({ database }) => new SpareSessions(access, database, 2000))
  try {
    const looked = await clock.time('check', () => lookBefore(access, requests, order))
    const { refusals, checked, warnings } = looked
    const moves = checked[0]?.moves ?? []
    const plan = planLines(looked, order)
    const run = new Run({ order, requests, moves, clock, warnings })
    const end = (outcome: SwitchoverOutcome, why: string | null) => ({
      ...run.report(outcome, why),
      refusals,
      plan,
    })
    if (refusals.length > 0) return end('refused', refusals.join('; '))
    if (order.mode === 'dry-run') return end('planned', null)
    const nodes = [
      ...(checked[0]?.entries.entries ?? []).map(({ node }) => node),
      ...moves.map(({ to }) => to.address),
    ]
    for (const spare of spares) spare.keep(nodes)
    if (!(await order.confirm(plan))) return end('blocked', 'it was not confirmed')
    const scopes = requests.flatMap((request, n): Scope[] => {
      const [own, spare] = [checked[n], spares[n]]
      return own && spare ? [{ request, access: spare, checked: own }] : []
    })
    return { ...(await run.carryOut(scopes)), plan }
  } finally {
    await Promise.all(spares.map((spare) => spare.close()))
  }
}

interface RunOptions {
  readonly order: SwitchoverOrder
  readonly requests: readonly WalkRequest[]
  readonly moves: readonly Move[]
  readonly clock: Clock
  readonly warnings: readonly string[]
}

/** A promotion that was refused, or whose command failed. */
class NotAskedFor extends Error {
  override readonly name = 'NotAskedFor'
}

/** One switchover, step by step. */
class Run {
  readonly #order: SwitchoverOrder
  readonly #requests: readonly WalkRequest[]
  readonly #moves: readonly Move[]
  readonly #clock: Clock
  readonly #warnings: string[]
  readonly #waitedFor: Blocker[] = []
  readonly #ended: Blocker[] = []
  readonly #cutOff: Blocker[] = []
  readonly #left: string[] = []
  #scopes: readonly Scope[] = []
  #sides: readonly Side[] = []
  #fences: Fence[] = []
  #intents: Intents | null = null
  #reports: Report[] = []
  /** `performance.now()`: the first lock, and the last commit. */
  #pauseBegan: number | null = null
  #pauseEnded: number | null = null
  #othersMs = 0
  #stopped = false

  constructor({ order, requests, moves, clock, warnings }: RunOptions) {
    this.#order = order
    this.#requests = requests
    this.#moves = moves
    this.#clock = clock
    this.#warnings = [...warnings]
  }

  get #first(): WalkRequest {
    const [first] = this.#requests
    if (!first) throw new Error('a switchover needs a database')
    return first
  }

  /** When the pause has to be over, or undone; `performance.now()`. */
  get #until(): number {
    return (this.#pauseBegan ?? performance.now()) + this.#order.totalLimitMs
  }

  async carryOut(scopes: readonly Scope[]): Promise<SwitchoverReport> {
    this.#scopes = scopes
    try {
      const blocked = await this.#prepare().then(
        () => null,
        (error: unknown) => error,
      )
      if (blocked !== null) return await this.#giveUp(blocked)
      const stuck = await this.#promote()
      if (stuck !== null && 'undo' in stuck) return await this.#giveUp(stuck.undo)
      return await this.#finish(stuck?.why ?? null)
    } finally {
      await Promise.all(this.#fences.map((fence) => fence.end('the switchover ended')))
      await this.#intents?.close()
      await Promise.all(this.#sides.map((side) => side.end()))
    }
  }

  async #step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const value = await this.#clock.time(name, work)
    await this.#first.hooks.reached(name)
    return value
  }

  /** Everything that can be undone. @throws what kept it from going on */
  async #prepare(): Promise<void> {
    const { signal } = this.#first
    await this.#step('connect', () => this.#connect())
    signal.throwIfAborted()
    await this.#step('fence', () => this.#fence())
    await this.#step('intend', () => this.#intend('quiescing'))
    await this.#step('quiesce', () => this.#quiesce())
    await this.#step('replay', () => each(this.#sides, (side) => side.follow(this.#until)))
    if (this.#order.demote === 'first') await this.#step('stop', () => this.#stop())
    signal.throwIfAborted()
    this.#requireWhole()
    if (performance.now() >= this.#until) throw new TooLate('the pause would be longer than --total-limit')
  }

  async #connect(): Promise<void> {
    const { order } = { order: this.#order }
    const open = async (address: HostPort, database: string): Promise<SessionLike> => {
      const scope = this.#scopes.find(({ request }) => request.database === database)
      return await (scope?.access ?? this.#scopes[0]?.access ?? missing()).open(address, database)
    }
    const databases = this.#requests.map(({ database }) => database)
    const idleMs = order.totalLimitMs + MARGIN_MS + PROMOTION_MS
    const { lockTimeoutMs } = this.#first
    const opened: Side[] = []
    this.#sides = opened
    await each(this.#moves, async (move) => {
      opened.push(await Side.open({ move, databases, open, lockTimeoutMs, idleMs }))
    })
    this.#intents = await Intents.open(this.#scopes, this.#moves, order)
    // Those that were used up are opened again: the change wants its own.
    const [first] = this.#scopes
    const nodes = [
      ...(first?.checked.entries.entries ?? []).map(({ node }) => node),
      ...this.#moves.map(({ to }) => to.address),
    ]
    for (const { access } of this.#scopes) access.keep(nodes)
    for (const { access } of this.#scopes) await access.ready()
  }

  async #fence(): Promise<void> {
    const groups = this.#moves.map(({ group }) => group)
    const ttlMs = this.#order.totalLimitMs + MARGIN_MS
    for (const { access, request } of this.#scopes) {
      const wanted = { groups, ttlMs, reach: 'writes and changes' } as const
      const { fence, report } = await holdFence(access, { ...request, began: performance.now() }, wanted)
      this.#note(report)
      if (!fence) throw new TooLate(report.warnings[0] ?? 'its locks did not come', report.blockers)
      this.#fences.push(fence)
      this.#pauseBegan ??= fence.began
    }
  }

  #note({ ended, blockers }: FenceReport): void {
    this.#ended.push(...ended)
    this.#waitedFor.push(...blockers, ...ended)
  }

  async #intend(phase: 'quiescing' | 'promoting'): Promise<void> {
    await this.#intents?.write(phase, this.#stopped)
  }

  async #quiesce(): Promise<void> {
    const { forceAfterMs } = this.#first
    const forceAt = forceAfterMs === null ? null : performance.now() + forceAfterMs
    await each(this.#sides, async (side) => {
      const since = await side.now()
      await each([() => side.hold(), () => side.forbid()], (work) => work())
      await side.quiet(since, this.#until, forceAt)
      this.#ended.push(...side.ended)
    })
  }

  /** For HA tools that insist on it. */
  async #stop(): Promise<void> {
    const command = this.#order.demoteCommand
    if (command === null) throw new TooLate('--demote-first needs --demote-command')
    this.#stopped = true
    await this.#intend('quiescing')
    const began = performance.now()
    const leftMs = Math.max(1, this.#until - performance.now())
    await each(this.#moves, (move) => runCommand(command, move, leftMs))
    await each(this.#sides, (side) => side.followToTheEnd(this.#until))
    this.#othersMs += performance.now() - began
  }

  /** @throws TooLate where a session of the fence, or one on an old primary that still runs, has ended */
  #requireWhole(): void {
    const ended = this.#fences.map(({ endedWhy }) => endedWhy).find((why) => why !== null)
    if (ended) throw new TooLate(`the fence is over: ${ended}`)
    const open = this.#moves.find(({ from }) => this.#fences.some((fence) => fence.at(from) === null))
    if (open && !this.#stopped) throw new TooLate(`the session on ${formatAddress(open.from.address)} broke`)
  }

  /** @returns null; what is to be undone; or why it is not through, and can't be undone */
  async #promote(): Promise<{ readonly undo: unknown } | { readonly why: string } | null> {
    try {
      await this.#step('promoting', () => this.#intend('promoting'))
    } catch (error) {
      return { undo: error }
    }
    const began = performance.now()
    const failures = await this.#clock.time('promote', () =>
      Promise.all(
        this.#sides.map((side) =>
          this.#promoteOne(side).then(
            () => null,
            (error: unknown) => ({ side, error }),
          ),
        ),
      ),
    )
    this.#othersMs += performance.now() - began
    const failed = failures.filter((failure) => failure !== null)
    const refused = failed.filter(({ error }) => error instanceof NotAskedFor)
    if (refused.length === this.#sides.length) return { undo: refused[0]?.error }
    await this.#first.hooks.reached('promoted')
    if (failed.length === 0) return null
    return {
      why: failed.map(({ side, error }) => `group ${side.move.group}: ${messageOf(error)}`).join('; '),
    }
  }

  /** @throws NotAskedFor where it surely does not come; anything else where it may still */
  async #promoteOne(side: Side): Promise<void> {
    const { promoteCommand } = this.#order
    if (promoteCommand === null) {
      await side.askForPromotion().catch((error: unknown) => {
        throw error instanceof SessionLost ? error : new NotAskedFor(messageOf(error), { cause: error })
      })
    } else {
      await runCommand(promoteCommand, side.move, PROMOTION_MS).catch(async (error: unknown) => {
        if (await side.isPromoted()) return
        throw new NotAskedFor(messageOf(error), { cause: error })
      })
    }
    await side.promoted(performance.now() + PROMOTION_MS)
  }

  /** The change and what follows it. @param why what is not promoted, and why */
  async #finish(why: string | null): Promise<SwitchoverReport> {
    const changed = await this.#step('change', () => this.#change())
    if (changed !== null || why !== null) return this.report('unproved', changed ?? why)
    await this.#step('drain', () => each(this.#sides, (side) => this.#drain(side)))
    return this.report('switched', null)
  }

  /** @returns null, or why it is not proved */
  async #change(): Promise<string | null> {
    const quiesced = this.#moves.map(({ from }) => from.instance)
    const groups = this.#moves.map(({ group }) => group)
    const hooks = {
      reached: async (point: string) => {
        if (point === 'decided' || point.startsWith('committed')) this.#pauseEnded = performance.now()
        await this.#first.hooks.reached(point)
      },
    }
    const targets = this.#moves.map(({ to }) => to.address)
    const results = await Promise.allSettled(
      this.#scopes.map(({ request, access }, n) =>
        walk(access, {
          ...request,
          groups,
          hooks,
          quiesced,
          seen: null,
          acquainted: [...request.acquainted, ...targets],
          fenceOf: () => this.#fences[n] ?? null,
          deadlineMs: CHANGE_MS,
          signal: new AbortController().signal,
        }),
      ),
    )
    this.#reports = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    for (const { timings } of this.#reports)
      for (const [step, ms] of Object.entries(timings)) this.#clock.add(`change: ${step}`, ms)
    const bad = this.#reports.find(({ outcome }) => outcome !== 'changed' && outcome !== 'converged')
    const failed = results.find((result) => result.status === 'rejected')
    if (failed?.status === 'rejected') return messageOf(failed.reason)
    return bad ? (bad.warnings.at(-1) ?? bad.refusals[0]?.summary ?? `the change is ${bad.outcome}`) : null
  }

  async #drain(side: Side): Promise<void> {
    const { demoteCommand } = this.#order
    const at = formatAddress(side.move.from.address)
    if (this.#stopped) return
    try {
      this.#cutOff.push(...(await side.close(DRAIN_MS)))
      if (demoteCommand === null) {
        this.#warnings.push(
          `${at} runs on, read-only: rewind or rebuild it as a standby of the new primary (pg_rewind, pg_basebackup)`,
        )
        return
      }
      await side.forgetReadOnly()
      await runCommand(demoteCommand, side.move, COMMAND_MS)
    } catch (error) {
      this.#warnings.push(`${at} is not demoted: ${messageOf(error)}`)
    }
  }

  /** Everything as it was. */
  async #giveUp(error: unknown): Promise<SwitchoverReport> {
    if (error instanceof TooLate) this.#waitedFor.push(...error.blockers)
    const undone = await Promise.allSettled(this.#sides.map((side) => this.#undo(side)))
    for (const [n, result] of undone.entries()) {
      const at = formatAddress(this.#sides[n]?.move.from.address ?? { host: '?', port: 0 })
      if (result.status === 'rejected')
        this.#left.push(`${at}: ${messageOf(result.reason)}; any later run undoes it`)
    }
    const over = this.#sides.filter((_, n) => undone[n]?.status === 'fulfilled').map(({ move }) => move.group)
    await this.#intents?.forget(over).catch((cause: unknown) => {
      this.#left.push(`the record of it (citus_ha.intent) is still there: ${messageOf(cause)}`)
    })
    await Promise.all(this.#fences.map((fence) => fence.end('the switchover was undone')))
    this.#pauseEnded = performance.now()
    const code = codeOf(error)
    return this.report('blocked', `${messageOf(error)}${code ? ` (${code})` : ''}`)
  }

  async #undo(side: Side): Promise<void> {
    const { undoCommand } = this.#order
    if (this.#stopped && undoCommand === null)
      throw new Error('it was stopped, and there is no --undo-command: start it again')
    if (undoCommand !== null) await runCommand(undoCommand, side.move, COMMAND_MS)
    if (this.#stopped) await side.reopen()
    await side.undo()
  }

  report(outcome: SwitchoverOutcome, why: string | null): SwitchoverReport {
    const began = this.#pauseBegan
    return {
      outcome,
      databases: this.#requests.map(({ database }) => database),
      moves: this.#moves.map(({ group, from, to }) => {
        return { group, from: formatAddress(from.address), to: formatAddress(to.address) }
      }),
      refusals: [],
      plan: [],
      why,
      pauseMs: began === null ? null : tenths((this.#pauseEnded ?? performance.now()) - began),
      othersMs: this.#othersMs === 0 ? null : tenths(this.#othersMs),
      timings: this.#clock.steps,
      waitedFor: distinct(this.#waitedFor),
      ended: distinct(this.#ended),
      cutOff: this.#cutOff,
      rolledBack: null,
      left: this.#left,
      warnings: [...this.#warnings, ...this.#sides.flatMap(({ warnings }) => warnings)],
      reports: this.#reports,
      durationMs: this.#clock.totalMs,
    }
  }
}

const tenths = (ms: number): number => Math.round(ms * 10) / 10

function distinct(blockers: readonly Blocker[]): Blocker[] {
  return [...new Map(blockers.map((each) => [`${formatAddress(each.node)} ${each.pid}`, each])).values()]
}

function missing(): never {
  throw new Error('a switchover needs a database')
}

/** All at once; the first failure is thrown when every one has come to its end. */
async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(work))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
