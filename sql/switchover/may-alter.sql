-- The settings that a switchover changes on the old primary, as far as this server knows them, and whether this role may set
-- them for the whole server.
-- Parameters: none. Privileges: none. PostgreSQL 15 and later.
SELECT s.name, has_parameter_privilege(s.name, 'ALTER SYSTEM') AS may_alter
  FROM pg_settings s
 WHERE s.name IN ('default_transaction_read_only', 'citus.recover_2pc_interval', 'citus.defer_shard_delete_interval',
                  'citus.background_task_queue_interval')
 ORDER BY s.name
