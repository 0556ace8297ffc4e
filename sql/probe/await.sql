-- Waits, on a standby, until it is promoted or its WAL receiver changes, no longer than citus_ha.wait_ms; then leaves
-- what pulse.sql reads in settings of the session: when it was last seen in recovery, and a digest of this node's copy
-- of the metadata, of what citus-ha keeps here and of its prepared transactions. A primary does not wait. A promotion is told
-- at once: the digest is the one of before then.
-- A message of its own, outside of a transaction: it commits after each look, since a snapshot held for longer would
-- keep the standby from replaying what vacuum and pruning removed. PostgreSQL 10 can't: there it holds it up.
-- Parameters: the setting citus_ha.wait_ms of the session. PostgreSQL 10 and later.
-- Privileges: none; what the role may not see is no part of the digest.
DO $$
DECLARE
  standby  boolean     := pg_is_in_recovery();
  until    timestamptz := clock_timestamp() + current_setting('citus_ha.wait_ms')::int * interval '1 ms';
  receiver int         := (SELECT w.pid FROM pg_stat_get_wal_receiver() w);
  copy     text;
  kept     text;
BEGIN
  WHILE pg_is_in_recovery() AND clock_timestamp() < until
        AND (SELECT w.pid FROM pg_stat_get_wal_receiver() w) IS NOT DISTINCT FROM receiver LOOP
    PERFORM set_config('citus_ha.recovery_seen_at', clock_timestamp()::text, false);
    PERFORM pg_sleep(0.02);
    IF current_setting('server_version_num')::int >= 110000 THEN COMMIT; END IF;
  END LOOP;
  IF standby AND NOT pg_is_in_recovery() AND current_setting('citus_ha.copy_digest', true) <> '' THEN
    RETURN;
  END IF;
  IF to_regclass('pg_catalog.pg_dist_node') IS NOT NULL THEN
    EXECUTE $q$SELECT concat_ws('|', (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g),
                 (SELECT string_agg(n::text, '|' ORDER BY n.ctid) FROM pg_catalog.pg_dist_node n))$q$ INTO copy;
  END IF;
  -- Tables of superusers alone: a view would be somebody's code. `probe/schema` looks closer, and at more.
  IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
              WHERE n.nspname = 'citus_ha' AND o.rolsuper AND has_schema_privilege(n.oid, 'USAGE'))
     AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner
                      WHERE n.nspname = 'citus_ha' AND (c.relkind NOT IN ('r', 'i', 't') OR NOT o.rolsuper)) THEN
    EXECUTE $q$SELECT concat_ws('|', (SELECT max(m.number) FROM citus_ha.migration m),
                 (SELECT string_agg(r::text, '|' ORDER BY r.nodeid) FROM citus_ha.remedy r),
                 (SELECT string_agg((l.groupid, l.system_identifier, l.timeline, l.history)::text, '|' ORDER BY l.groupid) FROM citus_ha.lineage l),
                 (SELECT string_agg(i::text, '|' ORDER BY i.groupid) FROM citus_ha.intent i),
                 (SELECT string_agg(p::text, '|' ORDER BY p) FROM citus_ha.pause p))$q$ INTO kept;
  END IF;
  PERFORM set_config('citus_ha.copy_digest', md5(concat_ws('|', copy, kept,
    (SELECT string_agg(p.gid, '|' ORDER BY p.gid) FROM pg_prepared_xacts p
      WHERE p.database = current_database() AND p.gid LIKE 'citus\_ha\_%'))), false);
END
$$
