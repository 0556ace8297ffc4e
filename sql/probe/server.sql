-- What any PostgreSQL (10 and later) says of itself, in one row.
-- Parameters: none. Privileges: pg_read_all_stats for the columns of receiver and senders.
-- What a primary has written and not flushed, nobody was told of: a crash of the machine may take it back.
-- pg_control_checkpoint() is late after a promotion, so a primary's timeline is read from its WAL file's name.
-- Anybody may prepare a transaction under any name. Ours are those of superusers and of roles that may change rows.
WITH named AS (
  SELECT p.gid, p.owner::text, p.prepared,
         coalesce(r.rolsuper OR has_function_privilege(r.oid,
                    to_regprocedure('citus_ha.rewrite(int, bigint, jsonb, int[])')::oid, 'EXECUTE'), false) AS ours
    FROM pg_prepared_xacts p LEFT JOIN pg_roles r ON r.rolname = p.owner
   WHERE p.database = current_database() AND p.gid LIKE 'citus\_ha\_%'
)
SELECT current_setting('server_version_num')::int                             AS server_version,
       pg_is_in_recovery()                                                    AS in_recovery,
       current_setting('default_transaction_read_only')::boolean              AS read_only,
       (SELECT c.system_identifier::text FROM pg_control_system() c)          AS system_identifier,
       to_char(extract(epoch FROM pg_postmaster_start_time()), 'FM99999999990.000000') AS started,
       to_char(extract(epoch FROM pg_conf_load_time()), 'FM99999999990.000000') AS configured,
       current_setting('port')                                                AS port,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
         - '0/0'::pg_lsn)::text                                               AS lsn,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END - '0/0'::pg_lsn)::text AS received_lsn,
       extract(epoch FROM pg_last_xact_replay_timestamp())::text              AS last_commit,
       (SELECT to_jsonb(w) || jsonb_build_object('heard_ms_ago',
                 round(extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time) * 1000))
          FROM pg_stat_get_wal_receiver() w WHERE w.pid IS NOT NULL)          AS receiver,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'application_name', s.application_name, 'client_host', host(s.client_addr), 'state', s.state,
                 'sync_state', s.sync_state)
                 ORDER BY s.application_name, s.pid), '[]')
          FROM pg_stat_replication s)                                         AS senders,
       CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN ''
            ELSE current_setting('synchronous_standby_names') END             AS synchronous_names,
       (SELECT coalesce(jsonb_agg(d.datname ORDER BY d.datname), '[]') FROM pg_database d
         WHERE d.datallowconn AND d.datname NOT IN ('template0', 'template1')
           AND has_database_privilege(d.oid, 'CONNECT'))                      AS databases,
       -- Citus's daemon runs there, whether we may look for ourselves or not.
       (SELECT coalesce(jsonb_agg(DISTINCT a.datname ORDER BY a.datname), '[]') FROM pg_stat_activity a
         WHERE a.application_name = 'Citus Maintenance Daemon'
           AND a.usesysid IN (SELECT r.oid FROM pg_roles r WHERE r.rolsuper)) AS citus_databases,
       (SELECT coalesce(jsonb_agg(p.gid ORDER BY p.gid), '[]') FROM named p WHERE p.ours)      AS prepared,
       (SELECT round(extract(epoch FROM clock_timestamp() - min(p.prepared)) * 1000)::float8
          FROM named p WHERE p.ours)                                          AS oldest_prepared_ms,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('gid', p.gid, 'owner', p.owner) ORDER BY p.gid), '[]')
          FROM named p WHERE NOT p.ours)                                      AS lookalikes,
       (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)     AS superuser,
       pg_has_role('pg_read_all_stats', 'USAGE')                              AS reads_statistics,
       coalesce((SELECT s.ssl FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()), false) AS encrypted,
       to_regclass('pg_catalog.pg_dist_node') IS NOT NULL                     AS has_citus,
       EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'citus_ha')       AS has_schema,
       coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n
                  WHERE n.nspname = 'citus_ha'), false)                       AS may_use_schema
