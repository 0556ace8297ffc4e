-- The stand-in, part 6: where a query of this session would go now.
--
-- Imitates: LookupNodeForGroup and EnsureModificationsCanRun of metadata/metadata_cache.c, the planner's
-- "no active placements". citus.use_secondary_nodes and citus.cluster_name are placeholder settings here.
-- Same: who is asked, in which order, and the errors. Citus takes a group's first row *in the table's physical
-- order* whose role fits, and only then looks whether it is active.
-- Left out: the query itself; that Citus fixes both settings at session start; transactions in which Citus
-- sees newer rows than the caller's snapshot (repeatable read).

CREATE FUNCTION citus_standin.reads_secondaries() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(current_setting('citus.use_secondary_nodes', true), '') = 'always'
$$;

CREATE FUNCTION citus_standin.ensure_writable() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'writing to worker nodes is not currently allowed'
      USING ERRCODE = 'read_only_sql_transaction', DETAIL = 'the database is read-only';
  ELSIF citus_standin.reads_secondaries() THEN
    RAISE EXCEPTION 'writing to worker nodes is not currently allowed'
      USING ERRCODE = 'internal_error', DETAIL = 'citus.use_secondary_nodes is set to ''always''';
  END IF;
END $$;

-- HOST:PORT for kind 'read' or 'write'.
CREATE FUNCTION citus_standin.route(of_group int, kind text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted pg_catalog.noderole := CASE WHEN citus_standin.reads_secondaries() THEN 'secondary' ELSE 'primary' END;
  cluster name := coalesce(nullif(current_setting('citus.cluster_name', true), ''), 'default');
  node pg_dist_node;
BEGIN
  IF kind = 'write' THEN
    PERFORM citus_standin.ensure_writable();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = of_group AND n.nodecluster = cluster) THEN
    RAISE EXCEPTION 'there is a shard placement in node group % but there are no nodes in that group', of_group
      USING ERRCODE = 'internal_error';
  END IF;
  SELECT * INTO node FROM pg_dist_node n
   WHERE n.groupid = of_group AND n.nodecluster = cluster AND n.noderole = wanted ORDER BY n.ctid LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node group % does not have a % node', of_group, wanted USING ERRCODE = 'internal_error';
  ELSIF NOT node.isactive THEN
    RAISE EXCEPTION 'no active placements were found for shard %',
      (SELECT min(p.shardid) FROM pg_dist_placement p WHERE p.groupid = of_group) USING ERRCODE = 'internal_error';
  END IF;
  RETURN node.nodename || ':' || node.nodeport;
END $$;

-- Takes the lock that a write to this shard takes on the node it enters by, until the transaction ends, and
-- returns where the write goes: HOST:PORT, with commas between them for a reference table.
CREATE FUNCTION citus_standin.write(of_shardid bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  addresses text;
BEGIN
  PERFORM citus_standin.ensure_writable();
  PERFORM citus_standin.lock_shard(of_shardid, true);
  SELECT string_agg(citus_standin.route(p.groupid, 'write'), ',' ORDER BY p.groupid) INTO addresses
    FROM pg_dist_placement p WHERE p.shardid = of_shardid;
  RETURN addresses;
END $$;

CREATE FUNCTION pg_catalog.citus_is_coordinator() RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT (SELECT g.groupid FROM pg_dist_local_group g) = 0 AND EXISTS (
    SELECT FROM pg_dist_node n WHERE n.isactive
       AND n.noderole::text = CASE WHEN citus_standin.reads_secondaries() THEN 'secondary' ELSE 'primary' END)
$$;

CREATE FUNCTION pg_catalog.citus_coordinator_nodeid() RETURNS int
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT n.nodeid FROM pg_dist_node n WHERE n.groupid = 0 AND n.noderole = 'primary'), 0)
$$;

CREATE FUNCTION pg_catalog.citus_nodename_for_nodeid(nodeid int) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.nodename FROM pg_dist_node n WHERE n.nodeid = $1
$$;

CREATE FUNCTION pg_catalog.citus_nodeport_for_nodeid(nodeid int) RETURNS int
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.nodeport FROM pg_dist_node n WHERE n.nodeid = $1
$$;
