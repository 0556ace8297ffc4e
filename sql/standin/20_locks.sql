-- The stand-in, part 2: shard-metadata locks, the fence between writers and a change of the node metadata.
--
-- Imitates: utils/resource_lock.c, citus_pause_node_within_txn of metadata/node_metadata.c.
-- Same: who waits for whom. A writer shares the lock of its shard until its transaction ends; a pause or an
-- update of a primary's address takes it alone; readers take nothing. Shards of one colocation group with the
-- same index have one lock in common, a reference table's shard has its own.
-- Different: the lock's tag. Citus uses advisory locks with objsubid 8 (colocated shards: classid = index,
-- objid = colocation id) and 4 (classid, objid = shard id). SQL can take only objsubid 1 and 2, so here it
-- is objsubid 2 with classid = <Citus's objsubid> * 2^24 + <colocation id, or 0>, objid = <index or shard id>;
-- and ExclusiveLock stands for AccessExclusiveLock, which conflicts with the same two modes used here.
-- lock_shard_metadata's modes AccessShareLock and RowExclusiveLock count as ShareLock.

CREATE FUNCTION citus_standin.shard_lock_tag(of_shardid bigint, OUT class int, OUT object int)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN s.hashed THEN 8 * 16777216 + s.colocationid ELSE 4 * 16777216 END,
         CASE WHEN s.hashed THEN s.index ELSE of_shardid::int END
    FROM (SELECT coalesce(p.partmethod = 'h', false) AS hashed, p.colocationid,
                 (SELECT count(*)::int FROM pg_dist_shard lower
                   WHERE lower.logicalrelid = s.logicalrelid
                     AND lower.shardminvalue::int < s.shardminvalue::int) AS index
            FROM (SELECT of_shardid AS shardid) wanted
            LEFT JOIN pg_dist_shard s USING (shardid)
            LEFT JOIN pg_dist_partition p USING (logicalrelid)) s
$$;

CREATE FUNCTION citus_standin.lock_shard(of_shardid bigint, shared boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tag record;
BEGIN
  SELECT * INTO tag FROM citus_standin.shard_lock_tag(of_shardid);
  IF shared THEN
    PERFORM pg_advisory_xact_lock_shared(tag.class, tag.object);
  ELSE
    PERFORM pg_advisory_xact_lock(tag.class, tag.object);
  END IF;
END $$;

-- Modes by PostgreSQL's numbers: 1 AccessShare, 3 RowExclusive, 5 Share, 7 Exclusive. Not 8: Citus refuses it.
CREATE FUNCTION pg_catalog.lock_shard_metadata(lock_mode int, shard_id bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted bigint;
  owner oid;
BEGIN
  IF lock_mode NOT IN (1, 3, 5, 7) THEN
    RAISE EXCEPTION 'unsupported lockmode %', lock_mode USING ERRCODE = 'internal_error';
  END IF;
  IF cardinality(shard_id) = 0 THEN
    RAISE EXCEPTION 'no locks specified' USING ERRCODE = 'internal_error';
  END IF;
  FOREACH wanted IN ARRAY shard_id LOOP
    SELECT c.relowner INTO owner FROM pg_dist_shard s JOIN pg_class c ON c.oid = s.logicalrelid
     WHERE s.shardid = wanted;
    IF FOUND AND NOT pg_has_role(current_user, owner, 'USAGE') THEN
      RAISE EXCEPTION 'must be owner of table %',
        (SELECT c.relname FROM pg_dist_shard s JOIN pg_class c ON c.oid = s.logicalrelid WHERE s.shardid = wanted)
        USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM citus_standin.lock_shard(wanted, lock_mode <> 7);
  END LOOP;
END $$;

-- What Citus's lock-acquire helper, a background worker, does for force => true: waits, then ends who is in
-- the way, as often as need be.
CREATE FUNCTION citus_standin.end_blockers(waiter int, lock_cooldown int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOOP
    PERFORM pg_sleep(lock_cooldown / 1000.0);
    PERFORM pg_terminate_backend(b.pid) FROM unnest(pg_blocking_pids(waiter)) AS b(pid) WHERE b.pid > 0;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION citus_standin.end_blockers(int, int) FROM PUBLIC;

-- Takes the write locks of every shard that lies on a primary's group, in the order of the shards.
CREATE FUNCTION citus_standin.lock_node(of_nodeid int, force boolean, lock_cooldown int) RETURNS void
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
  helper text;
BEGIN
  SELECT * INTO node FROM pg_dist_node n WHERE n.nodeid = of_nodeid;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node % not found', of_nodeid USING ERRCODE = 'no_data_found';
  END IF;
  IF node.noderole <> 'primary' THEN
    RETURN;
  END IF;
  IF force THEN
    helper := citus_standin.connect_here();
    PERFORM dblink_send_query(helper,
      format('SELECT citus_standin.end_blockers(%s, %s)', pg_backend_pid(), lock_cooldown));
  END IF;
  PERFORM citus_standin.lock_shard(p.shardid, false)
    FROM (SELECT p.shardid FROM pg_dist_placement p WHERE p.groupid = node.groupid ORDER BY p.shardid) p;
  IF force THEN
    PERFORM dblink_cancel_query(helper), dblink_disconnect(helper);
  END IF;
END $$;
REVOKE ALL ON FUNCTION citus_standin.lock_node(int, boolean, int) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_pause_node_within_txn(
  node_id int, force boolean DEFAULT false, lock_cooldown int DEFAULT 10000)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM citus_standin.lock_node(node_id, force, lock_cooldown);
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_pause_node_within_txn(int, boolean, int) FROM PUBLIC;
