import { randomUUID } from 'node:crypto'
import type { Watch } from '../apply/blockers.ts'
import type { Fence } from '../apply/fence.ts'
import type { Entry, FenceContext } from '../apply/post.ts'
import { openNamed } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import type { Blocker } from '../model/blocker.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Intent } from '../model/intent.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Survey } from '../model/observation.ts'
import { Clock } from '../walk/clock.ts'
import { holdFence } from '../walk/fence.ts'
import { limitsOf, watchOf } from '../walk/limits.ts'
import { askedAnew } from '../walk/look.ts'
import { observePatiently } from '../walk/patience.ts'
import { promotedBeside, whyNotOpened } from './beside.ts'
import type { Checked, Move } from './check.ts'
import { runCommand } from './command.ts'
import { Intents } from './intents.ts'
import type { SwitchoverOrder } from './order.ts'
import { TooLate } from './patience.ts'
import { PROMOTION_MS, promoteOne } from './promote.ts'
import type { Scope } from './scope.ts'
import { Side } from './side.ts'
import { Lookouts } from './stuck.ts'
import { requireUnchanged } from './unchanged.ts'
import { undoSides } from './undo.ts'

/** How long past the limit of the pause the fence lasts, for the change: milliseconds. */
const MARGIN_MS = 10_000
/** How long the change may go on trying: what was promoted has to be written down. */
export const CHANGE_MS = 60_000

/** Everything that a switchover holds, in all databases: what it does before the promotion, and what it lets go of. */
export class Stage {
  readonly waitedFor: Blocker[] = []
  readonly ended: Blocker[] = []
  /** What is left to be done after a fence that came to nothing, a line each. */
  readonly left: string[] = []
  readonly #scopes: readonly Scope[]
  readonly #moves: readonly Move[]
  readonly #order: SwitchoverOrder
  readonly #fences: Fence[] = []
  #surveys: readonly Survey[] = []
  #sides: readonly Side[] = []
  readonly #lookouts: Lookouts
  #intents: Intents | null = null
  #began: number | null = null
  #stopped = false
  #announced = false
  #commanded = false
  #intended = false
  #quiescing = false
  /** Of this switchover, in what it writes down. */
  readonly #run = randomUUID()

  constructor(scopes: readonly Scope[], moves: readonly Move[], order: SwitchoverOrder) {
    this.#scopes = scopes
    this.#moves = moves
    this.#order = order
    this.#lookouts = new Lookouts(scopes)
  }

  /** When the first lock was asked for, `performance.now()`; null: nothing was held. */
  get began(): number | null {
    return this.#began
  }

  /** When the pause has to be over, or undone; `performance.now()`. */
  get until(): number {
    return (this.#began ?? performance.now()) + this.#order.totalLimitMs
  }

  get sides(): readonly Side[] {
    return this.#sides
  }

  /** The old primaries were stopped by a command, or may have been. */
  get stopped(): boolean {
    return this.#stopped
  }

  /** What this run is about may be written down: before that there is nothing of it to undo. */
  get intended(): boolean {
    return this.#intended
  }

  /** Old primaries may be read-only by now. */
  get quiescing(): boolean {
    return this.#quiescing
  }

  /** That a promotion is asked for may be written down: whoever reads so may ask for it. */
  get announced(): boolean {
    return this.#announced
  }

  /** A command of whoever ordered this has begun: before that there is nothing that only another one can undo. */
  get commanded(): boolean {
    return this.#commanded
  }

  /** Of the n-th database. */
  fence(n: number): Fence | null {
    return this.#fences[n] ?? null
  }

  /** Every session that will be needed, before anything is locked. @throws what the driver or a server says */
  async connect(): Promise<void> {
    const [first] = this.#scopes
    if (!first) throw new Error('a switchover needs a database')
    const databases = this.#scopes.map(({ request }) => request.database)
    const open = async (address: HostPort, database: string): Promise<SessionLike> => {
      const scope = this.#scopes.find(({ request }) => request.database === database) ?? first
      return await openNamed(scope.access, address, database)
    }
    const idleMs = this.#order.totalLimitMs + MARGIN_MS + PROMOTION_MS + CHANGE_MS
    const { lockTimeoutMs } = first.request
    const opened: Side[] = []
    this.#sides = opened
    await each(this.#moves, async (move) => {
      opened.push(
        await Side.open({ move, databases, open, texts: first.access.clientTexts, lockTimeoutMs, idleMs }),
      )
    })
    this.#intents = await Intents.open(this.#scopes, this.#run)
    await this.#spare()
  }

