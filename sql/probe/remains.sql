-- What is in the schema citus_ha and what its roles are, for an uninstall: nothing that this program does not know is removed.
-- Parameters: $1 the role that is to go, '' for none. Privileges: a superuser's. PostgreSQL 10 and later.
WITH schema AS (
  SELECT n.oid FROM pg_namespace n WHERE n.nspname = 'citus_ha'
), grantee AS (
  SELECT r.oid, r.rolsuper FROM pg_roles r WHERE r.rolname = $1::text
)
SELECT (SELECT coalesce(jsonb_agg(c.relname::text ORDER BY c.relname), '[]')
          FROM schema s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind = 'r') AS tables,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.proname::text, 'signature', p.oid::regprocedure::text)
                                  ORDER BY p.oid::regprocedure::text), '[]')
          FROM schema s JOIN pg_proc p ON p.pronamespace = s.oid) AS functions,
       coalesce((SELECT g.rolsuper FROM grantee g), false) AS superuser,
       (SELECT coalesce(jsonb_agg(r.rolname::text ORDER BY r.rolname), '[]')
          FROM grantee g JOIN pg_auth_members m ON m.roleid = g.oid JOIN pg_roles r ON r.oid = m.member) AS members,
       (SELECT coalesce(jsonb_agg(d.datname::text ORDER BY d.datname), '[]')
          FROM pg_database d
         WHERE d.datname <> current_database()
           AND EXISTS (SELECT FROM grantee g JOIN pg_shdepend o ON o.refobjid = g.oid
                        WHERE o.refclassid = 'pg_authid'::regclass AND o.dbid = d.oid)) AS elsewhere,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'setting', s.setting) ORDER BY s.name), '[]')
          FROM pg_settings s
         WHERE s.sourcefile LIKE '%postgresql.auto.conf'
           AND (s.name = 'default_transaction_read_only' AND s.setting = 'on'
                OR s.name IN ('citus.recover_2pc_interval', 'citus.defer_shard_delete_interval',
                              'citus.background_task_queue_interval') AND s.setting = '-1')) AS held
