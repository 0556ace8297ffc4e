-- Physical standbys that stream from this server, and other programs that decide whether it is a primary.
-- Of standbys: only physical ones report what they replayed; logical receivers do too, but each of those has a slot.
-- Of programs, by what a client without rights can't have: Patroni's sessions are a superuser's ("Patroni" before 4.0, then
-- "Patroni heartbeat" and others; patroni/postgresql); pg_auto_failover gives each standby's WAL sender a name, which any role
-- with REPLICATION may choose, and its role a fixed one.
-- Parameters: none. Privileges: pg_read_all_stats, without which it shows none. PostgreSQL 10 and later.
SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('application_name', s.application_name, 'client_host', host(s.client_addr))
                        ORDER BY s.application_name, s.pid), '[]')
          FROM pg_stat_replication s
         WHERE s.state = 'streaming' AND s.replay_lsn IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.active_pid = s.pid AND r.slot_type = 'logical')) AS standbys,
       (SELECT coalesce(jsonb_agg(DISTINCT m.program ORDER BY m.program) FILTER (WHERE m.program IS NOT NULL), '[]')
          FROM (SELECT CASE WHEN r.rolsuper AND a.application_name ~ '^Patroni( |$)' THEN 'Patroni'
                            WHEN a.backend_type = 'walsender' AND r.rolname = 'pgautofailover_replicator'
                                 AND a.application_name LIKE 'pgautofailover\_standby\_%' THEN 'pg_auto_failover' END AS program
                  FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid) m) AS managers
