import { messageOf } from '../db/sqlstate.ts'
import type { Blocker } from '../model/blocker.ts'
import type { FenceReport, ReleaseReport } from '../model/fence.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Silence } from '../observe/silence.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { guardTransactions } from '../walk/guard.ts'
import { untilFree } from '../walk/in-the-way.ts'
import { requireUsable } from '../walk/install.ts'
import { limitsOf } from '../walk/limits.ts'
import { clusterName, observe, type View, view } from '../walk/look.ts'
import { recordPositions } from '../walk/positions.ts'
import { unlistedStandbys } from '../walk/unlisted.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { Alarm } from './alarm.ts'
import { attempt, hasLeftovers, type Promotion, recover } from './attempt.ts'
import { Blindness } from './blindness.ts'
import { Coordinators } from './coordinators.ts'
import type { Leadership, Noticed, WatchEvent } from './event.ts'
import { Fences } from './fences.ts'
import { Groups } from './groups.ts'
import { IdleLeader } from './idle-leader.ts'
import type { Intent } from './intent.ts'
import type { Lead } from './leadership.ts'
import { News } from './news.ts'
import { type PulseSession, Pulses } from './pulse.ts'
import { Silences } from './silences.ts'
import { participantsOf, SpareSessions } from './spares.ts'
import { groupStates, type WatchState } from './state.ts'

/** How one database is watched. Times in milliseconds. */
export interface WatcherOptions {
  readonly access: Access
  /** What every walk of this watcher is asked, but for its groups and its patience. */
  readonly request: WalkRequest
  readonly intervalMs: number
  /** For one answer of a node. */
  readonly timeoutMs: number
  /** So many surveys in a row have to show an absence before it is believed. */
  readonly confirm: number
  readonly cooldownMs: number
  readonly lead: Lead
  readonly openPulse: (address: HostPort) => Promise<PulseSession>
  readonly tell: (event: WatchEvent) => void
}

/** Even if no pulse told of anything, all is looked at again after so many intervals. */
const INTERVALS_IF_WELL = 30
const INTERVALS_IF_AILING = 5
/** Longer than the longest pause between two tries. */
const IN_THE_WAY_MS = 30_000
/** Between the beginnings of two surveys, however much is going on. */
const SHORTEST_MS = 50

/** Watches one database: a pulse on every node, a survey whenever one tells something, a walk where one is wanted. */
export class Watcher {
  readonly database: string
  readonly #options: WatcherOptions
  readonly #alarm = new Alarm()
  readonly #leadAlarm = new Alarm()
  /** Rung for what can't wait even that long. */
  readonly #promoted = new Alarm()
  readonly #pulses: Pulses
  readonly #coordinators: Coordinators
  readonly #access: SpareSessions
  readonly #promotions = new Map<string, Promotion>()
  readonly #news: News
  readonly #blindness: Blindness
  readonly #groups: Groups
  readonly #fences: Fences
  readonly #silences: Silences
  /** What the last survey was told of. */
  #silence: Silence | null = null
  #view: View | null = null
  #leadership: Leadership = 'none'
  readonly #idleLeader: IdleLeader
  /** What whoever leads does not do. */
  #undone: string | null = null
  /** Why what should be done could not be done. */
  #failure: string | null = null
  #nextAt: number | null = null
  #surveyedAt = Number.NEGATIVE_INFINITY
  #turnedAt = performance.now()
  #turns = 0
  #surveys = 0
  /** Ends the wait for those who were in the way of the last try. */
  #tried = new AbortController()
  #waiting: Promise<void> = Promise.resolve()
  /** Whether they have ended once in this row of tries. */
  #wereFree = false
  /** Looked for once; what was found is in `#lines`. */
  #unlisted: Promise<void> | null = null
  /** To be told at the next turn. */
  readonly #lines: string[] = []

