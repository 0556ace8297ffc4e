-- Functions of the schema citus_ha: transactions that a switchover waits for, or ends.

-- Transactions of clients and of other nodes that have been open here since before a moment, as citus_ha.blockers: those
-- that wait for a lock of citus-ha's own sessions, be it through others who wait for one; or the rest.
CREATE OR REPLACE FUNCTION citus_ha.transactions(since timestamptz, held boolean) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE waiting AS (
    SELECT w.pid, b.blocker FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) AS b(blocker)
     WHERE w.wait_event_type = 'Lock'
  ), kept AS (  -- UNION: each pid once, so that it ends where some wait in a circle
    SELECT o.pid FROM pg_stat_activity o
     WHERE o.application_name = 'citus-ha'
       AND has_function_privilege(o.usesysid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE')
    UNION
    SELECT w.pid FROM waiting w JOIN kept k ON k.pid = w.blocker
  )
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'pid', a.pid, 'user', a.usename, 'application', a.application_name, 'state', a.state,
           'ageMs', round(extract(epoch FROM clock_timestamp() - a.xact_start) * 1000),
           'statement', left(a.query, 200),
           'client', (SELECT jsonb_build_object('node', n.nodename || ':' || n.nodeport, 'pid', g.gpid % 10000000000)
                        FROM (SELECT substring(a.application_name FROM '^citus_\w+ gpid=(\d{1,18})$')::bigint) AS g(gpid)
                        JOIN pg_dist_node n ON n.nodeid = g.gpid / 10000000000),
           'ours', false) ORDER BY a.xact_start), '[]')
    FROM pg_stat_activity a
   WHERE a.backend_type = 'client backend' AND a.datname = current_database() AND a.pid <> pg_backend_pid()
     AND a.application_name <> 'citus-ha' AND a.xact_start < since
     AND held = (a.pid IN (SELECT k.pid FROM kept k))
$$;

-- What is to be waited for: whatever they did, reading alone included, they would go on here and not on a new primary.
-- Who waits for us would be waited for in vain; he does not go on before we let him.
CREATE OR REPLACE FUNCTION citus_ha.open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.transactions(since, false)
$$;

-- Those that wait for a lock of ours, on any node.
CREATE OR REPLACE FUNCTION citus_ha.held_transactions() RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.transactions('infinity', true)
$$;

-- Ends the sessions that are named like that, and gives back which.
CREATE OR REPLACE FUNCTION citus_ha.end_sessions(named jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found jsonb;
  ended jsonb := '[]';
BEGIN
  FOR found IN SELECT * FROM jsonb_array_elements(named) LOOP
    IF pg_terminate_backend((found ->> 'pid')::int) THEN
      ended := ended || found;
    END IF;
  END LOOP;
  RETURN ended;
END $$;

-- Ends the sessions of such, and gives back whose.
CREATE OR REPLACE FUNCTION citus_ha.end_open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.end_sessions(citus_ha.transactions(since, false))
$$;

-- The same of those that wait for a lock of ours: before it is let go where they should not be any more.
CREATE OR REPLACE FUNCTION citus_ha.end_held_transactions() RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.end_sessions(citus_ha.transactions('infinity', true))
$$;
