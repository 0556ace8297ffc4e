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
  'old-primary-writes': 'a retired primary takes writes from its own clients; these writes are lost',
  'takes-no-writes': 'the primary takes no writes: default_transaction_read_only',
  'writes-hang': 'commits on the primary wait for synchronous standbys that are not there',
  'data-loss': 'the node named as promoted lacks WAL that is known to exist',
  'data-may-be-lost':
    'the primary lacks WAL that another server was known to have, by no more than routing.maxLag',
  'other-line': 'the node named as promoted does not have the recorded timeline history',
  'line-unknown':
    'the group’s timeline history is not on record, or could not be compared with the primary’s',
  'foreign-server': 'the server at an address of the group is of another system or group',
  'reads-fail': 'reads through secondaries may fail',
  'no-alias': 'a node has no second name (alias), so no second row can name it',
  'row-taken': 'the promoted node has a row in another group',
  'not-registered': 'a listed standby gets no row',
  'without-row': 'the promoted server had no row, and the old primary has none any more',
  'left-for-later': 'the next run does this',
  paused: 'a person paused it',
  'does-not-follow':
    'a standby does not follow its primary, on purpose or since before the change; while it answers, it sends queries by old rows',
  'not-fenced': 'an old primary is running and may still acknowledge writes',
  'old-primary-runs': 'an old primary is still running, read-only or retired',
  'can-not-look': 'the role may not see whether standbys are streaming (pg_read_all_stats)',
  impostor: 'a writable copy of group 0 beside the coordinator',
  'schema-not-ours': 'a schema citus_ha that citus-ha did not make: nothing in it is called',
  'takes-no-part': 'a copy takes no part in changes and is left to Citus’s own metadata sync',
  lookalike: 'a prepared transaction that is not citus-ha’s has a gid like one of citus-ha',
  'switchover-unfinished': 'a switchover is running, or was interrupted',
  incomplete: 'the change was made, but a part of it failed',
} as const

/** Why something did not come to its end. */
export const REASONS = {
  blocked: 'locks or nodes blocked it until the deadline; nothing was changed',
  'in-doubt': 'it is not known whether the change was committed',
  'in-the-way': 'a session or a prepared transaction blocks it',
  'copy-stale': 'a copy is not up to date yet',
  'copy-unreachable': 'a copy could not be read: its server does not answer',
  'copy-unreadable': 'a copy could not be read: its server answers with an error',
  'metadata-differs': 'reconcile would change something',
  'stale-entry':
    'a standby or expand coordinator does not follow the coordinator that leads, and uses old metadata',
  'secondary-down': 'a secondary is down: it does not answer citus-ha, nor a witness',
  'secondary-silent': 'a secondary does not answer citus-ha',
  'secondary-unknown':
    'a secondary answers and could not be read: whether it follows its primary is not known',
  'secondary-foreign': 'the server at a secondary’s address belongs to another system or group',
  'secondary-writable': 'a secondary takes writes',
  'secondary-read-only': 'a secondary is an old primary that is read-only and not retired yet',
  'secondary-not-streaming': 'a secondary does not stream from its group’s primary',
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
