-- Of what `citus-ha install --switchover` grants: what this role has, and what it lacks. A standby has it from its primary.
-- Parameters: none. Privileges: none. PostgreSQL 15 and later.
SELECT coalesce(jsonb_agg(n.need ORDER BY n.need) FILTER (WHERE n.may), '[]') AS granted,
       coalesce(jsonb_agg(n.need ORDER BY n.need) FILTER (WHERE NOT n.may), '[]') AS missing
  FROM (SELECT 'EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, int)' AS need,
               has_function_privilege('pg_catalog.pg_promote(boolean, int)', 'EXECUTE') AS may
        UNION ALL
        SELECT 'EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()',
               has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE')
        UNION ALL
        SELECT 'ALTER SYSTEM ON PARAMETER ' || s.name, has_parameter_privilege(s.name, 'ALTER SYSTEM')
          FROM pg_settings s
         WHERE s.name IN ('default_transaction_read_only', 'citus.recover_2pc_interval', 'citus.defer_shard_delete_interval',
                          'citus.background_task_queue_interval')) AS n
