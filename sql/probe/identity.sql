-- Timeline and history of this server for a superuser, where the schema citus_ha is not there to ask.
-- Parameters: none. Privileges: superuser (pg_read_file).
WITH current AS (
  SELECT CASE WHEN pg_is_in_recovery()
         THEN (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline,
                               (SELECT w.received_tli FROM pg_stat_get_wal_receiver() w))
                 FROM pg_control_checkpoint() c, pg_control_recovery() r)
         ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline
)
SELECT timeline,
       coalesce(pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true), '') AS history
  FROM current
