-- Whether this role may make this primary read-only by default. Before PostgreSQL 15 only a superuser may.
-- Parameters: none. Privileges: none.
SELECT has_function_privilege('pg_reload_conf()', 'EXECUTE')                  AS may_reload,
       coalesce(current_setting('citus.recover_2pc_interval', true), '') <> '-1' AS recovers,
       current_setting('server_version_num')::int >= 150000                   AS has_parameter_privileges,
       (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)     AS superuser
