-- Whether a standby holds back on purpose what it has received. In recovery only: elsewhere the first is an error.
-- Parameters: none. Privileges: none. PostgreSQL 10 and 11 have the delay in recovery.conf, where it can't be asked for.
SELECT pg_is_wal_replay_paused()                                               AS paused,
       nullif(current_setting('recovery_min_apply_delay', true), '0')          AS delay
