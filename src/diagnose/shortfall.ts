import { isHeld } from '../model/intents.ts'
import { decidedTimeline, type Known, lacks } from '../model/known.ts'
import { formatLsn } from '../model/line.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { GroupFacts, Member } from './facts.ts'
import { type Descent, descent } from './timelines.ts'

/** What a server lacks of the WAL that its group is known to have had. */
export interface Shortfall {
  /** What can't be: a server that lives has it, or it had it itself. Nobody but a person may write it down as the primary. */
  readonly less: readonly string[]
  /** What a primary that died may have kept to itself, as with any asynchronous standby: data that may be lost. */
  readonly lag: readonly string[]
  /** Living standbys that have more, of those in `less`. */
  readonly ahead: readonly Ahead[]
}

export interface Ahead {
  readonly address: HostPort
  /** On the timeline on which the member still is: no decision tells the two apart for good. */
  readonly isOnSame: boolean
}

/** A checkpoint at a shutdown. A PREPARE TRANSACTION, with what it has to keep, takes more. */
const SHUTDOWN_BYTES = 120n

/** How the server comes to be asked about. */
export type As =
  /** It was promoted, by whomever. */
  | 'candidate'
  /** By a switchover of ours, which had seen it replay all that the old primary had. */
  | 'intended'
  /** It is the registered primary: no standby's lag explains what it lacks. */
  | 'registered'

/**
 * What `member` has less of the line than a living server, or than anybody is known to have had; docs/design.md "Evidence"
 * has the table. More than `maxLag` of lag is no lag.
 */
export function shortfall(facts: GroupFacts, member: Member, as: As): Shortfall {
  const { node } = member
  const { known, maxLag } = facts
  const decided = decidedTimeline(node, known)
  const heldBySwitchover = isHeldFor(facts)
  const less: string[] = []
  const lag: string[] = []
  const ahead: Ahead[] = []
  for (const each of known) {
    if (each.instance === node.instance && each.source !== 'position') continue
    if (each.source === 'record' || each.source === 'epoch') continue
    const found = lacks(node, each, decided)
    if (!found) continue
    const same = hasSameCommits(each, node)
    if (same && found.has === 'less' && found.known - found.until <= SHUTDOWN_BYTES) continue
    const weight = same ? 'lag' : weightOf(each, facts, member, as)
    if (weight === 'nothing') continue
    // A stray standby on a line of its own is not the trouble of a registered primary, unless that has less of what they
    // have in common, and nobody decided so; whoever was promoted may be.
    const isStray =
      as === 'registered' &&
      found.has === 'another line' &&
      (found.lacksOf === null || found.lacksOf < decided)
    const isTolerable =
      found.has === 'less' &&
      (found.known - found.until <= BigInt(maxLag) || (as === 'intended' && heldBySwitchover))
    const told = isStray || (weight === 'lag' && isTolerable) ? lag : less
    told.push(`${sentence(found, each)}${same && found.has === 'less' ? UNCOMMITTED : ''}`)
    const { address, source, point } = each
    if (told === less && address && source === 'replayed')
      ahead.push({ address, isOnSame: found.has === 'less' && point.timeline === node.timeline })
  }
  return { less, lag, ahead }
}

/**
 * The old primary was read-only, and all of it replayed by its successor, before that was promoted: what it has written since is
 * nobody's, however much it is by now (vacuum, and clients that said READ WRITE to a server that is none any more).
 */
function isHeldFor({ registered, group }: GroupFacts): boolean {
  return registered?.kind === 'answered' && isHeld(registered, group)
}

const UNCOMMITTED =
  '; both have replayed the same last commit, so no committed transaction is missing, but a prepared one may be (PREPARE TRANSACTION)'

function weightOf(known: Known, facts: GroupFacts, member: Member, as: As): 'less' | 'lag' | 'nothing' {
  const { address, source, instance, ofStandby } = known
  if (as === 'registered') return source === 'received' ? 'nothing' : 'less'
  if (source === 'position') {
    const own = [member.address, member.node.address].some((each) => address && sameAddress(each, address))
    return own && ofStandby ? 'less' : 'lag'
  }
  // What an old primary wrote and did not ship, before it became a standby.
  const wasPrimary = facts.registered?.kind === 'answered' && facts.registered.instance === instance
  return source === 'received' || wasPrimary || as === 'intended' ? 'lag' : 'less'
}

/**
 * Both have replayed the same last commit: what one has more is a checkpoint, or the like, or a transaction that was prepared:
 * PostgreSQL takes no note of when that was replayed, and shows it on no standby.
 */
function hasSameCommits({ source, lastCommit }: Known, node: Answered): boolean {
  return source === 'replayed' && lastCommit !== null && lastCommit === node.lastCommit
}

function sentence(found: NonNullable<ReturnType<typeof lacks>>, known: Known): string {
  if (found.has === 'another line') return `${found.why}; ${known.by} timeline ${known.point.timeline}`
  const { timeline, until, known: lsn } = found
  const end = `has timeline ${timeline} up to ${formatLsn(until)}`
  return `it ${end}; ${known.by} it up to ${formatLsn(lsn)}: ${formatBytes(lsn - until)} are missing`
}

/** WAL, as people count it. */
export function formatBytes(bytes: bigint): string {
  const [mega, kilo] = [bytes >> 20n, bytes >> 10n]
  if (mega > 9n) return `${mega} MB of WAL`
  return kilo > 9n ? `${kilo} kB of WAL` : `${bytes} bytes of WAL`
}

/**
 * Whether a server's line has all timelines that the group is known to have been on: as the coordinator has it on record, and
 * for group 0 as every server has that took part in the coordinator's changes.
 */
export function lineOf(facts: GroupFacts, node: Answered): Descent {
  const own: Descent = facts.lineage ? descent(node, facts.lineage) : { of: 'line', note: null }
  if (own.of === 'another line') return own
  for (const known of facts.known) {
    if (known.source !== 'record' && known.source !== 'epoch') continue
    if (known.instance === node.instance) continue
    const found = lacks(node, known, 0)
    if (found?.has === 'another line') return { of: 'another line', why: `${found.why} (${known.by})` }
  }
  return own
}
