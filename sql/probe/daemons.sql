-- Citus's background processes of this database, and for how long each has been in a transaction. Between its rounds a
-- daemon is in none.
-- Parameters: none. Privileges: pg_read_all_stats. PostgreSQL 10 and later.
SELECT coalesce(jsonb_agg(jsonb_build_object(
                  'name', a.application_name, 'pid', a.pid,
                  'busy_ms', round(extract(epoch FROM clock_timestamp() - a.xact_start) * 1000))
                ORDER BY a.application_name, a.pid), '[]')                     AS daemons
  FROM pg_stat_activity a
 WHERE a.datname = current_database()
   AND a.application_name IN ('Citus Maintenance Daemon', 'Citus Metadata Sync Daemon')