  constructor(options: WatcherOptions) {
    this.#options = options
    const { request, intervalMs, timeoutMs, openPulse } = options
    this.database = request.database
    this.#news = new News(this.database, options.tell)
    const confirm = { surveys: options.confirm, apartMs: 0.8 * intervalMs }
    this.#blindness = new Blindness(confirm, this.#news)
    this.#groups = new Groups(confirm, options.cooldownMs)
    this.#silences = new Silences(options.confirm)
    this.#idleLeader = new IdleLeader(intervalMs, options.cooldownMs)
    this.#fences = new Fences(this.database, options.tell)
    this.#coordinators = new Coordinators(request.seeds)
    this.#access = new SpareSessions(options.access, this.database, timeoutMs)
    this.#pulses = new Pulses({
      database: this.database,
      intervalMs,
      timeoutMs,
      open: openPulse,
      notice: (noticed) => this.#notice(noticed),
    })
  }

  get state(): WatchState {
    const { intervalMs, timeoutMs } = this.#options
    const now = performance.now()
    return {
      database: this.database,
      leadership: this.#leadership,
      turnedMsAgo: now - this.#turnedAt,
      turnLimitMs: turnLimit(intervalMs, timeoutMs),
      turns: this.#turns,
      surveys: this.#surveys,
      coordinator: this.#coordinator,
      failure: this.#blindness.why ?? this.#failure,
      undone: this.#undone,
      view: this.#view,
      pulses: this.#pulses.states,
      groups: groupStates(
        this.#groups.beliefs,
        this.#view?.coordinator.installed?.pauses ?? [],
        (group) => this.#fences.leftMs(group),
        now,
      ),
    }
  }

  get #coordinator(): HostPort | null {
    return this.#blindness.why !== null ? null : (this.#view?.coordinator.address ?? null)
  }

  /**
   * Watches until the signal; then what is under way is finished or rolled back, and the lead given up.
   * @throws what ended one of its loops: a bug, or a `tell` that throws
   */
  async run(stop: AbortSignal): Promise<void> {
    // Each of the two loops ends with the other one.
    const broken = new AbortController()
    const signal = AbortSignal.any([stop, broken.signal])
    const leading = this.#keepLead(signal).catch((error: unknown) => broken.abort(error))
    try {
      for (let rung = true; !signal.aborted; rung = await this.#rest(signal)) {
        if (rung || this.#isDue()) await this.#turn(signal)
        for (const line of [...this.#silences.news(this.#pulses.states), ...this.#lines.splice(0)])
          this.#options.tell({ kind: 'progress', database: this.database, line })
        this.#turnedAt = performance.now()
        this.#turns++
      }
      broken.signal.throwIfAborted()
    } finally {
      broken.abort()
      await this.#fences.close()
      await this.#pulses.stop()
      await this.#waiting
      await this.#access.close()
      await this.#unlisted
      await leading
      await this.#options.lead.release()
    }
  }

  /** Makes a group's writes stand still; the change that follows happens inside. @throws as `holdFence` */
  async fence(group: number, ttlMs: number): Promise<FenceReport> {
    const request = { ...this.request, began: performance.now() }
    return await this.#fences.hold(this.#access, request, group, ttlMs)
  }

  async release(group: number): Promise<ReleaseReport> {
    return await this.#fences.release(group)
  }

  async #rest(signal: AbortSignal): Promise<boolean> {
    const now = performance.now()
    const spacing = this.#surveyedAt + SHORTEST_MS - now
    if (spacing > 0) await this.#promoted.wait(spacing, signal)
    const until = Math.min(this.#nextAt ?? Number.POSITIVE_INFINITY, now + this.#options.intervalMs)
    return await this.#alarm.wait(Math.max(0, until - performance.now()), signal)
  }

  #isDue(): boolean {
    const now = performance.now()
    if (this.#nextAt !== null && now >= this.#nextAt) return true
    const { intervalMs } = this.#options
    const unclear = this.#blindness.isDoubted || this.#groups.isUnsettled
    const intervals = unclear ? 0.9 : this.#groups.isAiling ? INTERVALS_IF_AILING : INTERVALS_IF_WELL
    return now - this.#surveyedAt >= intervalMs * intervals
  }

  #notice(noticed: Noticed): void {
    if (noticed.what === 'promoted') {
      const { node, ageMs } = noticed
      if (ageMs !== null) this.#promotions.set(formatAddress(node), { noticedAt: performance.now(), ageMs })
      this.#groups.hope()
      this.#silences.hurry()
      this.#promoted.ring()
    }
    this.#options.tell(noticed)
    this.#alarm.ring()
  }

  async #turn(signal: AbortSignal): Promise<void> {
    this.#surveyedAt = performance.now()
    let seen: View
    try {
      seen = await this.#look()
      this.#blindness.ends()
    } catch (error) {
      if (!signal.aborted) this.#blindness.goesOn(error, this.#surveyedAt)
      return
    }
    try {
      const intent = this.#intend(seen)
      this.#nextAt = intent.nextAt
      if (intent.kind !== 'nothing') await this.#act(seen, intent, signal)
      await guardTransactions(this.#access, this.request, seen)
      if (this.#leadership === 'leading') await recordPositions(this.#access, this.request, seen)
      await this.#fences.extend(this.#access, this.request, seen)
      this.#unlisted ??= this.#lookForUnlisted(seen, signal)
      if (intent.kind !== 'nothing' || intent.nextAt === null) this.#failure = null
    } catch (error) {
      this.#failure = signal.aborted ? this.#failure : this.#news.failed(error, this.#failure)
    }
  }

  /** Once, at its start, beside all else: a promotion of one that nobody has named is followed late, or not at all. Never throws. */
  async #lookForUnlisted(seen: View, signal: AbortSignal): Promise<void> {
    const { access } = this.#options
    const found = unlistedStandbys(access, { ...this.request, signal }, seen).catch((error: unknown) => [
      `unlisted standbys could not be searched for: ${messageOf(error)}; citus-ha doctor lists them (H080)`,
    ])
    this.#lines.push(...(await found))
  }

  async #look(): Promise<View> {
    const access = this.#access
    this.#silence = this.#silences.next(this.#pulses.states)
    const request = { ...this.request, silence: this.#silence }
    const survey = await observe(access, request, new Clock())
    this.#silences.see(survey)
    this.#surveys++
    this.#coordinators.see(survey)
    this.#pulses.follow(survey.nodes.map((node) => node.address))
    this.#pulses.wake(survey.nodes.flatMap((node) => (node.kind === 'answered' ? [node.address] : [])))
    const seen = view(survey, access, request)
    requireUsable(seen.coordinator, access.migration)
    this.#news.coordinator(this.#view?.coordinator, seen.coordinator)
    this.#view = seen
    this.#coordinators.follow(seen.coordinator)
    if (this.#leadership === 'none') this.#leadAlarm.ring()
    const believed = this.#groups.beliefs
    this.#groups.see(seen.diagnoses, this.#surveyedAt)
    this.#news.diagnosed(believed, this.#groups.beliefs)
    this.#access.keep(this.#leadership === 'leading' ? participantsOf(seen) : [])
    return seen
  }

  /** What a walk would be asked now: where to look, and which coordinator is known. */
  get request(): WalkRequest {
    const { request } = this.#options
    // Without a coordinator nobody is forgotten: what becomes of the workers meanwhile is seen all the same.
    const rows = this.#view?.coordinator.citus?.catalog ?? []
    const acquainted = rows.map((row) => row.address)
    const fenceOf = (groups: readonly number[]) => this.#fences.of(groups)
    return {
      ...request,
      fenceOf,
      acquainted,
      seeds: this.#coordinators.addresses,
      known: this.#coordinators.known,
    }
  }

  #intend(seen: View): Intent {
    const intent = this.#groups.intend(seen.plan, {
      leadership: this.#leadership,
      pauses: seen.coordinator.installed?.pauses ?? [],
      now: performance.now(),
      fenced: this.#fences.groups,
      leftovers: hasLeftovers(seen, clusterName(this.#options.request, seen.coordinator)),
    })
    this.#news.held(intent)
    this.#noticeIdleLeader(seen, intent)
    return intent
  }

  #noticeIdleLeader({ coordinator }: View, intent: Intent): void {
    const pauses = coordinator.installed?.pauses ?? []
    const idle = this.#idleLeader.see(intent, pauses, performance.now(), this.#options.lead.why)
    this.#undone = idle === null ? null : this.#news.failed(idle, this.#undone)
  }

  async #act(seen: View, intent: Intent, signal: AbortSignal): Promise<void> {
    const { lead, tell, intervalMs, request: options } = this.#options
    const { groups } = intent
    if (intent.kind === 'change') this.#access.ready(seen.plan, limitsOf(options))
    // Whoever holds the fence is the only one who can change the group, leading or not.
    if (this.#fences.of(groups) === null && !(await lead.stillLeads())) {
      this.#nextAt = performance.now() + intervalMs / 2
      return this.#leadAlarm.ring()
    }
    // A later try knows better who is in the way.
    this.#tried.abort()
    this.#tried = new AbortController()
    const began = this.#groups.tryingSince(groups, performance.now())
    const silence = this.#silence
    const believedDown = this.#groups.down
    const request = { ...this.request, signal, began, groups, seen, silence, believedDown }
    const done = await (intent.kind === 'recovery'
      ? recover(this.#access, request, seen)
      : attempt(this.#access, request, this.#promotions))
    const { failures, before } = this.#groups.tried(intent, done, performance.now())
    // What is to be done next, and when, is seen by looking again.
    if (done.failed || done.leftOut) this.#alarm.ring()
    const blockers = done.failed ? (done.report?.blockers ?? []) : []
    if (failures <= 1) this.#wereFree = false
    if (blockers.length > 0 && !this.#wereFree) {
      const waiting = this.#awaitFree(blockers, AbortSignal.any([signal, this.#tried.signal]))
      // The one before was ended above, and may still close its session.
      this.#waiting = Promise.all([this.#waiting, waiting]).then(() => undefined)
    }
    await this.#fences.yieldTo(done.report?.blockers ?? [])
    if (done.report && (done.told || before > 0)) {
      tell({ kind: 'acted', report: done.report, groups, stages: done.stages, failures })
    }
    if (done.error) throw done.error
  }

  /** Whoever was in the way of a try may be gone long before the next one is due. Never throws. */
  async #awaitFree(blockers: readonly Blocker[], signal: AbortSignal): Promise<void> {
    const free = untilFree(this.#access, this.database, blockers, IN_THE_WAY_MS, signal)
    this.#wereFree = await free.catch(() => false)
    if (signal.aborted) return
    this.#groups.hope()
    this.#alarm.ring()
  }

  async #keepLead(signal: AbortSignal): Promise<void> {
    const { lead, intervalMs, tell } = this.#options
    while (!signal.aborted) {
      const at = this.#coordinator
      if (at === null && this.#leadership !== 'none') await lead.release()
      const now = at === null ? 'none' : await lead.hold(at)
      if (now !== this.#leadership) {
        this.#leadership = now
        const why = now === 'none' ? (lead.why ?? 'no coordinator') : lead.why
        tell({ kind: 'leadership', database: this.database, now, why })
        this.#alarm.ring()
      }
      await this.#leadAlarm.wait(intervalMs / 2, signal)
    }
  }
}

/** A turn may wait for silent nodes, for witnesses, and for a walk of its own; more is a loop that hangs. */
function turnLimit(intervalMs: number, timeoutMs: number): number {
  return 3 * intervalMs + 5 * timeoutMs + 30_000
}
