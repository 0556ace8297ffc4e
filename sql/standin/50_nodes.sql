-- The stand-in, part 5: adding, moving, disabling and removing nodes.
--
-- Imitates: metadata/node_metadata.c.
-- Same: names, arguments, who may call, errors with their SQLSTATE, locks on pg_dist_node, what is sent to the
-- metadata workers at once and what waits for the maintenance daemon.
-- Left out: clones, authentication, metadata_sync_mode, copying of users, schemas and reference data to a new
-- node (it learns of the tables, and gets no shard), and the two-phase commit (see part 3).
--
-- All are SECURITY DEFINER in place of C; the trigger on pg_dist_node is passed by, as Citus's C does.

CREATE FUNCTION citus_standin.find_node(host text, port int) RETURNS pg_dist_node
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
BEGIN
  SELECT * INTO node FROM pg_dist_node n WHERE n.nodename = host AND n.nodeport = port;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node at "%:%" does not exist', host, port USING ERRCODE = 'internal_error';
  END IF;
  RETURN node;
END $$;

-- On the coordinator, with pg_dist_node held against every other change.
CREATE FUNCTION citus_standin.modifiable_node(host text, port int) RETURNS pg_dist_node
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM citus_standin.ensure_coordinator();
  LOCK TABLE pg_catalog.pg_dist_node IN EXCLUSIVE MODE;
  RETURN citus_standin.find_node(host, port);
END $$;

-- The statement that writes one node's row on another copy, or all rows.
CREATE FUNCTION citus_standin.insert_command(only_nodeid int DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('INSERT INTO pg_catalog.pg_dist_node SELECT * FROM '
    'json_populate_recordset(NULL::pg_catalog.pg_dist_node, %L)', json_agg(n ORDER BY n.nodename, n.nodeport))
    FROM pg_dist_node n WHERE only_nodeid IS NULL OR n.nodeid = only_nodeid
$$;
CREATE FUNCTION citus_standin.delete_command(of_nodeid int) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'DELETE FROM pg_catalog.pg_dist_node WHERE nodeid = ' || of_nodeid
$$;

-- Rewrites the row on every metadata worker, as it is here now.
CREATE FUNCTION citus_standin.send_row(of_nodeid int) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_standin.send_to_metadata_workers(ARRAY[
    citus_standin.delete_command(of_nodeid), citus_standin.insert_command(of_nodeid)])
$$;

-- Every metadata worker is behind from now on; the daemon hears of it if and when this transaction COMMITs.
CREATE FUNCTION citus_standin.unset_synced() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE pg_catalog.pg_dist_node IN EXCLUSIVE MODE;
  UPDATE pg_dist_node SET metadatasynced = false WHERE hasmetadata AND metadatasynced AND groupid > 0;
  IF FOUND AND (SELECT g.groupid FROM pg_dist_local_group g) = 0 THEN  -- no daemon looks on a worker
    INSERT INTO citus_standin.commit_note (kind) VALUES ('resync');
  END IF;
END $$;

CREATE FUNCTION pg_catalog.citus_update_node(
  node_id int, new_node_name text, new_node_port int, force boolean DEFAULT false, lock_cooldown int DEFAULT 10000)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  holder int := (SELECT n.nodeid FROM pg_dist_node n WHERE n.nodename = new_node_name AND n.nodeport = new_node_port);
BEGIN
  IF holder = node_id THEN
    RETURN;
  ELSIF holder IS NOT NULL THEN
    RAISE EXCEPTION 'there is already another node with the specified hostname and port'
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  PERFORM citus_standin.lock_node(node_id, force, lock_cooldown);
  UPDATE pg_dist_node SET nodename = new_node_name, nodeport = new_node_port WHERE nodeid = node_id;
  PERFORM citus_standin.unset_synced();
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_update_node(int, text, int, boolean, int) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_update_node(
  node_id int, new_node_name text, new_node_port int, force boolean DEFAULT false, lock_cooldown int DEFAULT 10000)
RETURNS void
LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_update_node(node_id, new_node_name, new_node_port, force, lock_cooldown)
$$;
REVOKE ALL ON FUNCTION pg_catalog.master_update_node(int, text, int, boolean, int) FROM PUBLIC;

-- Inserts the row here only; a known address gives its nodeid and changes nothing.
CREATE FUNCTION citus_standin.add_row(host text, port int, of_group int, of_role noderole, of_cluster name) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  id int;
  is_coordinator boolean := of_group = 0;
BEGIN
  PERFORM citus_standin.ensure_coordinator();
  LOCK TABLE pg_catalog.pg_dist_node IN EXCLUSIVE MODE;
  IF NOT is_coordinator AND host <> 'localhost' AND EXISTS (
    SELECT FROM pg_dist_node n WHERE n.groupid = 0 AND n.noderole = 'primary' AND n.nodename = 'localhost')
  THEN
    RAISE EXCEPTION 'cannot add a worker node when the coordinator hostname is set to localhost'
      USING ERRCODE = 'internal_error',
            DETAIL = 'Worker nodes need to be able to connect to the coordinator to transfer data.',
            HINT = 'Use SELECT citus_set_coordinator_host(''<hostname>'') to configure the coordinator hostname';
  END IF;
  IF of_role = 'primary' THEN
    IF EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = of_group AND n.noderole = 'primary') THEN
      RAISE EXCEPTION 'group % already has a primary node', of_group USING ERRCODE = 'internal_error';
    ELSIF of_cluster <> 'default' THEN
      RAISE EXCEPTION 'primaries must be added to the default cluster' USING ERRCODE = 'internal_error';
    END IF;
  END IF;
  INSERT INTO pg_dist_node
    (groupid, nodename, nodeport, noderole, nodecluster, hasmetadata, metadatasynced, isactive, shouldhaveshards)
  VALUES (CASE of_group WHEN -1 THEN nextval('pg_catalog.pg_dist_groupid_seq') ELSE of_group END, host, port,
          of_role, of_cluster, is_coordinator, is_coordinator, true, NOT (is_coordinator AND of_role = 'primary'))
  RETURNING nodeid INTO id;
  RETURN id;
