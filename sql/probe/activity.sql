-- Who watches, who leads, which changes and fences are under way in this database, and which other program writes
-- pg_dist_node: what its locks and sessions show. Asked of the coordinator, by `status` and `doctor`. The marks are those of sql/functions/12_situations.sql.
-- A watcher that does not lead asks for the lead in its last statement; in a comment each says who it is (src/watch/leadership.ts).
-- Of fences: a group to whose every shard that session keeps the writers from coming (Citus's shard-metadata locks: objsubid
-- 4 by shard, 8 by index and colocation group).
-- Patroni gives the sessions of its Citus mode, and no others, the name "Patroni citus" (patroni/postgresql/mpp/citus.py). They are
-- a superuser's: any client may have that name.
-- Parameters: none. Privileges: pg_read_all_stats for sessions of other roles; EXECUTE on citus_ha.rewrite is asked about.
WITH held AS (
  SELECT l.pid, l.locktype, l.relation, l.mode, l.objsubid, l.classid::bigint AS class, l.objid::bigint AS object
    FROM pg_locks l
   WHERE l.granted AND l.pid IS NOT NULL AND l.locktype IN ('relation', 'advisory')
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), marked AS (
  SELECT h.pid,
         bool_or(h.relation = to_regclass('citus_ha.lead_lock') AND h.mode = 'ExclusiveLock')    AS leads,
         bool_or(h.relation = to_regclass('citus_ha.change_lock') AND h.mode = 'ExclusiveLock')  AS changes,
         bool_or(h.relation = to_regclass('citus_ha.epoch') AND h.mode = 'RowShareLock')         AS fences
    FROM held h
   WHERE h.locktype = 'relation'
   GROUP BY h.pid
), sessions AS (
  SELECT a.pid, a.usename, host(a.client_addr) AS client, a.query,
         to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
         coalesce(m.leads, false) AS leads, coalesce(m.changes, false) AS changes, coalesce(m.fences, false) AS fences,
         coalesce(a.query LIKE 'SELECT citus_ha.take_lead()%' AND a.xact_start IS NOT NULL, false) AS asks,
         CASE WHEN r.rolsuper AND a.application_name = 'Patroni citus' THEN 'Patroni' END AS program
    FROM pg_stat_activity a
    JOIN pg_roles r ON r.oid = a.usesysid
    LEFT JOIN marked m ON m.pid = a.pid
   WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
     AND ((r.rolsuper AND a.application_name = 'Patroni citus')
          OR has_function_privilege(a.usesysid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE'))
), shards AS (
  SELECT DISTINCT p.groupid, CASE WHEN s.hashed THEN 8 ELSE 4 END AS objsubid,
         CASE WHEN s.hashed THEN s.index ELSE s.shardid >> 32 END AS class,
         CASE WHEN s.hashed THEN s.colocationid::bigint ELSE s.shardid & 4294967295 END AS object
    FROM (SELECT i.shardid, d.colocationid, d.partmethod = 'h' AS hashed,
                 row_number() OVER (PARTITION BY i.logicalrelid ORDER BY i.shardminvalue::int) - 1 AS index
            FROM pg_dist_shard i
            JOIN pg_dist_partition d ON d.logicalrelid = i.logicalrelid
           WHERE d.partmethod IN ('h', 'n') AND EXISTS (SELECT FROM sessions f WHERE f.fences)) s
    JOIN pg_dist_placement p ON p.shardid = s.shardid
), fenced AS (
  SELECT f.pid, g.groupid
    FROM sessions f, (SELECT DISTINCT s.groupid FROM shards s) g
   WHERE f.fences
     AND NOT EXISTS (SELECT FROM shards s
                      WHERE s.groupid = g.groupid
                        AND NOT EXISTS (SELECT FROM held h
                                         WHERE h.pid = f.pid AND h.locktype = 'advisory' AND h.objsubid = s.objsubid
                                           AND h.class = s.class AND h.object = s.object
                                           AND h.mode IN ('ExclusiveLock', 'AccessExclusiveLock')))
)
SELECT (SELECT r.rolsuper OR pg_has_role(r.oid, 'pg_read_all_stats', 'USAGE') FROM pg_roles r WHERE r.rolname = current_user) AS sees_all,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'pid', s.pid, 'user', s.usename, 'client', s.client, 'query', left(s.query, 300), 'since', s.since,
                 'leads', s.leads, 'changes', s.changes, 'fences', s.fences, 'program', s.program,
                 'groups', (SELECT coalesce(jsonb_agg(f.groupid ORDER BY f.groupid), '[]') FROM fenced f WHERE f.pid = s.pid))
               ORDER BY s.leads DESC, s.since, s.pid), '[]')
          FROM sessions s WHERE s.leads OR s.changes OR s.fences OR s.asks OR s.program IS NOT NULL) AS sessions
