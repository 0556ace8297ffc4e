-- On the coordinator: who changes tables or moves shards just now, and would be waited for. A session is ours by its role, and
-- not by the name that it gives itself alone. Whoever only writes to a reference table, or locks its rows, has ROW SHARE on
-- pg_dist_node as DDL has (13.2.2), locks that others write beside on tables, and none to write on a catalog but that of its 2PC.
-- Parameters: none. Privileges: pg_read_all_stats.
SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('pid', a.pid, 'application', a.application_name,
                  'statement', left(a.query, 80))), '[]')                       AS busy
  FROM (SELECT k.pid,
               bool_or(k.granted AND k.relation = 'pg_catalog.pg_dist_node'::regclass
                       AND k.mode NOT IN ('AccessShareLock', 'RowShareLock'))   AS changes_nodes,
               bool_or(k.granted AND k.relation = 'pg_catalog.pg_dist_node'::regclass
                       AND k.mode = 'RowShareLock')                             AS needs_nodes,
               bool_or(k.granted AND k.relation = to_regclass('pg_catalog.pg_dist_placement')
                       AND k.mode NOT IN ('AccessShareLock', 'RowShareLock'))   AS moves,
               bool_or(NOT k.is_catalog AND k.mode IN ('RowShareLock', 'RowExclusiveLock')) AS writes,
               bool_or(k.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
                       OR k.is_catalog AND k.mode = 'RowExclusiveLock'
                          AND k.relation IS DISTINCT FROM to_regclass('pg_catalog.pg_dist_transaction')) AS does_more
          FROM (SELECT l.pid, l.granted, l.relation, l.mode,
                       coalesce(n.nspname IN ('pg_catalog', 'citus', 'citus_internal'), false) AS is_catalog
                  FROM pg_locks l
                  LEFT JOIN pg_class c ON c.oid = l.relation
                  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE l.pid <> pg_backend_pid() AND l.locktype = 'relation'
                   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) k
         GROUP BY k.pid) h
  JOIN pg_stat_activity a USING (pid)
 WHERE NOT (a.application_name = 'citus-ha' AND coalesce(has_function_privilege(a.usesysid,
         to_regprocedure('citus_ha.rewrite(int, bigint, jsonb, int[])')::oid, 'EXECUTE'), false))
   AND a.backend_type = 'client backend'
   AND (h.changes_nodes OR h.moves OR h.needs_nodes AND (h.does_more OR NOT h.writes))
