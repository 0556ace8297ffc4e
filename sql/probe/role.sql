-- What `citus-ha install` has given a role on this server, in this database, and what it would find to be done: grants to the
-- role itself, not those that come to it otherwise, since only those end with an uninstall.
-- Parameters: $1 the role, '' for none; $2 the functions of the schema citus_ha that it is to call, a JSON list of signatures.
-- Privileges: none. PostgreSQL 10 and later.
WITH grantee AS (
  SELECT r.oid FROM pg_roles r WHERE r.rolname = $1::text
), schema AS (
  SELECT n.oid, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'citus_ha'
), member AS (
  SELECT r.rolname FROM pg_auth_members m JOIN grantee g ON g.oid = m.member JOIN pg_roles r ON r.oid = m.roleid
), database AS (
  SELECT d.oid, d.datname, coalesce(d.datacl, acldefault('d', d.datdba)) AS acl FROM pg_database d WHERE d.datname = current_database()
), callable AS (
  SELECT f.name, p.oid, p.proacl FROM jsonb_array_elements_text($2::jsonb) AS f(name)
    LEFT JOIN pg_proc p ON p.oid = to_regprocedure('citus_ha.' || f.name)
), promoting AS (
  SELECT p.proname, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl FROM pg_proc p
   WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('pg_promote', 'pg_reload_conf')
)
SELECT current_database()::text AS database,
       current_setting('server_version_num')::int AS version,
       EXISTS (SELECT FROM schema) AS present,
       EXISTS (SELECT FROM grantee) AS role,
       EXISTS (SELECT FROM member m WHERE m.rolname = 'pg_read_all_stats') AS statistics,
       EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'pg_use_reserved_connections') AS reserves,
       EXISTS (SELECT FROM member m WHERE m.rolname = 'pg_use_reserved_connections') AS reserved,
       coalesce((SELECT has_database_privilege(g.oid, d.oid, 'CONNECT') FROM grantee g, database d),
                EXISTS (SELECT FROM database d CROSS JOIN LATERAL aclexplode(d.acl) AS a
                         WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')) AS connects,
       EXISTS (SELECT FROM database d CROSS JOIN LATERAL aclexplode(d.acl) AS a JOIN grantee g ON g.oid = a.grantee
                WHERE a.privilege_type = 'CONNECT') AS connect_granted,
       EXISTS (SELECT FROM schema s CROSS JOIN LATERAL aclexplode(s.nspacl) AS a JOIN grantee g ON g.oid = a.grantee
                WHERE a.privilege_type = 'USAGE')
         AND NOT EXISTS (SELECT FROM schema s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind = 'r'
                          WHERE NOT EXISTS (SELECT FROM aclexplode(c.relacl) AS a JOIN grantee g ON g.oid = a.grantee
                                             WHERE a.privilege_type = 'SELECT'))
         AND NOT EXISTS (SELECT FROM callable f
                          WHERE NOT EXISTS (SELECT FROM aclexplode(f.proacl) AS a JOIN grantee g ON g.oid = a.grantee
                                             WHERE a.privilege_type = 'EXECUTE')) AS uses,
       (SELECT coalesce(jsonb_agg(DISTINCT r.rolname::text), '[]')
          FROM schema s CROSS JOIN LATERAL aclexplode(s.nspacl) AS a JOIN pg_roles r ON r.oid = a.grantee
         WHERE a.privilege_type = 'USAGE' AND a.grantee <> s.nspowner) AS users,
       (SELECT coalesce(jsonb_agg(p.proname::text ORDER BY p.proname), '[]') FROM promoting p
         WHERE EXISTS (SELECT FROM aclexplode(p.acl) AS a JOIN grantee g ON g.oid = a.grantee
                        WHERE a.privilege_type = 'EXECUTE')) AS promoting
