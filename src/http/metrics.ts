import type { Registry } from 'prom-client'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Remark } from '../model/remark.ts'
import type { StateCode } from '../model/server-state.ts'
import type { TargetState } from '../notify/target.ts'
import { type CopyState, copiesOf } from '../walk/copies.ts'
import type { View } from '../walk/look.ts'
import { type NodeStatus, nodesOf, remarksIn, warningsOf } from '../walk/status.ts'
import type { Acted, Noticed, WatchEvent } from '../watch/event.ts'
import { allReady } from '../watch/health.ts'
import type { PulseState, WatchState } from '../watch/state.ts'
import { addProcess, type Families, familiesIn, HELD, NOTICED, OUTCOMES, STAGES } from './families.ts'

export interface MetricsOptions {
  /** Asked anew at each scrape. */
  readonly states: () => readonly WatchState[]
  /** Asked anew at each scrape; without it nobody is told of anything. */
  readonly notifications?: () => readonly TargetState[]
  /** Of citus-ha. */
  readonly version: string
}

/** What of a survey is worth working out once and not at each scrape. */
interface Digest {
  readonly nodes: readonly ShownNode[]
  readonly copies: readonly CopyState[]
  readonly problems: readonly Remark[]
  readonly warnings: readonly Remark[]
  /** Address of each group's primary. */
  readonly primaries: ReadonlyMap<number, string>
}

const NOTHING: Digest = { nodes: [], copies: [], problems: [], warnings: [], primaries: new Map() }

interface ShownNode {
  readonly status: NodeStatus
  /** '' for a node of which no group is known. */
  readonly group: string
  readonly answered: Answered | null
}

/**
 * What a watcher tells Prometheus. Counts and times come from events, as they happen; all else is read from the
 * state at the scrape, so that what is gone is gone here too.
 */
export class Metrics {
  readonly #registry: Registry
  readonly #families: Families
  readonly #options: MetricsOptions
  readonly #digests = new WeakMap<View, Digest>()

  private constructor(registry: Registry, families: Families, options: MetricsOptions) {
    this.#registry = registry
    this.#families = families
    this.#options = options
  }

  static async open(options: MetricsOptions): Promise<Metrics> {
    // Loaded here: only a watcher that is asked for metrics should pay for it.
    const prometheus = await import('prom-client')
    const registry = new prometheus.Registry()
    addProcess(prometheus, registry)
    return new Metrics(registry, familiesIn(prometheus, registry), options)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Counts one event. */
  told(event: WatchEvent): void {
    const { held, failures } = this.#families
    if (event.kind === 'noticed') this.#noticed(event)
    else if (event.kind === 'acted') this.#acted(event)
    else if (event.kind === 'held') held.inc({ database: event.database, why: event.why })
    else if (event.kind === 'failed') failures.inc({ database: event.database })
    else if (event.kind === 'database' && event.now === 'watched') this.#begin(event.database)
    else if (event.kind === 'database') this.#forget(event.database)
  }

  /** The whole exposition, as of now. */
  async text(): Promise<string> {
    // Without a wait in between: another scrape at the same time sees all of its gauges, too.
    this.#read(this.#options.states())
    return await this.#registry.metrics()
  }

  #noticed({ database, what, ageMs }: Noticed): void {
    const { noticed, noticeTime } = this.#families
    noticed.inc({ database, what })
    if (what === 'promoted' && ageMs !== null) noticeTime.observe({ database }, ageMs / 1000)
  }

