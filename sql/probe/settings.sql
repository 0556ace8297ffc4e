-- The settings that decide how a change fares here, as this session has them from the server, its role and its database.
-- To be asked before the session sets any itself. Those that a version does not know are not there.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
SELECT current_user::text                                                      AS role,
       (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'citus')     AS extension,
       to_regclass('pg_catalog.pg_dist_poolinfo') IS NOT NULL                  AS has_pools,
       (SELECT jsonb_object_agg(s.name, jsonb_build_object('value', s.setting, 'source', s.source))
          FROM pg_settings s
         WHERE s.name IN ('max_prepared_transactions', 'synchronous_standby_names', 'synchronous_commit',
                          'default_transaction_read_only', 'citus.recover_2pc_interval')) AS settings
