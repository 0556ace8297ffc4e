import { type Catalog, COORDINATOR_GROUP } from './catalog.ts'
import { type Holds, holds, type Point, pointOf } from './line.ts'
import { formatAddress, type HostPort } from './node.ts'
import type { Answered, Installed, Lineage, Observation, Position } from './observation.ts'
import { distinctServers } from './servers.ts'

/** A point of a group's line that exists, or existed, and how that is known. */
export interface Known {
  readonly point: Point
  /**
   * `record`: a line that another server wrote down; `epoch`: only its number; `position`: how far a server was when it was
   * written down; `replayed`: what a living server in recovery has applied; `received`: what it has besides.
   */
  readonly source: 'record' | 'epoch' | 'position' | 'replayed' | 'received'
  /** Whose WAL it is, where it is somebody's. */
  readonly address: HostPort | null
  /** Of the living server that has it, or that wrote it down. */
  readonly instance: string
  /** Who knows it, for people; of a position, the beginning of a sentence. */
  readonly by: string
  /** Since it was written down, in milliseconds; 0 for what was seen just now. */
  readonly ageMs: number
  /** `pg_last_xact_replay_timestamp()` of the living server that replayed it. */
  readonly lastCommit: string | null
  /** A position that a standby had; else one that a primary had written. */
  readonly ofStandby: boolean
  /** Of a record, the timeline up to which the line was decided; 0: it was written down as it was seen, and decides nothing. */
  readonly decided: number
}

/**
 * Everything that the servers of a survey know of one group's line: of what they are themselves, and of what they wrote
 * down of it. Of other systems nothing follows.
 * @param coordinator whose tables count for a worker's group; those of every server count for group 0
 */
export function knownOf(
  nodes: readonly Observation[],
  group: number,
  systemIdentifier: string,
  coordinator: Answered | undefined,
): Known[] {
  const answered = distinctServers(nodes.filter((node): node is Answered => node.kind === 'answered'))
  const witnesses =
    group === COORDINATOR_GROUP
      ? answered
      : answered.filter((node) => node.instance === coordinator?.instance)
  const clones = cloned(answered, coordinator?.citus?.catalog ?? [])
  const living = answered
    .filter((node) => node.inRecovery && node.citus?.localGroup === group && node.timeline !== null)
    .filter((node) => node.systemIdentifier === systemIdentifier && !clones.has(node.instance))
  return [
    ...witnesses.flatMap((node) => written(node, group, systemIdentifier)),
    ...living.flatMap(livingPoints),
  ]
}

function cloned(nodes: readonly Answered[], catalog: Catalog): ReadonlySet<string> {
  const rows = catalog.filter((row) => row.isclone).map((row) => formatAddress(row.address))
  return new Set(
    nodes.filter((node) => rows.includes(formatAddress(node.address))).map((node) => node.instance),
  )
}

const PLAIN = {
  address: null,
  ageMs: 0,
  lastCommit: null,
  ofStandby: false,
  decided: 0,
} as const

function written(node: Answered, group: number, systemIdentifier: string): Known[] {
  const { installed, instance, address } = node
  if (!installed) return []
  const at = formatAddress(address)
  const line = installed.lineage.find((each) => each.group === group)
  if (line && line.systemIdentifier !== systemIdentifier) return []
  const { timeline } = installed.epoch
  // What was written by a version that kept only the number. A coordinator's own is no witness of itself, see `refutation`.
  const number = { ...PLAIN, instance, source: 'epoch', by: `${at} took part in a change under it` } as const
  if (!line) {
    return group === COORDINATOR_GROUP && timeline > 0
      ? [{ ...number, point: { timeline, history: null, lsn: null } }]
      : []
  }
  const record = { ...PLAIN, instance, source: 'record', by: `${at} has it on record` } as const
  return [
    { ...record, point: { ...line, lsn: null }, decided: decidedOn(line, timeline) },
    ...installed.positions.flatMap((position) => recorded(position, line, node)),
  ]
}

/**
 * A line of group 0 is written down as it is seen, too: by a coordinator that nobody spoke against just then, a restored backup
 * perhaps, on itself and on the others. What a change was made under is a decision: of that, the epoch keeps the timeline.
 */
function decidedOn({ group, timeline, history }: Lineage, changedUnder: number): number {
  if (group !== COORDINATOR_GROUP || changedUnder === timeline) return timeline
  return history.some((entry) => entry.timeline === changedUnder) ? changedUnder : 0
}

function recorded(position: Position, line: Lineage, { instance, address }: Answered): Known[] {
  const { group, timeline, lsn, ageMs } = position
  if (group !== line.group || timeline !== line.timeline) return []
  const by = `${formatAddress(position.address)} had (on record at ${formatAddress(address)})`
  const point = { timeline, history: line.history, lsn }
  return [
    {
      ...PLAIN,
      source: 'position',
      instance,
      address: position.address,
      by,
      ageMs,
      point,
      ofStandby: position.inRecovery,
    },
  ]
}

function livingPoints(node: Answered): Known[] {
  const { instance, address, timeline, history, lsn, receivedLsn, lastCommit } = node
  const point = { timeline: timeline ?? 0, history, lsn }
  const own = { ...PLAIN, instance, address, lastCommit, ofStandby: true }
  const at = formatAddress(address)
  const replayed: Known = { ...own, source: 'replayed', by: `${at}, which is running, has`, point }
  if (receivedLsn === null || lsn === null || receivedLsn <= lsn) return [replayed]
  const received: Known = {
    ...own,
    source: 'received',
    by: `${at}, which is running, has received`,
    point: { ...point, lsn: receivedLsn },
  }
  return [replayed, received]
}

