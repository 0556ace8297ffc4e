import { formatAddress, type HostPort } from './node.ts'

/**
 * One thing that is said, for people and for programs: each sentence of a report, an event or a notice once. Codes are
 * stable, and listed in docs/codes.md; texts are not.
 */
export interface Remark<Code extends string = string> {
  readonly code: Code
  /** null: it is about no group, or about all. */
  readonly group: number | null
  /** HOST:PORT; null: it is about no one node. */
  readonly node: string | null
  readonly text: string
}

/** What is said beside diagnoses, whose codes are `DiagnosisCode`, and findings of doctor, whose codes are its checks'. */
export const WARNINGS = {
  'another-writes': 'another server of the group takes writes as well: what it accepts is lost',
  'old-primary-writes': 'an old primary that is retired takes writes of its own clients, which are lost',
  'takes-no-writes': 'the primary takes no writes: default_transaction_read_only',
  'writes-hang': 'commits on the primary wait for synchronous standbys that are not there',
  'data-loss': 'who was vouched for has less than is known to exist',
  'data-may-be-lost':
    'the primary has less than another one was known to have had, by no more than routing.maxLag',
  'other-line': 'who was vouched for is on another line than the recorded one',
  'line-unknown': 'of the group’s line, or of its relation to the primary’s, nothing is on record',
  'foreign-server': 'the server at an address of the group is of another system or group',
  'reads-fail': 'reads through secondaries may fail',
  'no-alias': 'a node has no other name by which a row could name it a second time',
  'row-taken': 'the promoted node has a row in another group',
  'not-registered': 'a listed standby gets no row',
  'left-for-later': 'what the next run does',
  paused: 'a person paused it',
  'does-not-follow':
    'a standby does not follow its primary, on purpose or since before, and sends queries by old rows',
  'not-fenced': 'an old primary lives and may still acknowledge writes',
  'old-primary-runs': 'an old primary runs on, read-only or retired',
  'can-not-look': 'the role may not see whether standbys stream',
  impostor: 'a writable copy of group 0 beside the coordinator',
  'schema-not-ours': 'a schema citus_ha that somebody else has made: nothing in it is called',
  'takes-no-part': 'a copy takes no part in changes, and is left to Citus’s own sync',
  lookalike: 'somebody else’s prepared transaction is named like one of citus-ha',
  'switchover-unfinished': 'what a switchover is doing, or has left behind',
  incomplete: 'the change is made, and something about it was not',
} as const

/** Why something did not come to its end. */
export const REASONS = {
  blocked: 'locks or nodes did not let it through before the deadline; nothing changed',
  'in-doubt': 'whether the change was decided is not known',
  'in-the-way': 'a session or a prepared transaction is in the way',
  'copy-stale': 'a copy is not right yet',
  'copy-unreachable': 'a copy could not be read: nobody answers',
  'copy-unreadable': 'a copy could not be read: its server answers with an error',
  'metadata-differs': 'reconcile would change something',
  'stale-entry': 'a coordinator that reads by what it knew follows nobody who leads',
  'secondary-down': 'a secondary is silent, and a witness says so too',
  'secondary-silent': 'a secondary is silent towards us',
  'secondary-foreign': 'at a secondary’s address is another system or group',
  'secondary-writable': 'a secondary takes writes',
  'secondary-read-only': 'a secondary is an old primary that is read-only, and not retired yet',
  'secondary-not-streaming': 'a secondary does not receive from its group’s primary',
} as const

export type WarningCode = keyof typeof WARNINGS
export type ReasonCode = keyof typeof REASONS

/** A warning as the one who knows of it says it: whoever collects them adds the group. */
export interface Warning {
  readonly code: WarningCode
  readonly node?: HostPort
  readonly text: string
}

export function remark<Code extends string>(
  code: Code,
  text: string,
  about: { readonly group?: number | null; readonly node?: HostPort | string | null } = {},
): Remark<Code> {
  const { group = null, node = null } = about
  return { code, group, node: typeof node === 'object' && node !== null ? formatAddress(node) : node, text }
}

export function remarkOf(
  { code, node = undefined, text }: Warning,
  group: number | null,
): Remark<WarningCode> {
  return remark(code, text, { group, node: node ?? null })
}

export const textsOf = (remarks: readonly Remark[]): string[] => remarks.map(({ text }) => text)
