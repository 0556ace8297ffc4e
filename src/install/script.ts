import { jsonLiteral, literal, statement } from '../db/sql.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { INSTALL_LOCK, INSTALL_SETTINGS, type Prepared } from './install.ts'
import { sentence } from './plan.ts'

/** What is to be done in one database of one server. */
export interface Part extends Prepared {
  readonly node: Answered
  readonly database: string
  /** The lines of the groups that are proved now, as `citus_ha.record_lineage` takes them: of the coordinator's part. */
  readonly proofs: readonly object[]
}

/**
 * What `install` would do, for psql and for people who read it first: run on each node, in one transaction, as a superuser. A
 * part does nothing on another server than its own, and fails where that is not as it was when the script was made.
 * @param version of this program
 */
export function scriptOf(parts: readonly Part[], version: string): string {
  return `${[head(version), ...parts.map(partOf), TAIL].join('\n\n')}\n`
}

/** As a session of ours has them, with the search_path: what the statements mean depends on them. */
const SESSION = {
  search_path: 'pg_catalog, pg_temp',
  standard_conforming_strings: 'on',
  check_function_bodies: 'on',
} as const

/** Until the second statement has passed, nothing in it may be looked up: no operator, no name that is not PostgreSQL's own. */
function head(version: string): string {
  const settings = Object.entries({ ...SESSION, ...INSTALL_SETTINGS }).map(
    ([name, value]) =>
      `  IF pg_catalog.current_setting(${literal(name)}, true) IS NOT NULL THEN\n    PERFORM pg_catalog.set_config(${literal(name)}, ${literal(value)}, true);\n  END IF;`,
  )
  return `-- What "citus-ha install" of citus-ha ${version} would do, for psql: on each node, as a superuser, in its database:
--   psql -X -v ON_ERROR_STOP=1 -1 -d DATABASE -f THIS_FILE
-- A part is for one node; on the others it does nothing.
\\set ON_ERROR_STOP on
\\set citus_ha_parts 0
\\encoding UTF8
DO $$ BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true); END $$;
DO $$ BEGIN
  IF NOT pg_catalog.timestamptz_lt(pg_catalog.transaction_timestamp(), pg_catalog.statement_timestamp()) THEN
    RAISE EXCEPTION 'not in one transaction: nothing was done; give psql the option -1';
  END IF;
  IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) IS NOT TRUE THEN
    RAISE EXCEPTION 'this session does not run as a superuser: nothing was done';
  END IF;
${settings.join('\n')}
END $$;`
}

const TAIL = `SELECT :citus_ha_parts = 0 AS citus_ha_none \\gset
\\if :citus_ha_none
DO $$ BEGIN RAISE EXCEPTION 'no part of this script is for this server and database: nothing was done'; END $$;
\\endif`

function partOf({ node, database, facts, steps, proofs }: Part): string {
  const where = comment(`${formatAddress(node.address)}, database ${database}`)
  const record = proofs.length === 0 ? [] : [`SELECT citus_ha.record_lineage(${jsonLiteral(proofs)});`]
  const done = steps.map((step) => `--   ${comment(sentence(step, 'past'))}`)
  const sql = steps.flatMap((step) => [`-- ${comment(sentence(step, 'past'))}`, ...step.sql.map(ended)])
  return [
    `-- ${where}`,
    ...(done.length === 0 ? ['--   nothing to do: it is up to date'] : done),
    `SELECT s.system_identifier::text = ${literal(node.systemIdentifier)} AND pg_catalog.current_database() = ${literal(database)} AS citus_ha_here FROM pg_catalog.pg_control_system() AS s \\gset`,
    '\\if :citus_ha_here',
    '\\set citus_ha_parts 1',
    guard(node, facts.migration),
    ...(sql.length + record.length === 0 ? [] : [ended(INSTALL_LOCK), ...sql, ...record]),
    `\\endif`,
  ].join('\n')
}

/**
 * In a DO block nothing but literals is from outside. Whoever may CREATE in the database can make a schema of our name after the
 * script was made, and a view of it would run as the superuser who only looks: it is judged first, as `trustOf` does.
 */
function guard({ timeline }: Answered, migration: number): string {
  const isPrinted = (what: string) => `RAISE EXCEPTION '${what}: nothing was done; print this script again'`
  return `DO $$
DECLARE
  applied int := 0;
  present bool;
  strange text;
BEGIN
  IF pg_catalog.pg_is_in_recovery() THEN
    RAISE EXCEPTION 'this server is a standby: nothing was done; run this on its primary';
  END IF;${
    timeline === null
      ? ''
      : `
  IF ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int <> ${literal(timeline)} THEN
    ${isPrinted('another server was promoted since this script was made')};
  END IF;`
  }
  SELECT f.owner IS NOT NULL, pg_catalog.jsonb_path_query_array(pg_catalog.jsonb_build_array(f.strangers, f.creators, f.others), '$[*][*]')::text
    INTO present, strange
    FROM (${statement('probe/schema')}) AS f;
  IF strange <> '[]' THEN
    RAISE EXCEPTION 'the schema citus_ha was not made by citus-ha (%): nothing was done', strange;
  END IF;
  IF present AND pg_catalog.to_regclass('citus_ha.migration') IS NOT NULL THEN
    SELECT pg_catalog.max(m.number) INTO applied FROM citus_ha.migration m;
  END IF;
  IF applied IS DISTINCT FROM ${literal(migration)} THEN
    ${isPrinted('the schema citus_ha was changed since this script was made')};
  END IF;
END $$;`
}

function ended(sql: string): string {
  return /;\s*$/.test(sql) ? sql.trimEnd() : `${sql.trimEnd()};`
}

/** Names are anybody's text: a comment ends with its line. */
function comment(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
}