  /** Those that were used up are opened again: the fence and the change want their own. */
  async #spare(): Promise<void> {
    for (const { access, checked } of this.#scopes) access.keep(nodesOf(checked))
    await each(this.#scopes, ({ access }) => access.settled())
  }

  /** Lets everybody go on who waits for the fence, to be taken once more. */
  async begunAnew(why: string): Promise<void> {
    await this.release(why)
    this.#fences.length = 0
    this.#began = null
    this.#intended = false
    this.#quiescing = false
    await this.#spare()
  }

  /** What is, just before the fence. @throws CitusHaError where nothing can be said of the cluster */
  async look(): Promise<void> {
    const targets = this.#moves.map(({ to }) => to)
    const addresses = targets.map(({ address }) => address)
    const instances = targets.map(({ instance }) => instance)
    this.#surveys = await Promise.all(
      this.#scopes.map(async ({ access, request }) => {
        const seen = await observePatiently(access, request, new Clock(), {
          whom: 'all',
          promoting: addresses,
        })
        // It is they who will be asked while writes wait: what is asked a second time is planned, and quicker from then on.
        return await askedAnew(access, seen, instances)
      }),
    )
  }

  /**
   * What is after the promotion: the fence has kept all others as they were, so the new primaries alone are asked, while
   * the fence is taken on them.
   * @param moved those whose target is promoted
   * @returns null where that can't be said: somebody has to look anew
   */
  async lookAgain(n: number, moved: readonly Move[]): Promise<Survey | null> {
    const [scope, fence, survey] = [this.#scopes[n], this.#fences[n], this.#surveys[n]]
    if (!scope || !fence || !survey || this.#stopped) return null
    const { access } = scope
    const [coordinator] = scope.checked.entries.entries
    const involved = this.#moves.flatMap(({ from, to }) => [from.instance, to.instance])
    const answered = survey.nodes.flatMap((node) => (node.kind === 'answered' ? [node.instance] : []))
    // One that was started anew since the check is to be asked like everybody else.
    if (![...involved, coordinator?.server.instance].every((each) => each && answered.includes(each)))
      return null
    // What does not come here the change takes by itself.
    const extending = comingTo(moved).map((entry) =>
      fence.extend(entry, contextOf(scope)).catch(() => undefined),
    )
    const promoted = moved.map(({ to }) => to.instance)
    const seen = await askedAnew(access, survey, promoted)
    await Promise.all(extending)
    // What vouches for them was written by this run, on the coordinator and on the old primaries, which it has made read-only.
    const intents = this.#intents?.in(n) ?? []
    const old = moved.map(({ from }) => from.instance)
    const nodes = seen.nodes.map((node) => {
      if (node.kind !== 'answered' || !node.installed) return node
      if (node.instance === coordinator?.server.instance)
        return { ...node, installed: { ...node.installed, intents } }
      if (!old.includes(node.instance)) return node
      const own = intents.filter(({ group }) => group === node.citus?.localGroup)
      return { ...node, readOnly: true, installed: { ...node.installed, intents: own } }
    })
    return { ...seen, nodes }
  }

  /**
   * @param prepared is told of what is done before any write waits
   * @throws TooLate with who was in the way
   */
  async takeFences(prepared: (work: () => Promise<void>) => Promise<void>): Promise<void> {
    const groups = this.#moves.map(({ group }) => group)
    const ttlMs = this.#order.totalLimitMs + MARGIN_MS
    for (const [n, { access, request }] of this.#scopes.entries()) {
      const before = {
        doing: async () => {
          // Of a group that another run has switched meanwhile nothing is held, and nothing undone.
          await this.requireUnchanged()
          await prepared(() => this.#prepare(n))
        },
        undo: async () => {
          const { left } = await undoSides(this, this.#sides, null)
          // Once others may come in it is theirs to be undone.
          this.#intended = false
          this.left.push(...left)
          return left.length === 0
        },
      }
      const met = ({ seen, ended }: Pick<Watch, 'seen' | 'ended'>) => {
        this.waitedFor.push(...seen, ...ended)
        this.ended.push(...ended)
      }
      const longestRoundMs = this.#order.totalLimitMs / 4
      const wanted = { groups, ttlMs, reach: 'writes and changes', before, met, longestRoundMs } as const
      const began = performance.now()
      // Those of the databases before wait already.
      const leftMs = this.#began === null ? request.deadlineMs : Math.max(0, this.until - began)
      const deadlineMs = Math.min(request.deadlineMs, leftMs)
      const survey = this.#surveys[n]
      const given = { ...request, seen: survey ? { survey, diagnoses: null } : null, began, deadlineMs }
      const { fence, report } = await holdFence(access, given, wanted)
      if (!fence) throw new TooLate(report.warnings[0] ?? 'its locks were not granted', report.blockers)
      this.#fences.push(fence)
      this.#began ??= fence.began
      // The check has asked for them, and somebody may have gone since.
      const [missing] = this.#order.unreachable === 'refuse' ? report.unfenced : []
      if (missing) throw new TooLate(`${missing.node} is not fenced: ${missing.why}`)
    }
  }

  /** Why a stopped old primary must not take writes again; null: nobody is in its place. Never throws. */
  async whyNotOpened(move: Move): Promise<string | null> {
    const [[scope], [survey]] = [this.#scopes, this.#surveys]
    if (!scope || !survey) return null
    return await whyNotOpened(scope.access, scope.request, survey, move)
  }

  /** Who is promoted in the place of an old primary that was kept from writing; null: nobody is known to be. Never throws. */
  async promotedBeside(move: Move): Promise<HostPort | null> {
    const [[scope], [survey]] = [this.#scopes, this.#surveys]
    if (!scope || !survey || !this.#quiescing) return null
    return await promotedBeside(scope.access, scope.request, survey, move)
  }

  /**
   * What this run is about is written down, and Citus's daemons on the old primaries are held: all that outlives us, and
   * that no write waits for.
   * @throws TooLate; what a server says
   */
  async #prepare(n: number): Promise<void> {
    // A round of a later database that came to nothing has undone it in those that are fenced already.
    const first = this.#intended ? n : 0
    this.#intended = true
    const databases = this.#scopes.map((_, k) => k).slice(first, n + 1)
    await each([null, ...this.#sides], async (side) => {
      await each(databases, async (k) => {
        if (side !== null) await side.note(this.#intentOf(side.move, 'quiescing'), k)
        else await this.#intents?.write(this.#intentsOf('quiescing', this.#sides), k)
      })
    })
    // The server as a whole, with the first of its databases.
    if (first === 0) await each(this.#sides, (side) => side.holdCitus(this.until))
  }

  /** What was checked and surveyed is so still, now that nobody else can change it. @throws Overtaken, or TooLate */
  async requireUnchanged(): Promise<void> {
    const standbys = each(this.#sides, (side) => side.requireStandby())
    const scopes = each([...this.#scopes.entries()], async ([n, scope]) => {
      const coordinator = this.#intents?.session(n)
      if (!coordinator) throw new Error('a switchover needs the coordinator')
      const primaries = this.#moves.flatMap((move) =>
        this.#sides.filter((side) => side.move === move).map((side) => side.watch(n)),
      )
      const survey = this.#surveys[n]
      if (!survey) throw new Error('a switchover looks before it takes a fence')
      await requireUnchanged(
        { checked: scope.checked, survey },
        this.#moves,
        { coordinator, primaries },
        this.#run,
      )
    })
    // Of both the first: a promotion explains the rows.
    await each([standbys, scopes], (work) => work)
  }

  /** For the time in which others are at work. Never throws. */
  async rehearse(): Promise<void> {
    // Not waited for: whoever is promoted is then held in these sessions, or in others, and asked what it is once more.
    for (const [n, scope] of this.#scopes.entries()) {
      for (const entry of comingTo(this.#moves)) void this.#fences[n]?.expect(entry, contextOf(scope))
      const prober = scope.access.prober(scope.request.database)
      for (const { to } of this.#moves) void prober.probe(to.address)
    }
    await Promise.all(this.#fences.map((fence) => fence.rehearse()))
  }

  /** The same once the fence is held: until then tools that know nothing of the change lock could change rows. @throws as that */
  async recheck(): Promise<void> {
    // A daemon that was just starting when they were ended had not been seen.
    const daemons = each(this.#sides, (side) => side.rest(this.until))
    await each([this.requireUnchanged(), daemons], (work) => work)
  }

  /** @param sides of whose groups; default: all */
  async intend(phase: Intent['phase'], sides: readonly Side[] = this.#sides): Promise<void> {
    this.#intended = true
    if (phase === 'promoting') this.#announced = true
    // The primary's word is the one that counts: where the coordinator could not be told it is to be what it was.
    await this.#writeIntents(phase, sides)
    // One that was stopped knows it already.
    if (!this.#stopped) await each(sides, (side) => side.note(this.#intentOf(side.move, phase)))
  }

  async #writeIntents(phase: Intent['phase'], sides: readonly Side[]): Promise<void> {
    await this.#intents?.write(this.#intentsOf(phase, sides))
  }

  #intentsOf(phase: Intent['phase'], sides: readonly Side[]): Intent[] {
    return sides.map(({ move }) => this.#intentOf(move, phase))
  }

  #intentOf({ group, from, to }: Move, phase: Intent['phase']): Intent {
    const byCommand = this.#order.promoteCommand !== null
    const [stopped, madeBy] = [this.#stopped, this.#scopes[0]?.request.madeBy ?? '']
    return { group, from: from.address, to: to.address, phase, byCommand, stopped, madeBy, run: this.#run }
  }

  /**
   * @throws TooLate with whose transactions are still open; the server's error for a lock that did not come
   */
  async quiesce(): Promise<void> {
    this.#quiescing = true
    const forceAfterMs = this.#scopes[0]?.request.forceAfterMs ?? null
    const patience = {
      until: this.until,
      forceAt: forceAfterMs === null ? null : performance.now() + forceAfterMs,
      // Who can't be asked is waited for like everybody else.
      waiting: () => this.#lookouts.waiting().catch(() => new Set<string>()),
    }
    const done = each(this.#sides, async (side) => {
      const [held, forbidden] = await Promise.allSettled([
        side.hold(patience.until, patience.forceAt),
        side.forbid(),
      ])
      if (held.status === 'rejected') throw held.reason
      if (forbidden.status === 'rejected') throw forbidden.reason
      await side.quiet(forbidden.value, patience)
    })
    await done.finally(() => {
      this.ended.push(...this.#sides.flatMap(({ ended }) => ended))
    })
  }

  /** Clients of databases that nothing else fences lose their connections. @throws TooLate */
  async clear(): Promise<void> {
    await each(this.#sides, (side) => side.clear(this.until))
  }

  /** All that is written is replayed, and no more is committed from the old primaries than that. @throws TooLate */
  async follow(): Promise<void> {
    await each(this.#sides, async (side) => {
      await each([side.follow(this.until), side.holdRecords(this.until)], (work) => work)
    })
  }

  /** For HA tools that insist on stopping before they promote. @throws Error with what the command said, or TooLate */
  async stop(): Promise<void> {
    const command = this.#order.demoteCommand
    if (command === null) throw new TooLate('--demote-first needs a command that stops the old primary')
    this.#stopped = true
    await this.intend('quiescing')
    const leftMs = Math.max(1, this.until - performance.now())
    this.#commanded = true
    await each(this.#moves, (move) => runCommand(command, move, leftMs))
    await each(this.#sides, (side) => side.target.followToTheEnd(this.until))
  }

  /** By the command that was given, or `pg_promote()`. @throws as `promoteOne` */
  async promote(side: Side): Promise<void> {
    const { promoteCommand } = this.#order
    if (promoteCommand !== null) this.#commanded = true
    await promoteOne(side, promoteCommand)
  }

  /** @throws TooLate where the time is over, or a session of the fence has ended */
  requireWhole(): void {
    const ended = this.#fences.map(({ endedWhy }) => endedWhy).find((why) => why !== null)
    if (ended) throw new TooLate(`the fence has ended: ${ended}`)
    const open = this.#moves.find(({ from }) => this.#fences.some((fence) => fence.at(from) === null))
    if (open && !this.#stopped) throw new TooLate(`the session on ${formatAddress(open.from.address)} broke`)
    const free = this.#sides.find((side) => !side.isHeld)
    if (free && !this.#stopped)
      throw new TooLate(`the session that holds the shards of ${formatAddress(free.move.from.address)} broke`)
    if (performance.now() >= this.until)
      throw new TooLate(`writes would be held longer than ${this.#order.totalLimitMs} ms (--total-limit)`)
  }

  /**
   * The last before the promotion, which is written down: nobody writes on an old primary any more, and what was written is
   * replayed, what the old coordinator was told last as well. @throws TooLate; what a server says
   */
  async settle(): Promise<void> {
    this.#announced = true
    const written = this.#writeIntents('promoting', this.#sides)
    await each([null, ...this.#sides], async (side) => {
      if (side === null || side.move.group === COORDINATOR_GROUP) await written
      if (side !== null && !this.#stopped)
        await side.settle(this.#intentOf(side.move, 'promoting'), this.until)
    })
  }

  /** The last of all: nothing can be undone once one of the targets is asked. @throws TooLate; what a server says */
  async ready(): Promise<void> {
    await each(this.#sides, (side) => side.target.ready(this.until))
  }

  /** Once the coordinator is another: what is intended is written down there from now on. @throws as `connect` */
  async writeOn(coordinator: HostPort): Promise<void> {
    const intents = await Intents.open(this.#scopes, this.#run, coordinator)
    await this.#intents?.close()
    this.#intents = intents
  }

  async forget(groups: readonly number[]): Promise<void> {
    await this.#intents?.forget(groups)
  }

  async release(why: string): Promise<void> {
    await Promise.all(this.#fences.map((fence) => fence.end(why)))
  }

  /** Never throws. */
  async close(): Promise<void> {
    await this.release('the switchover ended')
    await this.#intents?.close()
    await this.#lookouts.close()
    await Promise.all(this.#sides.map((side) => side.end()))
  }
}

/** The copies that take writes once these are promoted. Of another coordinator the locks come in their own order. */
function comingTo(moves: readonly Move[]): Entry[] {
  return moves
    .filter(({ group }) => group !== COORDINATOR_GROUP)
    .map(({ to }) => ({ node: to.address, role: 'promoted', server: to, groups: null }))
}

function contextOf({ access, request }: Scope): FenceContext {
  return {
    limits: limitsOf(request),
    watch: watchOf(access, request),
    open: (address) => access.open(address, request.database),
  }
}

/** Whom sessions are kept to: where writes enter, and who is to be promoted. */
export function nodesOf({ entries, moves }: Checked): HostPort[] {
  return [...entries.entries.map(({ node }) => node), ...moves.map(({ to }) => to.address)]
}

/** All at once; the first failure is thrown when every one has come to its end. */
export async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(work))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
