-- Which other programs decide whether this server is a primary, by what a client without rights can't have:
-- Patroni's sessions are a superuser's ("Patroni" before 4.0, then "Patroni heartbeat" and others; patroni/postgresql);
-- pg_auto_failover gives each standby's WAL sender a name.
-- Parameters: none. Privileges: pg_read_all_stats, without which it shows none.
SELECT coalesce(jsonb_agg(DISTINCT m.program ORDER BY m.program) FILTER (WHERE m.program IS NOT NULL), '[]') AS programs
  FROM (SELECT CASE WHEN r.rolsuper AND a.application_name ~ '^Patroni( |$)' THEN 'Patroni'
                    WHEN a.backend_type = 'walsender'
                         AND a.application_name LIKE 'pgautofailover\_standby\_%' THEN 'pg_auto_failover' END AS program
          FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid) m
