-- Who is at work with the schema citus_ha of this database: its locks that are held, prepared transactions included, and sessions
-- of citus-ha as a role that may use it. (Those of a superuser are seen by their locks.)
-- Parameters: none. Privileges: a superuser's. PostgreSQL 10 and later.
WITH schema AS (
  SELECT n.oid, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'citus_ha'
), held AS (
  SELECT l.pid, CASE c.relname WHEN 'lead_lock' THEN 'leads, as citus-ha watch does'
                               WHEN 'change_lock' THEN 'holds the lock of changes'
                               WHEN 'epoch' THEN 'holds a fence'
                               WHEN 'retired' THEN 'holds the shards of this server' END AS does
    FROM schema s JOIN pg_class c ON c.relnamespace = s.oid JOIN pg_locks l ON l.relation = c.oid
   WHERE l.locktype = 'relation' AND l.granted
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
     AND (c.relname IN ('lead_lock', 'change_lock', 'retired') AND l.mode = 'ExclusiveLock'
          OR c.relname = 'epoch' AND l.mode = 'RowShareLock')
), connected AS (
  SELECT a.pid, 'is connected' AS does
    FROM schema s CROSS JOIN LATERAL aclexplode(s.nspacl) AS g JOIN pg_stat_activity a ON a.usesysid = g.grantee
   WHERE g.privilege_type = 'USAGE' AND g.grantee <> s.nspowner AND a.datname = current_database()
     AND a.application_name LIKE 'citus-ha%'
)
SELECT u.pid, u.does, coalesce(a.usename::text, 'a prepared transaction') AS role,
       coalesce(a.application_name, '') AS application, coalesce(host(a.client_addr), 'local') AS client
  FROM (SELECT h.pid, h.does FROM held h
        UNION ALL SELECT c.pid, c.does FROM connected c WHERE c.pid NOT IN (SELECT h.pid FROM held h WHERE h.pid IS NOT NULL)) AS u(pid, does)
  LEFT JOIN pg_stat_activity a ON a.pid = u.pid
 WHERE u.pid IS DISTINCT FROM pg_backend_pid()
 ORDER BY u.pid
