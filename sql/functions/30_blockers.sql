-- Functions of the schema citus_ha: who keeps a session of ours from its lock.

-- A session, for people; NULL: one that is gone. "database" is null where it is this one. Of a session that works for a
-- client of another node (`citus_internal gpid=`: nodeid times 10^10 plus pid) that client is named.
CREATE OR REPLACE FUNCTION citus_ha.describe_backend(a pg_catalog.pg_stat_activity, ours boolean) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN (
    SELECT jsonb_build_object(
             'pid', a.pid, 'user', a.usename, 'application', a.application_name, 'state', a.state,
             'database', nullif(a.datname, current_database()),
             'ageMs', round(extract(epoch FROM clock_timestamp() - a.xact_start) * 1000),
             'statement', left(a.query, 200),
             'client', (SELECT jsonb_build_object('node', n.nodename || ':' || n.nodeport, 'pid', g.gpid % 10000000000)
                          FROM (SELECT substring(a.application_name FROM '^citus_\w+ gpid=(\d{1,18})$')::bigint) AS g(gpid)
                          JOIN pg_dist_node n ON n.nodeid = g.gpid / 10000000000
                         WHERE a.datname = current_database()),
             'ours', ours));
END $$;

-- Who keeps the session `waiter` from its lock, for people. A prepared transaction has pid 0.
CREATE OR REPLACE FUNCTION citus_ha.blockers(waiter int) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
  SELECT coalesce(jsonb_agg(citus_ha.describe_backend(a, coalesce(a.application_name = 'citus-ha'
             AND has_function_privilege(a.usesysid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE'), false))
           || jsonb_build_object('pid', b.pid)), '[]')
    FROM (SELECT DISTINCT p FROM unnest(pg_blocking_pids(waiter)) AS p) AS b(pid)
    LEFT JOIN pg_stat_activity a ON a.pid = b.pid
$$;

-- Ends the sessions that keep the caller's own session `waiter` from its lock, and gives back whom it ended.
-- Never another change of citus-ha, never Citus's own daemons (its 2PC recovery runs in one), never a prepared
-- transaction. Only for one that a change, a fence or the hold of an old primary needs: what such a transaction holds or
-- waits for is a mark of ours, and nobody waits in it for an advisory lock of his own making (objsubid 1 and 2).
CREATE OR REPLACE FUNCTION citus_ha.end_blockers(waiter int) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  blocker jsonb;
  ended jsonb := '[]';
BEGIN
  IF EXISTS (SELECT FROM pg_locks l WHERE l.pid = waiter AND NOT l.granted)
     AND NOT EXISTS (
       SELECT FROM pg_stat_activity w
        WHERE w.pid = waiter AND w.usename = session_user
          AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid AND NOT l.granted
                                                   AND l.locktype = 'advisory' AND l.objsubid IN (1, 2))
          AND EXISTS (SELECT FROM pg_locks l
                       WHERE l.pid = w.pid AND l.locktype = 'relation'
                         AND (l.relation, l.mode) IN (('citus_ha.change_lock'::regclass, 'ExclusiveLock'),
                                                      ('citus_ha.epoch'::regclass, 'RowShareLock'),
                                                      ('citus_ha.retired'::regclass, 'ExclusiveLock'))
                         AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())))
  THEN
    RAISE EXCEPTION 'citus_ha.end_blockers() does nothing here: session % is not one of this role’s that waits for a lock of a change',
      waiter USING ERRCODE = 'HA005';
  END IF;
  -- A loop: in a WHERE clause the planner may call pg_terminate_backend() before it has looked at the other conditions.
  FOR blocker IN
    SELECT b.blocker
      FROM jsonb_array_elements(citus_ha.blockers(waiter)) AS b(blocker)
      JOIN pg_stat_activity a ON a.pid = (b.blocker ->> 'pid')::int
     WHERE a.backend_type = 'client backend'
       AND NOT (b.blocker ->> 'ours')::boolean
       AND EXISTS (SELECT FROM pg_stat_activity w WHERE w.pid = waiter AND w.usename = session_user)
  LOOP
    IF pg_terminate_backend((blocker ->> 'pid')::int) THEN
      ended := ended || blocker;
    END IF;
  END LOOP;
  RETURN ended;
END $$;
