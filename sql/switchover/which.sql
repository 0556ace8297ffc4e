-- Which server a session leads to, and what it is by now: its instance as `probe/server` has it, and the timeline of a primary.
-- Parameters: none. Privileges: what `citus-ha install` grants.
SELECT concat_ws('/', c.system_identifier, to_char(extract(epoch FROM pg_postmaster_start_time()), 'FM99999999990.000000'),
                 current_setting('port'))                                     AS instance,
       c.system_identifier::text                                              AS system_identifier,
       pg_is_in_recovery()                                                    AS in_recovery,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline
  FROM pg_control_system() c
