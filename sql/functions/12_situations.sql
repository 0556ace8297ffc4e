-- Functions of the schema citus_ha: what a function finds before it does anything.
--
-- Each function that changes something is for one situation, which it sees in this database itself. The marks are locks on
-- tables of ours in modes that nobody can take but the functions of this schema, and superusers: the owner of the database
-- can ANALYZE and REINDEX them, in other modes. What is held is seen by everybody, in pg_locks.
--   citus_ha.change_lock  EXCLUSIVE  a change, a switchover or a recovery is under way (take_change_lock)
--   citus_ha.epoch        ROW SHARE  a fence, or a locked copy, of which a fence is a part (fence, lock_copy)
--   citus_ha.retired      EXCLUSIVE  the shards of this server are held (lock_shards)
-- `anywhere` asks for nothing: a session's first call takes longer, and can be made before it counts.

-- Whether a session, by the pid of its backend, holds such a lock; NULL: anybody, what is prepared included.
CREATE OR REPLACE FUNCTION citus_ha.is_locked(of_table regclass, in_mode text, by_pid int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN (
    SELECT EXISTS (SELECT FROM pg_locks l
                    WHERE l.locktype = 'relation' AND l.relation = of_table AND l.mode = in_mode AND l.granted
                      AND (by_pid IS NULL OR l.pid = by_pid)
                      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())));
END $$;

-- Fails, naming what is missing, where a function of ours is called outside of the situation that it is for.
-- A statement for each, so that none costs a look at what another one needs: writers wait for most of the callers.
CREATE OR REPLACE FUNCTION citus_ha.require(situation text, of_function text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  missing text;
BEGIN
  IF situation = 'fence' THEN
    IF NOT citus_ha.is_locked('citus_ha.epoch', 'RowShareLock', pg_backend_pid()) THEN
      missing := 'this transaction holds no fence (citus_ha.fence, citus_ha.lock_copy)';
    END IF;
  ELSIF situation = 'copy' THEN
    IF NOT citus_ha.is_locked('pg_dist_node', 'ExclusiveLock', pg_backend_pid()) THEN
      missing := 'this transaction has not locked the copy (citus_ha.lock_copy)';
    END IF;
  ELSIF situation = 'change' THEN
    IF NOT citus_ha.is_locked('citus_ha.change_lock', 'ExclusiveLock', pg_backend_pid()) THEN
      missing := 'this transaction does not hold the change lock (citus_ha.take_change_lock)';
    END IF;
  ELSIF situation = 'shards' THEN
    IF NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', pg_backend_pid()) THEN
      missing := 'this transaction does not hold the shards of this server (citus_ha.lock_shards)';
    END IF;
  ELSIF situation = 'shards or retired' THEN
    IF NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', pg_backend_pid())
       AND NOT EXISTS (SELECT FROM pg_dist_local_group g WHERE g.groupid >= 1000000000) THEN
      missing := 'this transaction does not hold the shards of this server (citus_ha.lock_shards), which is not retired';
    END IF;
  ELSIF situation = 'under way' THEN
    IF NOT citus_ha.is_locked('citus_ha.epoch', 'RowShareLock', NULL)
       AND NOT citus_ha.is_locked('citus_ha.change_lock', 'ExclusiveLock', NULL) THEN
      missing := 'no change is under way here: nobody holds a fence or the change lock';
    END IF;
  ELSIF situation = 'switchover' THEN
    IF NOT EXISTS (SELECT FROM citus_ha.intent i JOIN pg_dist_local_group g ON i.groupid = g.groupid % 1000000000) THEN
      missing := 'no switchover of this server is on record (citus_ha.intend)';
    ELSIF NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', NULL) THEN
      missing := 'nobody holds the shards of this server (citus_ha.lock_shards)';
    END IF;
  ELSIF situation = 'no recovery' THEN
    IF current_setting('citus.recover_2pc_interval', true) IS DISTINCT FROM '-1' THEN
      missing := 'citus.recover_2pc_interval is not -1';
    END IF;
  ELSIF situation = 'anywhere' THEN
    PERFORM citus_ha.is_locked('citus_ha.epoch', 'RowShareLock', NULL);
  ELSIF situation = 'coordinator' THEN
    IF NOT EXISTS (SELECT FROM pg_dist_local_group g WHERE g.groupid = 0) THEN
      missing := 'this server is no coordinator';
    END IF;
  ELSE
    missing := format('a situation that nobody knows: %s', situation);
  END IF;
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'citus_ha.%() does nothing here: %', of_function, missing USING ERRCODE = 'HA005';
  END IF;
END $$;
