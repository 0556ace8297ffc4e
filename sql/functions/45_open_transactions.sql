-- Functions of the schema citus_ha: transactions that a switchover waits for, or ends.

-- Whether a session is one of citus-ha's: of the role that `install` gave to it, or the caller's own, a superuser's. A name
-- that a session gives to itself tells nothing.
CREATE OR REPLACE FUNCTION citus_ha.is_own_session(of_user oid, application text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN (
    SELECT coalesce((SELECT CASE WHEN r.rolsuper THEN r.rolname = session_user AND application = 'citus-ha'
                                 ELSE has_function_privilege(r.oid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE') END
                       FROM pg_roles r WHERE r.oid = of_user), false));
END $$;

-- Transactions of clients, of other nodes and of background workers that have been open here since before a moment, in any
-- database of the server, as citus_ha.blockers: those that wait for a lock of citus-ha's own sessions, be it through others
-- who wait for one; or the rest, with what is prepared here (pid 0). "database" is null where it is this one.
-- A statement that began before counts as well: what a procedure or a VACUUM begins after a commit of its own has the
-- settings from before, since a session reads its configuration anew between two statements only. The workers of
-- subscriptions always count: they write whatever is read-only. So does an open transaction of a session that does not say
-- since when (track_activities is off): it is seen by the lock that each has on its own virtual id. No clients are autovacuum, the senders of WAL, and Citus's
-- maintenance daemon; a parallel worker is part of its leader.
CREATE OR REPLACE FUNCTION citus_ha.transactions(since timestamptz, held boolean) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    WITH RECURSIVE activity AS (
      SELECT a AS session, a.pid, citus_ha.is_own_session(a.usesysid, a.application_name) AS own FROM pg_stat_activity a
    ), waiting AS (
      SELECT w.pid, b.blocker FROM activity w, unnest(pg_blocking_pids(w.pid)) AS b(blocker)
       WHERE (w.session).wait_event_type = 'Lock'
    ), kept AS (  -- UNION: each pid once, so that it ends where some wait in a circle
      SELECT o.pid FROM activity o WHERE o.own
      UNION
      SELECT w.pid FROM waiting w JOIN kept k ON k.pid = w.blocker
    ), found AS (
      SELECT (a.session).xact_start AS began, citus_ha.describe_backend(a.session, false) AS what
        FROM activity a
       WHERE (a.session).datid IS NOT NULL AND a.pid <> pg_backend_pid()
         AND (a.session).backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')
         AND (a.session).backend_type NOT LIKE 'Citus Maintenance Daemon%'
         AND NOT a.own
         AND ((a.session).xact_start < since OR ((a.session).state <> 'idle' AND (a.session).query_start < since)
              OR (a.session).backend_type LIKE 'logical replication%worker'
              OR (coalesce((a.session).state, 'disabled') = 'disabled' AND EXISTS (
                    SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted)))
         AND held = (a.pid IN (SELECT k.pid FROM kept k))
      UNION ALL
      SELECT p.prepared, jsonb_build_object(
               'pid', 0, 'user', p.owner, 'application', NULL, 'state', 'prepared',
               'database', nullif(p.database, current_database()),
               'ageMs', round(extract(epoch FROM clock_timestamp() - p.prepared) * 1000), 'statement', p.gid,
               'client', NULL, 'ours', false)
        FROM pg_prepared_xacts p WHERE NOT held
    )
    SELECT coalesce(jsonb_agg(f.what ORDER BY f.began), '[]') FROM found f);
END $$;

-- What is to be waited for: whatever they did, reading alone included, they would go on here and not on a new primary.
-- Who waits for us would be waited for in vain; he does not go on before we let him.
CREATE OR REPLACE FUNCTION citus_ha.open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT citus_ha.transactions(since, false));
END $$;

-- Those that wait for a lock of ours, on any node.
CREATE OR REPLACE FUNCTION citus_ha.held_transactions() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT citus_ha.transactions('infinity', true));
END $$;

-- Those that end sessions do so only on a server that a switchover holds: it is on record there, and somebody holds the shards.

-- Ends the sessions that are named like that, and gives back which. A prepared transaction (pid 0) is its client's to end.
CREATE OR REPLACE FUNCTION citus_ha.end_sessions(named jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  found jsonb;
  ended jsonb := '[]';
BEGIN
  FOR found IN SELECT n.found FROM jsonb_array_elements(named) AS n(found) WHERE (n.found ->> 'pid')::int <> 0 LOOP
    IF pg_terminate_backend((found ->> 'pid')::int) THEN
      ended := ended || found;
    END IF;
  END LOOP;
  RETURN ended;
END $$;

-- Ends the sessions of such, and gives back whose.
CREATE OR REPLACE FUNCTION citus_ha.end_open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('switchover', 'end_open_transactions');
  RETURN citus_ha.end_sessions(citus_ha.transactions(since, false));
END $$;

-- The same of those that wait for a lock of ours: before it is let go where they should not be any more.
CREATE OR REPLACE FUNCTION citus_ha.end_held_transactions() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('switchover', 'end_held_transactions');
  RETURN citus_ha.end_sessions(citus_ha.transactions('infinity', true));
END $$;

-- Sessions of clients in other databases than those that are switched, an array of names, whatever they do just now: as
-- citus_ha.blockers. Any of them may have made itself READ WRITE, or do so with its next statement.
CREATE OR REPLACE FUNCTION citus_ha.other_sessions(switched jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(citus_ha.describe_backend(a, false) ORDER BY a.pid), '[]')
      FROM pg_stat_activity a
     WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND NOT switched ? a.datname
       AND NOT citus_ha.is_own_session(a.usesysid, a.application_name));
END $$;

CREATE OR REPLACE FUNCTION citus_ha.end_other_sessions(switched jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('switchover', 'end_other_sessions');
  RETURN citus_ha.end_sessions(citus_ha.other_sessions(switched));
END $$;

-- Whoever is writing here just now, in any database: transactions that have an id. As citus_ha.blockers.
CREATE OR REPLACE FUNCTION citus_ha.writing_sessions() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(citus_ha.describe_backend(a, false) ORDER BY a.pid), '[]')
      FROM pg_stat_activity a
     WHERE a.datid IS NOT NULL AND a.pid <> pg_backend_pid()
       AND a.backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')
       AND a.backend_type NOT LIKE 'Citus Maintenance Daemon%'
       AND a.backend_xid IS NOT NULL
       AND NOT citus_ha.is_own_session(a.usesysid, a.application_name));
END $$;

CREATE OR REPLACE FUNCTION citus_ha.end_writing_sessions() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('switchover', 'end_writing_sessions');
  RETURN citus_ha.end_sessions(citus_ha.writing_sessions());
END $$;
