-- Functions of the schema citus_ha: what a function finds before it does anything.
--
-- Each function that changes something is for one situation, which it sees in this database itself. The marks are locks on
-- tables of ours in modes that nobody can take but the functions of this schema, and superusers: the owner of the database
-- can ANALYZE and REINDEX them, in other modes. What is held is seen by everybody, in pg_locks.
--   citus_ha.change_lock  EXCLUSIVE  a change, a switchover or a recovery is under way (take_change_lock)
--   citus_ha.epoch        ROW SHARE  a fence, or a locked copy, of which a fence is a part (fence, lock_copy)
--   citus_ha.retired      EXCLUSIVE  the shards of this server are held (lock_shards)

-- Whether a session, by the pid of its backend, holds such a lock; NULL: anybody, what is prepared included.
CREATE OR REPLACE FUNCTION citus_ha.is_locked(of_table regclass, in_mode text, by_pid int) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT EXISTS (SELECT FROM pg_locks l
                  WHERE l.locktype = 'relation' AND l.relation = of_table AND l.mode = in_mode AND l.granted
                    AND (by_pid IS NULL OR l.pid = by_pid)
                    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
$$;

-- Fails, naming what is missing, where a function of ours is called outside of the situation that it is for.
CREATE OR REPLACE FUNCTION citus_ha.require(situation text, of_function text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  own int := (SELECT g.groupid FROM pg_dist_local_group g);
  missing text := CASE situation
    WHEN 'fence' THEN
      CASE WHEN NOT citus_ha.is_locked('citus_ha.epoch', 'RowShareLock', pg_backend_pid())
           THEN 'this transaction holds no fence (citus_ha.fence, citus_ha.lock_copy)' END
    WHEN 'copy' THEN
      CASE WHEN NOT citus_ha.is_locked('pg_dist_node', 'ExclusiveLock', pg_backend_pid())
           THEN 'this transaction has not locked the copy (citus_ha.lock_copy)' END
    WHEN 'change' THEN
      CASE WHEN NOT citus_ha.is_locked('citus_ha.change_lock', 'ExclusiveLock', pg_backend_pid())
           THEN 'this transaction does not hold the change lock (citus_ha.take_change_lock)' END
    WHEN 'shards' THEN
      CASE WHEN NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', pg_backend_pid())
           THEN 'this transaction does not hold the shards of this server (citus_ha.lock_shards)' END
    WHEN 'shards or retired' THEN
      CASE WHEN own < 1000000000 AND NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', pg_backend_pid())
           THEN 'this transaction does not hold the shards of this server (citus_ha.lock_shards), which is not retired' END
    WHEN 'under way' THEN
      CASE WHEN NOT citus_ha.is_locked('citus_ha.epoch', 'RowShareLock', NULL)
            AND NOT citus_ha.is_locked('citus_ha.change_lock', 'ExclusiveLock', NULL)
           THEN 'no change is under way here: nobody holds a fence or the change lock' END
    WHEN 'switchover' THEN
      CASE WHEN NOT EXISTS (SELECT FROM citus_ha.intent i WHERE i.groupid = own % 1000000000)
           THEN 'no switchover of this server is on record (citus_ha.intend)'
           WHEN NOT citus_ha.is_locked('citus_ha.retired', 'ExclusiveLock', NULL)
           THEN 'nobody holds the shards of this server (citus_ha.lock_shards)' END
    WHEN 'coordinator' THEN
      CASE WHEN own <> 0 THEN 'this server is no coordinator' END
    ELSE format('a situation that nobody knows: %s', situation)
  END;
BEGIN
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'citus_ha.%() does nothing here: %', of_function, missing USING ERRCODE = 'HA005';
  END IF;
END $$;
