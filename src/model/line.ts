import type { Answered, TimelineSwitch } from './observation.ts'

/** A place on a line of WAL: what is before it on its timeline, and on the timelines that this one came from. */
export interface Point {
  readonly timeline: number
  /** null where it could not be read. */
  readonly history: readonly TimelineSwitch[] | null
  /** In bytes; null: only that the timeline was begun is known. */
  readonly lsn: bigint | null
}

/** Where a server is, or was when it answered. */
export const pointOf = ({ timeline, history, lsn }: Answered): Point => ({
  timeline: timeline ?? 0,
  history,
  lsn,
})

/** What a server has of the WAL up to a point that is known to exist. */
export type Holds =
  | { readonly has: 'all' }
  /** It left that timeline, or ends, before the point: `known - until` bytes are missing, at least. */
  | { readonly has: 'less'; readonly timeline: number; readonly until: bigint; readonly known: bigint }
  /**
   * Its line left the other's earlier, or never came to that timeline. `lacksOf`: the last timeline that both were on, where
   * the other one has more of it; null where it has not.
   */
  | { readonly has: 'another line'; readonly why: string; readonly lacksOf: number | null }
  /** A history is missing: nothing follows. */
  | { readonly has: 'unknown'; readonly why: string }

interface Segment {
  readonly timeline: number
  /** Where it was left, or where the server is. */
  readonly until: bigint | null
}

/**
 * What a server has of the line up to a point. Timelines are compared one after the other, from the first: two lines are one
 * as far as each timeline was left at the same position for the same next one. A timeline's number alone proves nothing,
 * since two promotions can take the same. (PostgreSQL: "25.3.6 Timelines"; `timeline.c`, `tliOfPointInHistory`.)
 */
export function holds(server: Point, point: Point): Holds {
  if (server.history === null || point.history === null) {
    const whose = server.history === null ? 'its' : 'the other server’s'
    return {
      has: 'unknown',
      why: `${whose} timeline history could not be read, so the two were not compared`,
    }
  }
  const own = segmentsOf(server, server.history)
  const other = segmentsOf(point, point.history)
  for (const [n, known] of other.entries()) {
    const mine = own[n]
    if (mine === undefined || mine.timeline !== known.timeline) return anotherLine(server, point)
    const [isOwnLast, isLast] = [n === own.length - 1, n === other.length - 1]
    if (isLast) return upTo(mine, known)
    const lacksOf = upTo(mine, known).has === 'less' ? mine.timeline : null
    if (isOwnLast) {
      return {
        has: 'another line',
        why: `it is on timeline ${server.timeline}, the group was already on ${point.timeline}`,
        lacksOf,
      }
    }
    if (mine.until !== known.until) return anotherLine(server, point, lacksOf)
  }
  return { has: 'all' }
}

function upTo(mine: Segment, known: Segment): Holds {
  if (mine.until === null || known.until === null || known.until <= mine.until) return { has: 'all' }
  return { has: 'less', timeline: mine.timeline, until: mine.until, known: known.until }
}

function anotherLine(server: Point, point: Point, lacksOf: number | null = null): Holds {
  const why =
    server.timeline === point.timeline
      ? `it is on a timeline ${server.timeline} that is not the group’s`
      : `timeline ${point.timeline} of the group is not in the history of its timeline ${server.timeline}`
  return { has: 'another line', why: `${why}: ${switchesOf(server)}`, lacksOf }
}

function segmentsOf({ timeline, lsn }: Point, history: readonly TimelineSwitch[]): Segment[] {
  return [
    ...history.map((entry) => ({ timeline: entry.timeline, until: parseLsn(entry.lsn) })),
    { timeline, until: lsn },
  ]
}

/** The timelines it came from, and where each was left, for people. */
function switchesOf({ history }: Pick<Point, 'history'>): string {
  if (history === null || history.length === 0) return 'no history'
  return history.map((entry) => `${entry.timeline} until ${entry.lsn}`).join(', ')
}

/** `16/B374D848` in bytes. @throws SyntaxError for what is no position */
export function parseLsn(text: string): bigint {
  const [high = '', low = ''] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** As PostgreSQL writes it. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase()
}
