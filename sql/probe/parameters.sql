-- The settings that a switchover changes on the old primary, as far as this server knows them, and whether a role was granted
-- ALTER SYSTEM on each.
-- Parameters: $1 the role. Privileges: none. PostgreSQL 15 and later.
SELECT s.name,
       EXISTS (SELECT FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) AS a JOIN pg_roles r ON r.oid = a.grantee
                WHERE p.parname = s.name AND r.rolname = $1::text AND a.privilege_type = 'ALTER SYSTEM') AS granted
  FROM pg_settings s
 WHERE s.name IN ('default_transaction_read_only', 'citus.recover_2pc_interval', 'citus.defer_shard_delete_interval',
                  'citus.background_task_queue_interval')
 ORDER BY s.name
