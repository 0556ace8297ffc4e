-- What always changes of a server, and a digest of everything else that a survey would see; after await.sql.
-- Parameters: none. Privileges: pg_read_all_stats for the receiver's columns. PostgreSQL 10 and later.
SELECT pg_is_in_recovery()                                                     AS in_recovery,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
         - '0/0'::pg_lsn)::text                                                AS lsn,
       round(extract(epoch FROM clock_timestamp()
         - nullif(current_setting('citus_ha.recovery_seen_at', true), '')::timestamptz) * 1000)::int
                                                                               AS recovery_seen_ms_ago,
       (SELECT w.pid FROM pg_stat_get_wal_receiver() w)                        AS receiver,
       md5(concat_ws('|', pg_postmaster_start_time(), current_setting('citus_ha.copy_digest'),
         CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
         (SELECT concat_ws('|', w.pid, w.status, w.received_tli, w.conninfo)
            FROM pg_stat_get_wal_receiver() w)))                               AS digest
