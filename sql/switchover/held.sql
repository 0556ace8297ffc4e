-- The settings that a switchover changes on the old primary, as far as this server knows them; how they are, and what
-- they were before as this server itself has written it down (citus_ha.intent) and of which group it is, null where it has not.
-- Parameters: none. Privileges: what `citus-ha install` grants.
SELECT s.name, s.setting, k.settings, k.groupid
  FROM pg_settings s
  LEFT JOIN LATERAL (SELECT i.settings, i.groupid FROM citus_ha.intent i WHERE i.settings IS NOT NULL LIMIT 1) AS k ON true
 WHERE s.name IN ('default_transaction_read_only', 'citus.recover_2pc_interval', 'citus.defer_shard_delete_interval',
                  'citus.background_task_queue_interval')
 ORDER BY s.name
