-- Physical standbys that stream from this server. Only they report what they replayed; logical receivers do too, but
-- each of those has a slot.
-- Parameters: none. Privileges: pg_read_all_stats, without which it shows none. PostgreSQL 10 and later.
SELECT coalesce(jsonb_agg(jsonb_build_object('application_name', s.application_name, 'client_host', host(s.client_addr))
                ORDER BY s.application_name, s.pid), '[]')                     AS standbys
  FROM pg_stat_replication s
 WHERE s.state = 'streaming' AND s.replay_lsn IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.active_pid = s.pid AND r.slot_type = 'logical')