/**
 * The timeline up to which a server's line was decided: the newest of those on record that its line has, its own word
 * included. What somebody has of an earlier timeline beyond the point where this line left it was given up by that decision.
 */
export function decidedTimeline(server: Answered, known: readonly Known[]): number {
  const records = known.filter(
    ({ source, point }) => source === 'record' && holds(pointOf(server), point).has === 'all',
  )
  return Math.max(0, ...records.map(({ decided }) => decided))
}

/**
 * Of what was written down by a server's own clock. A moment that is still to come was written by a clock that was ahead, as
 * that of a coordinator which has failed over: it is long ago.
 */
export const isOlderThan = (ageMs: number, limitMs: number): boolean => ageMs >= limitMs || ageMs < 0

/** Any survey takes less: what was written down longer ago can't be newer than what the survey saw of the server itself. */
const LONGEST_SURVEY_MS = 10_000

/** What a server lacks of one known point; null: nothing, or nothing that is known. */
export function lacks(
  server: Answered,
  known: Known,
  decided: number,
): Exclude<Holds, { has: 'all' | 'unknown' }> | null {
  const own = pointOf(server)
  const { point, source } = known
  if (known.source === 'epoch') return passedThrough(server, point.timeline)
  if (source !== 'record' && point.timeline < decided) return null
  const found = holds(own, point)
  if (found.has === 'all' || found.has === 'unknown') return null
  // Both are on this timeline still: two moments are compared, and not two lines. The survey has asked the server last.
  const isGoing = found.has === 'less' && found.timeline === own.timeline
  if (!isGoing) return found
  if (source === 'position') return isOlderThan(known.ageMs, LONGEST_SURVEY_MS) ? found : null
  return source === 'replayed' ? found : null
}

/**
 * Whether a standby that lives has replayed more of its timeline than this primary had flushed, as each of them answered.
 * A standby is sent what its primary has flushed (`walsender.c`, `XLogSendPhysical`): where it answered later, that may be all.
 */
export function isBehindAStandby(nodes: readonly Observation[], primary: Answered): boolean {
  return nodes.some((node) => {
    if (node.kind !== 'answered' || !node.inRecovery) return false
    if (node.systemIdentifier !== primary.systemIdentifier || node.timeline !== primary.timeline) return false
    return holds(pointOf(primary), pointOf(node)).has === 'less'
  })
}

function passedThrough(
  { timeline, history }: Answered,
  number: number,
): Exclude<Holds, { has: 'all' | 'unknown' | 'less' }> | null {
  if (timeline === null || timeline === number || history === null) return null
  if (history.some((entry) => entry.timeline === number)) return null
  return {
    has: 'another line',
    why: `it is on timeline ${timeline}, and was never on timeline ${number}`,
    lacksOf: null,
  }
}

/**
 * Of several coordinators that take writes, the one that leads: nothing that others know speaks against it, and each of the
 * others lacks of the line what is known, or is on a timeline that this one came from. A higher number proves nothing.
 */
export function leaderAmong(
  nodes: readonly Observation[],
  candidates: readonly Answered[],
): Answered | undefined {
  const standing = candidates.filter((node) => refutation(nodes, node) === null)
  const [only, ...more] = standing
  if (more.length === 0) return only
  return standing.find((node) =>
    standing.every(
      (other) =>
        other === node ||
        (other.timeline !== node.timeline &&
          holds(pointOf(node), { ...pointOf(other), lsn: null }).has === 'all'),
    ),
  )
}

/** What speaks against a coordinator, by what others know of its line; null: nothing. Its own tables count for nothing. */
export function refutation(
  nodes: readonly Observation[],
  node: Answered,
): Exclude<Holds, { has: 'all' | 'unknown' }> | null {
  const known = knownOf(nodes, COORDINATOR_GROUP, node.systemIdentifier, node)
  const decided = decidedTimeline(node, known)
  for (const each of known) {
    if (each.instance === node.instance || each.source === 'received') continue
    const found = lacks(node, each, decided)
    if (found) return found
  }
  return missedDecision(nodes, node)
}

/** A change that others took part in is a decision of their coordinator's: whoever leads has it. */
function missedDecision(nodes: readonly Observation[], node: Answered): ReturnType<typeof refutation> {
  const own = node.installed?.epoch
  for (const other of nodes) {
    if (other.kind !== 'answered' || other.instance === node.instance || !other.installed || !own) continue
    const { epoch, lineage } = other.installed
    const line = lineage.find((each) => each.group === COORDINATOR_GROUP)
    if (line?.systemIdentifier !== node.systemIdentifier || !isBefore(own, epoch)) continue
    const taken = `${formatAddress(other.address)} took part in epoch ${epoch.epoch} of timeline ${epoch.timeline}`
    return {
      has: 'another line',
      why: `${taken}, but the last of this server is epoch ${own.epoch} of timeline ${own.timeline}`,
      lacksOf: null,
    }
  }
  return null
}

const isBefore = (a: Installed['epoch'], b: Installed['epoch']): boolean =>
  a.timeline < b.timeline || (a.timeline === b.timeline && a.epoch < b.epoch)