  #acted({ report, stages }: Acted): void {
    const { changes, stageTime } = this.#families
    const { database, outcome } = report
    changes.inc({ database, outcome })
    // A try that decided nothing is followed by another one, which counts.
    if (stages.decidedMs === null) return
    const ms = { noticed: stages.noticedMs, decided: stages.decidedMs, right: stages.rightMs }
    for (const stage of STAGES) {
      const value = ms[stage]
      if (value !== null) stageTime.observe({ database, stage }, value / 1000)
    }
  }

  /** A rate needs the zero it rose from. */
  #begin(database: string): void {
    const { changes, noticed, held, failures } = this.#families
    for (const outcome of OUTCOMES) changes.inc({ database, outcome }, 0)
    for (const what of NOTICED) noticed.inc({ database, what }, 0)
    for (const why of HELD) held.inc({ database, why }, 0)
    failures.inc({ database }, 0)
  }

  #forget(database: string): void {
    const { changes, noticed, held, failures, noticeTime, stageTime } = this.#families
    for (const outcome of OUTCOMES) changes.remove({ database, outcome })
    for (const what of NOTICED) noticed.remove({ database, what })
    for (const why of HELD) held.remove({ database, why })
    for (const stage of STAGES) stageTime.remove({ database, stage })
    failures.remove({ database })
    noticeTime.remove({ database })
  }

  #read(states: readonly WatchState[]): void {
    const { build, noticed, changes, held, failures, noticeTime, stageTime, ...read } = this.#families
    for (const family of Object.values(read)) family.reset()
    build.set({ version: this.#options.version }, 1)
    for (const target of this.#options.notifications?.() ?? []) this.#readTarget(target)
    for (const state of states) {
      const digest = state.view ? this.#digest(state.view) : NOTHING
      this.#readLoop(state)
      this.#readGroups(state)
      this.#readRemarks(state, digest)
      this.#readNodes(state, digest)
    }
  }

  #readTarget({ name, queued, ...counts }: TargetState): void {
    const { notifications, notificationsQueued } = this.#families
    const target = name
    for (const result of ['sent', 'failed', 'dropped'] as const) {
      notifications.inc({ target, result }, counts[result])
    }
    notificationsQueued.set({ target }, queued)
  }

  #readLoop(state: WatchState): void {
    const { leading, ready, turnAge, surveyAge, turns, surveys } = this.#families
    const { database, leadership, turnedMsAgo, view } = state
    leading.set({ database }, leadership === 'leading' ? 1 : 0)
    ready.set({ database }, allReady([state]) ? 1 : 0)
    turnAge.set({ database }, turnedMsAgo / 1000)
    turns.inc({ database }, state.turns)
    surveys.inc({ database }, state.surveys)
    if (view) surveyAge.set({ database }, Math.max(0, (Date.now() - Date.parse(view.survey.at)) / 1000))
  }

  #readGroups({ database, groups }: WatchState): void {
    const { diagnosis, groupFailures, paused, cooldown, fenced } = this.#families
    for (const { group, code, rule, failures, paused: isPaused, cooldownMs, fencedMs } of groups) {
      const labels = { database, group: String(group) }
      diagnosis.set({ ...labels, code, rule }, 1)
      groupFailures.set(labels, failures)
      paused.set(labels, isPaused ? 1 : 0)
      cooldown.set(labels, cooldownMs / 1000)
      fenced.set(labels, fencedMs / 1000)
    }
  }

  #readRemarks({ database }: WatchState, digest: Digest): void {
    const { problems, warnings } = this.#families
    const labels = ({ code, group }: Remark) => ({
      database,
      group: group === null ? '' : String(group),
      code,
    })
    for (const each of digest.problems) problems.inc(labels(each))
    for (const each of digest.warnings) warnings.inc(labels(each))
  }

  #readNodes({ database, pulses }: WatchState, { nodes, copies, primaries }: Digest): void {
    const { up, copyDiffers } = this.#families
    const byAddress = new Map(pulses.map((pulse) => [formatAddress(pulse.address), pulse]))
    for (const shown of nodes) {
      const primary = byAddress.get(primaries.get(Number(shown.group)) ?? '')
      this.#readNode(database, shown, byAddress.get(shown.status.address), primary)
    }
    const surveyed = new Set(nodes.map(({ status }) => status.address))
    for (const [node, { state }] of byAddress) {
      // Not surveyed yet, or found since the last survey that led to a diagnosis.
      if (!surveyed.has(node) && state !== 'starting')
        up.set({ database, group: '', node }, state === 'up' ? 1 : 0)
    }
    for (const { node, role, differs } of copies) {
      copyDiffers.set({ database, node: formatAddress(node), role }, differs ? 1 : 0)
    }
  }

  #readNode(
    database: string,
    { status, group, answered }: ShownNode,
    pulse: PulseState | undefined,
    primary: PulseState | undefined,
  ): void {
    const { up, role, streaming, registered, lag, timeline, prepared, preparedAge } = this.#families
    const labels = { database, group, node: status.address }
    const isUp = pulse && pulse.state !== 'starting' ? pulse.state === 'up' : answered !== null
    up.set(labels, isUp ? 1 : 0)
    registered.set({ ...labels, as: status.registeredAs ?? 'none' }, 1)
    const inRecovery = pulse?.inRecovery ?? answered?.inRecovery ?? null
    // A pulse is newer: between two surveys a standby may have been promoted.
    const isSame = inRecovery === answered?.inRecovery
    const now = status.isAlias ? 'alias' : isSame ? status.role : inRecovery ? 'standby' : 'primary'
    if (isUp && inRecovery !== null && now !== null) role.set({ ...labels, role: now }, 1)
    const streams = isUp && isSame && inRecovery ? STREAMS[status.stateCode] : undefined
    if (streams !== undefined) streaming.set(labels, streams)
    const behind = isUp && inRecovery ? (lagBetween(pulse, primary) ?? status.lagBytes) : null
    if (behind !== null) lag.set(labels, behind)
    if (status.timeline !== null) timeline.set(labels, status.timeline)
    if (!answered) return
    prepared.set(labels, answered.prepared.length)
    preparedAge.set(labels, (answered.oldestPreparedMs ?? 0) / 1000)
  }

  #digest(view: View): Digest {
    const known = this.#digests.get(view)
    if (known) return known
    const digest = digestOf(view)
    this.#digests.set(view, digest)
    return digest
  }
}

/** Whether a standby receives from its group's primary; of any other state nothing is known. */
const STREAMS: Partial<Record<StateCode, 0 | 1>> = {
  streaming: 1,
  'not-streaming': 0,
  'streams-elsewhere': 0,
}

function digestOf(view: View): Digest {
  const { groups, others } = nodesOf(view)
  const answers = new Map(
    view.survey.nodes.flatMap((node) =>
      node.kind === 'answered' ? [[formatAddress(node.address), node] as const] : [],
    ),
  )
  const shown = (status: NodeStatus, group: number | undefined): ShownNode => {
    const answered = answers.get(status.address) ?? null
    return { status, group: group === undefined ? '' : String(group), answered }
  }
  const primaries = view.diagnoses.flatMap(({ group, primary }) =>
    primary ? [[group, formatAddress(primary.address)] as const] : [],
  )
  return {
    nodes: [
      ...groups.flatMap(({ group, nodes }) => nodes.map((status) => shown(status, group))),
      ...others.map((status) => shown(status, answers.get(status.address)?.citus?.localGroup)),
    ],
    copies: copiesOf(view),
    problems: remarksIn(view).problems,
    warnings: warningsOf(view),
    primaries: new Map(primaries),
  }
}

/** The positions of two pulses are as old as those: within an interval of each other. */
function lagBetween(standby: PulseState | undefined, primary: PulseState | undefined): number | null {
  if (primary?.state !== 'up' || standby?.lsn == null || primary.lsn === null) return null
  return Number(primary.lsn > standby.lsn ? primary.lsn - standby.lsn : 0n)
}
