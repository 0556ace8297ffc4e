-- On the coordinator: who changes tables or moves shards just now, and would be waited for. A session is ours by its role, and
-- not by the name that it gives itself alone.
-- Parameters: none. Privileges: pg_read_all_stats.
SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('pid', a.pid, 'application', a.application_name,
                  'statement', left(a.query, 80))), '[]')                       AS busy
  FROM pg_locks l
  JOIN pg_stat_activity a USING (pid)
 WHERE l.granted AND l.pid <> pg_backend_pid()
   AND NOT (a.application_name = 'citus-ha' AND coalesce(has_function_privilege(a.usesysid,
         to_regprocedure('citus_ha.rewrite(int, bigint, jsonb, int[])')::oid, 'EXECUTE'), false))
   AND a.backend_type = 'client backend'
   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
   AND l.locktype = 'relation'
   AND ((l.relation = 'pg_catalog.pg_dist_node'::regclass AND l.mode <> 'AccessShareLock')
        OR (l.relation = to_regclass('pg_catalog.pg_dist_placement') AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')))
