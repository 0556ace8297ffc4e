import { readFileSync, statSync } from 'node:fs'
import type { Server } from '../../src/demo/server.ts'

/** What a function of the attacker's says in the server's log when somebody else runs it; so it is told by standbys too. */
const CAUGHT = 'hostile code ran'

/** Types for which somebody may think of an operator or a function of his own. */
const TYPES = [
  ...[
    'bool',
    '"char"',
    'int2',
    'int4',
    'int8',
    'numeric',
    'float4',
    'float8',
    'text',
    'varchar',
    'bpchar',
    'name',
  ],
  ...[
    'oid',
    'regclass',
    'pg_lsn',
    'interval',
    'timestamptz',
    'timestamp',
    'jsonb',
    'json',
    'xid',
    'inet',
    'bit',
  ],
  ...['int4[]', 'int8[]', 'text[]', 'bytea'],
]
const OPERATORS = [
  '+',
  '-',
  '*',
  '/',
  '%',
  '||',
  '=',
  '<>',
  '<',
  '>',
  '<=',
  '>=',
  '~',
  '~~',
  '!~~',
  '->',
  '->>',
  '#>>',
  '&&',
  '?',
]

/** Functions that our statements call by a name alone, and some that operators, casts and aggregates stand for. */
const FUNCTIONS = [
  ...[
    'round',
    'to_char',
    'to_jsonb',
    'jsonb_agg',
    'json_agg',
    'jsonb_build_object',
    'md5',
    'concat_ws',
    'left',
    'lpad',
    'upper',
  ],
  ...[
    'lower',
    'to_hex',
    'greatest',
    'coalesce',
    'count',
    'max',
    'min',
    'string_agg',
    'array_agg',
    'unnest',
    'date_part',
  ],
  ...[
    'extract',
    'substring',
    'regexp_replace',
    'format',
    'current_setting',
    'set_config',
    'pg_sleep',
    'has_schema_privilege',
  ],
  ...[
    'has_function_privilege',
    'has_database_privilege',
    'has_parameter_privilege',
    'pg_has_role',
    'to_regclass',
  ],
  ...[
    'to_regprocedure',
    'pg_terminate_backend',
    'pg_cancel_backend',
    'pg_blocking_pids',
    'pg_walfile_name',
    'pg_read_file',
  ],
  ...[
    'pg_try_advisory_lock',
    'pg_advisory_xact_lock',
    'jsonb_array_elements',
    'jsonb_array_elements_text',
    'host',
    'bool',
  ],
  ...[
    'citus_check_connection_to_node',
    'citus_version',
    'clock_timestamp',
    'now',
    'pg_is_in_recovery',
    'pg_backend_pid',
  ],
  ...[
    'pg_current_wal_lsn',
    'pg_last_wal_replay_lsn',
    'pg_postmaster_start_time',
    'pg_control_system',
    'pg_control_checkpoint',
  ],
  ...['pg_stat_get_wal_receiver', 'pg_promote', 'pg_reload_conf', 'citus_update_node', 'lock_shard_metadata'],
]
/** Relations that our statements name alone. */
const RELATIONS = [
  ...['pg_dist_node', 'pg_dist_local_group', 'pg_dist_placement', 'pg_dist_shard', 'pg_dist_transaction'],
  ...[
    'pg_stat_activity',
    'pg_locks',
    'pg_prepared_xacts',
    'pg_database',
    'pg_namespace',
    'pg_roles',
    'pg_extension',
  ],
  ...[
    'pg_settings',
    'pg_class',
    'pg_proc',
    'pg_stat_replication',
    'pg_replication_slots',
    'pg_stat_ssl',
    'pg_stat_database',
  ],
]

const list = (values: readonly string[]): string => values.map((value) => `'${value}'`).join(', ')

/**
 * Fills a schema with everything that a name of ours could be taken for: operators and functions for every pair of types
 * that PostgreSQL has none of its own for, each function with the same arguments, relations as views over traps, types.
 * Each says who runs it, and tries to make `attacker` a superuser. To be run as the attacker.
 * @param types of operators, and then nothing else: where too much fits, PostgreSQL takes none and the statement fails,
 *   which is the other way to do harm
 */
