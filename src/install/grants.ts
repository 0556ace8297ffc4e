import { identifier } from '../db/sql.ts'
import { HELD_SETTINGS } from '../model/retired.ts'

/** The functions that the role is granted: all that anything but `install` calls. */
export const CALLABLE = [
  'node_identity()',
  'untranslate_messages()',
  'read_copy()',
  'take_change_lock()',
  'lock_copy(int[])',
  'fence(int[])',
  'cancel_metadata_sync()',
  'blockers(int)',
  'end_blockers(int)',
  'own_shards()',
  'lock_shards()',
  'lock_other_tables()',
  'open_transactions(timestamptz)',
  'end_open_transactions(timestamptz)',
  'held_transactions()',
  'end_held_transactions()',
  'other_sessions(jsonb)',
  'end_other_sessions(jsonb)',
  'writing_sessions()',
  'end_writing_sessions()',
  'end_citus_backends()',
  'end_clients()',
  'hold_recovery()',
  'end_maintenance_daemons()',
  'cancel_maintenance_daemons()',
  'retire(jsonb)',
  'recover_citus_transactions()',
  'may_have_address(int, text, int)',
  'in_time(int)',
  'rewrite(int, bigint, jsonb, int[])',
  'guard_transactions(int[])',
  'record_lineage(jsonb)',
  'record_positions(jsonb)',
  'record_vouched(jsonb, jsonb, text)',
  'decide(jsonb)',
  'register_secondary(jsonb)',
  'forget_node(text, int, text)',
  'forget_stale_remedies()',
  'intend(jsonb)',
  'forget_intents(int[], text)',
  'take_over_intent(int, text, text)',
  'pause_changes(int, text, text)',
  'resume_changes(int)',
  'take_lead()',
]

/** What a role that uses the schema is granted in it. */
export function schemaGrants(role: string): string[] {
  const name = identifier(role)
  return [
    `GRANT USAGE ON SCHEMA citus_ha TO ${name}`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA citus_ha TO ${name}`,
    `GRANT EXECUTE ON FUNCTION ${CALLABLE.map((callable) => `citus_ha.${callable}`).join(', ')} TO ${name}`,
  ]
}

/** By which a standby is promoted and a configuration is read again: granted by `install --switchover`. */
export const PROMOTING = [
  { name: 'pg_promote', what: 'EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, int)' },
  { name: 'pg_reload_conf', what: 'EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()' },
] as const

export const alterSystem = (name: string): string => `ALTER SYSTEM ON PARAMETER ${name}`

/** What `install --switchover` grants, for people; parameters only from PostgreSQL 15 on, and those of Citus that it has. */
export const SWITCHOVER_GRANTS = [
  ...PROMOTING.map(({ what }) => what),
  ...HELD_SETTINGS.map(({ name }) => alterSystem(name)),
]

const LONGEST_NAME = 63

/** @returns why no role is to have that name, though PostgreSQL might let it; null: it may */
export function badRole(name: string): string | null {
  if (name === '') return 'expected a name'
  if (Buffer.byteLength(name) > LONGEST_NAME) return `longer than PostgreSQL’s ${LONGEST_NAME} bytes`
  if (!/^[\p{L}_][\p{L}\p{N}_$.@-]*$/u.test(name))
    return 'expected a letter or _ first, then letters, digits and _ - . $ @: no spaces, no quotes'
  if (/^pg_/.test(name) || ['public', 'none'].includes(name)) return 'PostgreSQL keeps that name for itself'
  return null
}
