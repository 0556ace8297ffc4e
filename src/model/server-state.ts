import { formatAddress } from './node.ts'
import type { Answered, Observation } from './observation.ts'

/** What is known of a server, in one word; `unreachable`: silent towards us, `unreadable`: it lives, and could not be read. */
export type StateCode = 'not-asked' | 'unreachable' | 'unreadable' | AnsweredCode

export type AnsweredCode =
  | 'writable'
  /** No standby, and takes no writes by default. */
  | 'read-only'
  /** An old primary that was taken out of its group; its own settings may let clients write all the same. */
  | 'retired'
  /** A standby that receives from its group's primary, or, where none is known, from somebody. */
  | 'streaming'
  /** A standby that receives, but not on the line of its group's primary. */
  | 'streams-elsewhere'
  | 'not-streaming'
  /** A standby whose receiver our role may not see: nothing is known of it. */
  | 'unseen'

/** What a server is to whoever counts writers; null where it gave no answer. */
export type ServerRole = 'primary' | 'read-only' | 'retired' | 'standby'

export interface ServerState<Code = StateCode> {
  readonly code: Code
  readonly role: ServerRole | null
  /** For people. */
  readonly text: string
}

/**
 * What is known of a server. Whatever tells of one (status, doctor, metrics, reports, evidence) takes it from here, so that
 * no two tell differently.
 * @param primary of its group, where it is known
 */
export function serverState(node: Observation | undefined, primary: Answered | null = null): ServerState {
  if (node === undefined) return { code: 'not-asked', role: null, text: 'not asked' }
  if (node.kind !== 'answered') return { code: node.kind, role: null, text: `${node.kind} (${node.cause})` }
  return answeredState(node, primary)
}

export function answeredState(node: Answered, primary: Answered | null = null): ServerState<AnsweredCode> {
  if (node.inRecovery) return { ...standbyState(node, primary), role: 'standby' }
  const code = node.retired ? 'retired' : node.readOnly ? 'read-only' : 'writable'
  // One that a superuser made writable again, or that was never read-only: what is written there is lost.
  const text = node.retired && !node.readOnly ? 'retired, but takes writes' : code
  return { code, role: code === 'writable' ? 'primary' : code, text }
}

/** What a server is by itself, whomever it follows: for lines of evidence. */
export function roleText(node: Answered): string {
  if (!node.inRecovery) return answeredState(node).text
  return node.retired ? 'in recovery, a standby of a retired primary' : 'in recovery'
}

function standbyState(node: Answered, primary: Answered | null): Omit<ServerState<AnsweredCode>, 'role'> {
  const { receiver } = node
  if (receiver === null || receiver.status !== 'streaming') {
    // Without the right to look there is no receiver to be seen, whatever it does.
    if (!node.readsStatistics) return { code: 'unseen', text: 'standby, replication state hidden' }
    const how = receiver === null ? '' : ` (WAL receiver ${receiver.status})`
    return { code: 'not-streaming', text: `standby, not streaming${how}` }
  }
  if (primary === null || streamsFrom(node, primary)) return { code: 'streaming', text: 'streaming' }
  const from = receiver.sender ? ` from ${formatAddress(receiver.sender)}` : ''
  const text = `streaming${from} on timeline ${receiver.timeline ?? '?'}, its primary is on ${primary.timeline ?? '?'}`
  return { code: 'streams-elsewhere', text }
}

/** A standby with a receiver on its primary's own timeline: after a promotion only those that follow have one. */
export function streamsFrom(standby: Answered, primary: Answered | null): boolean {
  return (
    primary !== null &&
    standby.inRecovery &&
    standby.systemIdentifier === primary.systemIdentifier &&
    standby.receiver?.status === 'streaming' &&
    standby.receiver.timeline === primary.timeline
  )
}

/** Of a standby: whether it is seen that it does not receive from its group's primary. */
export function isBehind(node: Answered, primary: Answered | null): boolean {
  const { code } = answeredState(node, primary)
  return code === 'not-streaming' || code === 'streams-elsewhere'
}