END $$;

-- Makes a worker a metadata node: its group, the nodes, the tables.
CREATE FUNCTION citus_standin.activate(of_nodeid int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
  fresh boolean;
BEGIN
  UPDATE pg_dist_node SET isactive = true, hasmetadata = noderole = 'primary', metadatasynced = noderole = 'primary'
   WHERE nodeid = of_nodeid RETURNING * INTO node;
  IF node.noderole = 'primary' AND node.groupid <> 0 THEN
    DECLARE
      connection text := citus_standin.connect_to(node.nodename, node.nodeport);
    BEGIN
      fresh := citus_standin.run_on(connection, 'SELECT count(*) FROM pg_catalog.pg_dist_partition') = '0';
      PERFORM citus_standin.disconnect(connection);
    END;
    PERFORM citus_standin.run_at(node.nodename, node.nodeport, citus_standin.snapshot_commands(node.groupid));
    IF fresh THEN
      PERFORM citus_standin.run_at(node.nodename, node.nodeport, citus_standin.table_commands(p.logicalrelid))
         FROM pg_dist_partition p;
    END IF;
  END IF;
  PERFORM citus_standin.send_row(of_nodeid);
END $$;

-- The whole of pg_dist_node as the node of this group shall have it.
CREATE FUNCTION citus_standin.snapshot_commands(of_group int) RETURNS text[]
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY['UPDATE pg_catalog.pg_dist_local_group SET groupid = ' || of_group,
               'DELETE FROM pg_catalog.pg_dist_node', citus_standin.insert_command()]
$$;

CREATE FUNCTION pg_catalog.citus_add_node(
  nodename text, nodeport int, groupid int DEFAULT -1, noderole noderole DEFAULT 'primary',
  nodecluster name DEFAULT 'default')
RETURNS int
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
    RAISE EXCEPTION 'operation is not allowed'
      USING ERRCODE = 'internal_error', HINT = 'Run the command with a superuser.';
  END IF;
  RETURN citus_standin.add_node(nodename, nodeport, groupid, noderole, nodecluster, true);
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_add_node(text, int, int, noderole, name) FROM PUBLIC;

CREATE FUNCTION citus_standin.add_node(
  host text, port int, of_group int, of_role noderole, of_cluster name, as_metadata_node boolean) RETURNS int
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  id int;
BEGIN
  PERFORM citus_standin.ensure_coordinator();
  SELECT n.nodeid INTO id FROM pg_dist_node n WHERE n.nodename = host AND n.nodeport = port;
  IF FOUND THEN
    RETURN id;
  END IF;
  id := citus_standin.add_row(host, port, of_group, of_role, of_cluster);
  IF as_metadata_node AND of_group <> 0 THEN
    PERFORM citus_standin.activate(id);
  ELSE
    PERFORM citus_standin.send_row(id);
  END IF;
  RETURN id;
END $$;
REVOKE ALL ON FUNCTION citus_standin.add_node(text, int, int, noderole, name, boolean) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_add_secondary_node(
  nodename text, nodeport int, primaryname text, primaryport int, nodecluster name DEFAULT 'default')
RETURNS int
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN citus_standin.add_node(nodename, nodeport, (citus_standin.find_node(primaryname, primaryport)).groupid,
    'secondary', nodecluster, false);
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_add_secondary_node(text, int, text, int, name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_set_coordinator_host(
  host text, port int DEFAULT current_setting('port')::int, node_role noderole DEFAULT 'primary',
  node_cluster name DEFAULT 'default')
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  id int;
BEGIN
  LOCK TABLE pg_catalog.pg_dist_node IN ROW EXCLUSIVE MODE;
  SELECT n.nodeid INTO id FROM pg_dist_node n WHERE n.groupid = 0 AND n.noderole = 'primary';
  IF NOT FOUND THEN
    PERFORM citus_standin.add_node(host, port, 0, node_role, node_cluster, true);
    RETURN;
  END IF;
  UPDATE pg_dist_node n SET nodename = host, nodeport = port WHERE n.nodeid = id;
  PERFORM citus_standin.send_row(id);
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_set_coordinator_host(text, int, noderole, name) FROM PUBLIC;

CREATE FUNCTION citus_standin.ensure_removable(node pg_dist_node) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  only_here bigint := (
    SELECT min(p.shardid) FROM pg_dist_placement p
     WHERE p.groupid = node.groupid AND node.noderole = 'primary' AND NOT EXISTS (
       SELECT FROM pg_dist_placement other JOIN pg_dist_node n ON n.groupid = other.groupid
        WHERE other.shardid = p.shardid AND other.groupid <> p.groupid AND n.noderole = 'primary' AND n.isactive));
BEGIN
  IF only_here IS NOT NULL THEN
    RAISE EXCEPTION
      'cannot remove or disable the node %:% because because it contains the only shard placement for shard %',
      node.nodename, node.nodeport, only_here USING ERRCODE = 'internal_error';
  END IF;
END $$;

CREATE FUNCTION pg_catalog.citus_remove_node(nodename text, nodeport int) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node := citus_standin.modifiable_node(nodename, nodeport);
  forget text := format('DELETE FROM pg_catalog.pg_dist_placement WHERE groupid = %s', node.groupid);
BEGIN
  PERFORM citus_standin.ensure_removable(node);
  DELETE FROM pg_dist_placement p WHERE p.groupid = node.groupid AND node.noderole = 'primary';
  DELETE FROM pg_dist_node n WHERE n.nodeid = node.nodeid;
  PERFORM citus_standin.send_to_metadata_workers(
    CASE WHEN node.noderole = 'primary' THEN ARRAY[forget] ELSE '{}' END || citus_standin.delete_command(node.nodeid));
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_remove_node(text, int) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_activate_node(nodename text, nodeport int) RETURNS int
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  node pg_dist_node := citus_standin.modifiable_node(nodename, nodeport);
BEGIN
  PERFORM citus_standin.activate(node.nodeid);
  RETURN node.nodeid;
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_activate_node(text, int) FROM PUBLIC;

-- Always as if synchronous were false: the workers hear of it from the daemon.
CREATE FUNCTION pg_catalog.citus_disable_node(nodename text, nodeport int, synchronous boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  node pg_dist_node := citus_standin.modifiable_node(nodename, nodeport);
BEGIN
  IF node.groupid = 0 THEN
    RAISE EXCEPTION 'cannot change "isactive" field of the coordinator node' USING ERRCODE = 'internal_error';
  END IF;
  UPDATE pg_dist_node SET isactive = false WHERE nodeid = node.nodeid;
  PERFORM citus_standin.ensure_removable(node);
  PERFORM citus_standin.unset_synced();
END $$;
REVOKE ALL ON FUNCTION pg_catalog.citus_disable_node(text, int, boolean) FROM PUBLIC;

CREATE FUNCTION pg_catalog.stop_metadata_sync_to_node(nodename text, nodeport int, clear_metadata boolean DEFAULT true)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  node pg_dist_node := citus_standin.modifiable_node(nodename, nodeport);
BEGIN
  IF clear_metadata AND node.noderole = 'primary' AND node.groupid <> 0 THEN
    PERFORM citus_standin.run_at(node.nodename, node.nodeport, ARRAY[
      'UPDATE pg_catalog.pg_dist_local_group SET groupid = 0', 'DELETE FROM pg_catalog.pg_dist_node',
      'DELETE FROM pg_catalog.pg_dist_placement', 'DELETE FROM pg_catalog.pg_dist_shard',
      'DELETE FROM pg_catalog.pg_dist_partition']);
  END IF;
  UPDATE pg_dist_node SET hasmetadata = false, metadatasynced = false WHERE nodeid = node.nodeid AND node.groupid <> 0;
  PERFORM citus_standin.send_row(node.nodeid);
END $$;
REVOKE ALL ON FUNCTION pg_catalog.stop_metadata_sync_to_node(text, int, boolean) FROM PUBLIC;
