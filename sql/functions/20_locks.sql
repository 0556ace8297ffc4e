-- Functions of the schema citus_ha: locks on a copy, and the fence.

-- Holds, for the transaction, the writes to the given groups that enter here. Reads pass, and so does a change of
-- another group, but for one that shares a reference table's shards.
-- A writer that has one shard and wants another, which is fenced already, waits for us while we wait for him: found out
-- soon, it is us who give way. Citus's own search for deadlocks would end him. All that was fenced since is let go with
-- the block, and begun anew, within the caller's statement_timeout.
CREATE OR REPLACE FUNCTION citus_ha.fence(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin SET deadlock_timeout = '20ms' AS $$
BEGIN
  LOCK TABLE citus_ha.epoch IN ROW SHARE MODE;
  IF cardinality(fenced_groups) = 0 THEN  -- the mark alone; a session that is made warm comes here too
    PERFORM citus_ha.require('fence', 'fence');
    PERFORM citus_ha.fence_once(fenced_groups);
    RETURN;
  END IF;
  FOR attempt IN 1 .. 50 LOOP
    BEGIN
      PERFORM citus_ha.fence_once(fenced_groups);
      RETURN;
    EXCEPTION WHEN deadlock_detected THEN
      IF attempt = 50 THEN RAISE; END IF;
    END;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION citus_ha.fence_once(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  primary_nodeid int;
  shards bigint[];
BEGIN
  IF cardinality(fenced_groups) > 1 THEN
    -- By shard, as COPY does, and not group by group: else the two wait for each other most of the time.
    SELECT array_agg(DISTINCT p.shardid ORDER BY p.shardid) INTO shards
      FROM pg_dist_placement p WHERE p.groupid = ANY (fenced_groups);
    IF shards IS NOT NULL THEN
      PERFORM lock_shard_metadata(7, shards);
    END IF;
  END IF;
  FOR primary_nodeid IN
    SELECT n.nodeid FROM pg_dist_node n
     WHERE n.groupid = ANY (fenced_groups) AND n.noderole = 'primary' ORDER BY n.groupid
  LOOP
    IF to_regprocedure('citus_pause_node_within_txn(int, boolean, int)') IS NOT NULL THEN
      EXECUTE 'SELECT citus_pause_node_within_txn($1)' USING primary_nodeid;
    ELSE  -- before Citus 12.1; it takes lock modes up to 7, EXCLUSIVE, which writers' share lock conflicts with
      EXECUTE 'SELECT lock_shard_metadata(7, array_agg(p.shardid ORDER BY p.shardid))
                 FROM pg_dist_placement p JOIN pg_dist_node n USING (groupid)
                WHERE n.nodeid = $1 HAVING count(*) > 0' USING primary_nodeid;
    END IF;
  END LOOP;
END $$;

-- Holds this copy of pg_dist_node for the transaction, then the writes to the given groups that enter here.
-- The table first: a table created between the two would not be fenced.
CREATE OR REPLACE FUNCTION citus_ha.lock_copy(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  LOCK TABLE citus_ha.epoch IN ROW SHARE MODE;  -- the mark first: whoever waits is known by it
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;
  PERFORM citus_ha.fence(fenced_groups);
END $$;

-- A metadata sync of Citus that sits on pg_dist_node, waiting for a node that hangs, would keep every change
-- out, whose caller holds the change lock by then. It runs again by itself; pg_terminate_backend does not reach it, pg_cancel_backend does.
CREATE OR REPLACE FUNCTION citus_ha.cancel_metadata_sync() RETURNS SETOF int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  daemon int;
BEGIN
  PERFORM citus_ha.require('change', 'cancel_metadata_sync');
  -- A loop: in a WHERE clause the planner may call pg_cancel_backend() before it has looked at the other conditions.
  FOR daemon IN
    SELECT DISTINCT a.pid
      FROM pg_stat_activity a
      JOIN pg_locks l ON l.pid = a.pid
     WHERE a.application_name = 'Citus Metadata Sync Daemon'
       AND a.datname = current_database()
       AND l.locktype = 'relation' AND l.relation = 'pg_dist_node'::regclass AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  LOOP
    IF pg_cancel_backend(daemon) THEN
      RETURN NEXT daemon;
    END IF;
  END LOOP;
END $$;

-- Fails where the transaction is older than that: this server was stopped meanwhile, and the change given up.
CREATE OR REPLACE FUNCTION citus_ha.in_time(age_ms int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  IF clock_timestamp() - now() > age_ms * interval '1 ms' THEN
    RAISE EXCEPTION 'too late for this change' USING ERRCODE = 'HA002';
  END IF;
END $$;

-- Ends the sessions that hold a lock table of ours, or wait for it, and are neither a superuser's nor of a role that may
-- change rows: they have no business there. The owner of the database can lock any table by ANALYZE in a transaction.
-- Gives back whether there were any.
CREATE OR REPLACE FUNCTION citus_ha.end_strangers(lock_table regclass) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  stranger int;
  found_any boolean := false;
BEGIN
  FOR stranger IN
    SELECT DISTINCT a.pid
      FROM pg_locks l
      JOIN pg_stat_activity a ON a.pid = l.pid
      JOIN pg_roles r ON r.oid = a.usesysid
     WHERE l.locktype = 'relation' AND l.relation = lock_table
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
       AND a.backend_type = 'client backend' AND NOT r.rolsuper
       AND NOT has_function_privilege(r.oid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE')
  LOOP
    found_any := pg_terminate_backend(stranger) OR found_any;
  END LOOP;
  RETURN found_any;
END $$;

-- Serialises changes and recovery, until the end of the transaction. Waits no longer than the session's lock_timeout.
CREATE OR REPLACE FUNCTION citus_ha.take_change_lock() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  BEGIN
    LOCK TABLE citus_ha.change_lock IN EXCLUSIVE MODE NOWAIT;
    RETURN;
  EXCEPTION WHEN lock_not_available THEN
    PERFORM citus_ha.end_strangers('citus_ha.change_lock');
  END;
  LOCK TABLE citus_ha.change_lock IN EXCLUSIVE MODE;
END $$;