export function traps(schema: string, attacker: string, types: readonly string[] = TYPES): string {
  const functions = types === TYPES ? FUNCTIONS : []
  const relations = types === TYPES ? RELATIONS : []
  const trap = `BEGIN
    IF session_user <> '${attacker}' THEN RAISE LOG '${CAUGHT}: %.% as % by %', TG, current_user, session_user; END IF;
    BEGIN ALTER ROLE ${attacker} SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN ALTER ROLE citus_ha PASSWORD 'stolen'; EXCEPTION WHEN OTHERS THEN NULL; END;
    RETURN NULL; END`
  return `
SET client_min_messages = error; SET search_path = pg_catalog;
DO $do$
DECLARE
  a text; b text; op text; fn text; args text; rel text; trap text := $body$${trap}$body$;
BEGIN
  FOREACH a IN ARRAY ARRAY[${list(types)}] LOOP
    FOREACH b IN ARRAY ARRAY[${list(types)}] LOOP
      EXECUTE format('CREATE OR REPLACE FUNCTION ${schema}.trap(%1$s, %2$s) RETURNS %1$s LANGUAGE plpgsql AS %3$L', a, b,
                     replace(trap, 'TG', quote_literal('${schema}') || ',' || quote_literal('operator')));
      FOREACH op IN ARRAY ARRAY[${list(OPERATORS)}] LOOP
        BEGIN
          EXECUTE format('CREATE OPERATOR ${schema}.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = ${schema}.trap)', op, a, b);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
      END LOOP;
    END LOOP;
  END LOOP;
  FOREACH fn IN ARRAY ARRAY[${list(functions)}]::text[] LOOP
    FOR args IN
      SELECT t FROM unnest(ARRAY[${list(TYPES)}]) AS t
      UNION SELECT '' UNION SELECT 'VARIADIC "any"' UNION SELECT 'anyelement'
      UNION SELECT oidvectortypes(p.proargtypes) FROM pg_catalog.pg_proc p
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = fn AND p.provariadic = 0
    LOOP
      BEGIN
        EXECUTE format('CREATE OR REPLACE FUNCTION ${schema}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', fn, args,
          CASE fn WHEN 'pg_is_in_recovery' THEN 'boolean' ELSE 'text' END,
          replace(trap, 'TG', quote_literal('${schema}') || ',' || quote_literal(fn)));
      EXCEPTION WHEN OTHERS THEN NULL;
      END;
    END LOOP;
  END LOOP;
  FOREACH rel IN ARRAY ARRAY[${list(relations)}]::text[] LOOP
    BEGIN
      EXECUTE format('CREATE VIEW ${schema}.%I AS SELECT r.*, ${schema}.trap(1::int4, 1::int4) FROM pg_catalog.%1$I r', rel);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  -- Casts are in no schema: whoever owns one of the two types can make one that is taken without being asked for.
  EXECUTE 'CREATE TYPE ${schema}.mark AS (of text)';
  FOREACH a IN ARRAY ARRAY[${list(types)}] LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION ${schema}.to_mark(%s) RETURNS ${schema}.mark LANGUAGE plpgsql AS %L', a,
                     replace(trap, 'TG', quote_literal('${schema}') || ',' || quote_literal('cast')));
      EXECUTE format('CREATE CAST (%s AS ${schema}.mark) WITH FUNCTION ${schema}.to_mark(%1$s) AS IMPLICIT', a);
      EXECUTE format('CREATE FUNCTION ${schema}.from_mark_%s(${schema}.mark) RETURNS %s LANGUAGE plpgsql AS %L',
                     regexp_replace(a, '[^a-z0-9]', '', 'g'), a, replace(trap, 'TG', quote_literal('${schema}') || ',' || quote_literal('cast')));
      EXECUTE format('CREATE CAST (${schema}.mark AS %s) WITH FUNCTION ${schema}.from_mark_%s(${schema}.mark) AS IMPLICIT',
                     a, regexp_replace(a, '[^a-z0-9]', '', 'g'));
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOREACH a IN ARRAY ARRAY['jsonb', 'text', 'regclass', 'pg_lsn', 'timestamptz', 'interval', 'name', 'oid'] LOOP
    BEGIN
      EXECUTE format('CREATE DOMAIN ${schema}.%I AS pg_catalog.%1$I CHECK (${schema}.trap(1::int4, 1::int4) IS NULL)', a);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END $do$`
}

/** Reads what servers' logs say of traps that were run by others, from now on. */
export class Caught {
  readonly #from: ReadonlyMap<Server, number>

  constructor(servers: readonly Server[]) {
    this.#from = new Map(servers.map((server) => [server, statSync(server.logFile).size]))
  }

  /** One line each, by server. */
  lines(): string[] {
    return [...this.#from].flatMap(([server, from]) =>
      readFileSync(server.logFile)
        .subarray(from)
        .toString()
        .split('\n')
        .filter((line) => line.includes(CAUGHT))
        .map((line) => `${server.name}: ${line}`),
    )
  }
}
