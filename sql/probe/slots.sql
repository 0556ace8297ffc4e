-- Replication slots of this server, in all databases, with what their consumers have not read yet, and who they are. Which
-- are kept for a failover (PostgreSQL 17), or came from the primary, older versions don't know.
-- Parameters: none. Privileges: pg_read_all_stats for the consumers. PostgreSQL 10 and later.
SELECT coalesce(jsonb_agg(jsonb_build_object(
                  'name', s.slot_name, 'type', s.slot_type, 'database', s.database, 'active', s.active, 'temporary', s.temporary,
                  'failover', coalesce((to_jsonb(s) ->> 'failover')::boolean, false),
                  'synced', coalesce((to_jsonb(s) ->> 'synced')::boolean, false),
                  'unread', ((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)
                             - coalesce(s.confirmed_flush_lsn, s.restart_lsn))::float8,
                  'consumer', (SELECT concat_ws(' at ', nullif(a.application_name, ''), host(a.client_addr))
                                 FROM pg_stat_activity a WHERE a.pid = s.active_pid))
                ORDER BY s.slot_name), '[]')                                  AS slots
  FROM pg_replication_slots s
