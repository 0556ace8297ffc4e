-- Every prepared transaction of this database, whosever, and which locks it holds that a change of the node metadata
-- would wait for: more than ACCESS SHARE on pg_dist_node, or on metadata of shards (Citus: advisory, objsubid 8). The
-- locks of a prepared transaction have no pid; its own transaction id is among them and tells which are its.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
SELECT (SELECT count(*)::int FROM pg_prepared_xacts)                           AS in_use,
       coalesce(jsonb_agg(jsonb_build_object(
                  'gid', p.gid, 'owner', p.owner,
                  'may_be_ours', (SELECT r.rolsuper OR coalesce(has_function_privilege(r.oid,
                                           to_regprocedure('citus_ha.rewrite(int, bigint, jsonb, int[])')::oid, 'EXECUTE'), false)
                                    FROM pg_roles r WHERE r.rolname = p.owner) IS TRUE,
                  'age_ms', round(extract(epoch FROM clock_timestamp() - p.prepared) * 1000),
                  'locks', (SELECT coalesce(jsonb_agg(DISTINCT held.what), '[]')
                              FROM pg_locks own
                              JOIN pg_locks l ON l.virtualtransaction = own.virtualtransaction AND l.pid IS NULL
                              CROSS JOIN LATERAL (SELECT CASE
                                     WHEN l.locktype = 'relation' AND l.mode <> 'AccessShareLock'
                                          AND l.relation = to_regclass('pg_catalog.pg_dist_node') THEN 'pg_dist_node'
                                     WHEN l.locktype = 'advisory' AND l.objsubid = 8 THEN 'shard metadata'
                                   END) AS held(what)
                             WHERE own.locktype = 'transactionid' AND own.transactionid = p.transaction
                               AND own.pid IS NULL AND own.granted AND held.what IS NOT NULL))
                ORDER BY p.prepared, p.gid), '[]')                             AS transactions
  FROM pg_prepared_xacts p
 WHERE p.database = current_database()
