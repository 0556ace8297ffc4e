import { formatAddress, type HostPort } from './node.ts'
import { psqlAsOwnRole, psqlAsSuperuser } from './shell.ts'

/**
 * What a participant of a change was at, in the order of the change. `close`: of a new primary, its old one, which lives.
 * `rewrite`: its PREPARE is in the same message.
 */
export type ParticipantStep = 'open' | 'lock' | 'close' | 'rewrite'

/** A copy that failed its part of a change, and is left out of it. */
export interface Ailing {
  readonly node: HostPort
  readonly step: ParticipantStep
  /** SQLSTATE, or what the connection broke with; null where there was none. */
  readonly code: string | null
  readonly message: string
}

const STEPS: Readonly<Record<ParticipantStep, string>> = {
  open: 'a session was opened',
  lock: 'its copy was locked and read',
  close: 'its old primary was to be closed',
  rewrite: 'its copy was rewritten and prepared',
}

/** What to look at there, by SQLSTATE: whole, or its class. */
const NEXT: Readonly<Record<string, string>> = {
  '25006': 'SHOW default_transaction_read_only',
  '53200': 'SELECT gid, prepared, owner FROM pg_prepared_xacts',
  '53300': 'SELECT usename, count(*) FROM pg_stat_activity GROUP BY 1',
  '53100': 'SHOW data_directory',
  '55P03':
    'SELECT pid, mode, granted FROM pg_locks WHERE relation IN (SELECT oid FROM pg_class WHERE relname LIKE $$pg_dist%$$)',
  '40P01': 'SELECT pid, mode, granted FROM pg_locks WHERE NOT granted',
  P0001:
    'SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = $$pg_dist_node$$::regclass AND NOT tgisinternal',
}

/** Others get no connection there any more, or may not see it. */
const AS_SUPERUSER: ReadonlySet<string> = new Set(['53300', '53100'])

/** Nothing of ours is there, or not as it should be. */
const INSTALL: ReadonlySet<string> = new Set(['3F000', '42883', '42P01', '42501', 'HA003'])

/** Whether this SQLSTATE says that our schema, or a right to it, is missing there. */
export function isNotInstalled(code: string | null | undefined): boolean {
  return code != null && INSTALL.has(code)
}

/** What is to be typed next about a node that failed with this SQLSTATE. */
export function nextCommand({ node, code }: Pick<Ailing, 'node' | 'code'>, database: string): string {
  if (isNotInstalled(code)) return 'citus-ha install'
  const sql = code === null ? undefined : NEXT[code]
  if (sql === undefined) return 'citus-ha doctor'
  return AS_SUPERUSER.has(code ?? '')
    ? psqlAsSuperuser(node, database, sql)
    : psqlAsOwnRole(node, database, sql)
}

/** What was seen, without the node's name: that stands before it. */
export function whyAiling({ step, code, message }: Ailing): string {
  return `when ${STEPS[step]}: ${code ?? 'no SQLSTATE'}: ${message}`
}

/** Why a copy took no part, for its line in a report. */
export function describeLeftOut(ailing: Ailing, database: string): string {
  return `left out of this change, ${whyAiling(ailing)}; to find the cause, run: ${nextCommand(ailing, database)}; a running watch updates it later, or run: citus-ha reconcile`
}

/**
 * Why there is no change without this node.
 * @param database null: no command that finds the cause is needed
 */
export function describeEssential(ailing: Ailing, what: string, database: string | null): string {
  const next = database === null ? '' : `; to find the cause, run: ${nextCommand(ailing, database)}`
  return `${formatAddress(ailing.node)}, ${what}, failed ${whyAiling(ailing)}${next}`
}
