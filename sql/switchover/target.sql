-- Whether this standby can be promoted by this role, and would be at once.
-- Parameters: none. Privileges: none. PostgreSQL 12 and later (pg_promote).
SELECT has_function_privilege('pg_promote(boolean, int)', 'EXECUTE')          AS may_promote,
       current_setting('recovery_min_apply_delay', true)                      AS apply_delay,
       coalesce(current_setting('citus.recover_2pc_interval', true), '') <> '-1' AS recovers,
       pg_is_in_recovery()                                                    AS is_standby,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END       AS replay_paused
