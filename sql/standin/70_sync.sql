-- The stand-in, part 7: the asynchronous metadata sync.
--
-- Imitates: SyncNodeMetadataToNodesMain of metadata/metadata_sync.c, utils/maintenanced.c,
-- recover_prepared_transactions of transaction/transaction_recovery.c.
-- Same: woken by the COMMIT of a node function, else a look every citus.metadata_sync_interval (60 s); all
-- nodes that are behind in one serial transaction with RowExclusiveLock on pg_dist_node, taken only if it is
-- free; the node's whole pg_dist_node deleted and inserted, its group written; a node that can't be reached is
-- left behind with a warning and tried again after citus.metadata_sync_retry_interval (5 s), while one that
-- hangs keeps all others stale; application_name 'Citus Metadata Sync Daemon' while it works; a cancel ends it.
-- Different: one session does what two background workers do in Citus, so terminating it ends both, and who
-- keeps it must start it again; it looks every 50 ms for a wake-up; the nodes are committed one after the
-- other, not in two phases; who commits a prepared change is guessed from what the preparing session ran last.
-- Left out: deadlock detection and recovery of prepared transactions.

-- Opens a transaction on a worker and runs this in it; null, with a warning, when that failed.
CREATE FUNCTION citus_standin.try_open(node pg_dist_node, statements text[]) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  connection text;
  statement text;
BEGIN
  connection := citus_standin.connect_to(node.nodename, node.nodeport);
  FOREACH statement IN ARRAY ARRAY['BEGIN'] || statements LOOP
    PERFORM citus_standin.run_on(connection, statement);
  END LOOP;
  RETURN connection;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING '%', SQLERRM USING ERRCODE = SQLSTATE;
  PERFORM citus_standin.disconnect(format('citus_standin %s:%s', node.nodename, node.nodeport));
  RETURN NULL;
END $$;

-- True when nothing is left to do.
CREATE FUNCTION citus_standin.sync_node_metadata() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
  node pg_dist_node;
  connection text;
  open_connections text[] := '{}';
  synced int[] := '{}';
  complete boolean := true;
BEGIN
  IF (SELECT g.groupid FROM pg_dist_local_group g) <> 0 THEN
    RETURN true;
  END IF;
  BEGIN
    LOCK TABLE pg_catalog.pg_dist_node IN ROW EXCLUSIVE MODE NOWAIT;
  EXCEPTION WHEN lock_not_available THEN
    RETURN false;
  END;
  FOR node IN SELECT * FROM pg_dist_node n
    WHERE n.groupid <> 0 AND n.noderole = 'primary' AND n.isactive AND n.hasmetadata AND NOT n.metadatasynced
    ORDER BY n.nodename, n.nodeport
  LOOP
    connection := citus_standin.try_open(node, citus_standin.snapshot_commands(node.groupid));
    IF connection IS NULL THEN
      RAISE WARNING 'failed to sync metadata to %:%', node.nodename, node.nodeport;
      complete := false;
    ELSE
      open_connections := open_connections || connection;
      synced := synced || node.nodeid;
    END IF;
  END LOOP;
  IF synced <> '{}' THEN
    complete := citus_standin.mark_synced(synced, open_connections) AND complete;
  END IF;
  PERFORM citus_standin.disconnect_all();
  RETURN complete;
END $$;

-- Tells every metadata worker, and this node, that these are up to date; commits on the workers.
CREATE FUNCTION citus_standin.mark_synced(synced int[], open_connections text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
  connection text;
  reached text[] := open_connections;
  complete boolean := true;
  mark text := format('UPDATE pg_catalog.pg_dist_node SET metadatasynced = true WHERE nodeid = ANY (%L)', synced);
BEGIN
  FOREACH connection IN ARRAY open_connections LOOP
    PERFORM citus_standin.run_on(connection, mark);
  END LOOP;
  FOR node IN SELECT * FROM pg_dist_node n
    WHERE n.groupid <> 0 AND n.noderole = 'primary' AND n.isactive AND n.hasmetadata AND n.metadatasynced
  LOOP
    connection := citus_standin.try_open(node, ARRAY[mark]);
    IF connection IS NULL THEN
      UPDATE pg_dist_node SET metadatasynced = false WHERE nodeid = node.nodeid;
      complete := false;
    ELSE
      reached := reached || connection;
    END IF;
  END LOOP;
  FOREACH connection IN ARRAY reached LOOP
    PERFORM citus_standin.run_on(connection, 'COMMIT');
  END LOOP;
  UPDATE pg_dist_node SET metadatasynced = true WHERE nodeid = ANY (synced);
  RETURN complete;
END $$;

-- A note that a COMMIT left, or a PREPARE TRANSACTION whose session has run something since.
CREATE FUNCTION citus_standin.is_woken() RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM citus_standin.commit_note n
    WHERE n.kind = 'resync' AND (n.awake OR EXISTS (SELECT FROM pg_stat_activity a
      WHERE a.pid = n.prepared_by AND a.backend_start = n.backend_start
        AND a.query !~* '\mprepare\s+transaction\M')))
$$;

-- Runs until it is cancelled or its session ends; CALL it outside a transaction, as a superuser.
CREATE PROCEDURE citus_standin.maintenance_daemon()
LANGUAGE plpgsql AS $$
DECLARE
  next_look timestamptz := clock_timestamp();
  retrying boolean := false;
  complete boolean;
BEGIN
  PERFORM set_config('application_name', 'Citus Maintenance Daemon', false);
  IF current_setting('server_version_num')::int >= 140000 THEN
    PERFORM set_config('client_connection_check_interval', '1s', false);  -- else it outlives its client
  END IF;
  LOOP
    PERFORM pg_sleep(0.05);
    COMMIT;
    IF clock_timestamp() >= next_look
       OR NOT retrying AND citus_standin.is_woken()
    THEN
      PERFORM pg_sleep(0.01);  -- the transaction that wakes us lets go of its locks after it is visible
      COMMIT;
      PERFORM set_config('application_name', 'Citus Metadata Sync Daemon', false);
      BEGIN
        DELETE FROM citus_standin.commit_note WHERE kind = 'resync';
        complete := citus_standin.sync_node_metadata();
      EXCEPTION WHEN query_canceled OR OTHERS THEN
        RAISE WARNING 'metadata sync failed: %', SQLERRM USING ERRCODE = SQLSTATE;
        PERFORM citus_standin.disconnect_all();
        complete := false;
      END;
      COMMIT;
      PERFORM set_config('application_name', 'Citus Maintenance Daemon', false);
      retrying := NOT complete;
      next_look := clock_timestamp() + CASE
        WHEN complete THEN citus_standin.duration_setting('citus.metadata_sync_interval', '60 s')
        ELSE citus_standin.duration_setting('citus.metadata_sync_retry_interval', '5 s') END;
    END IF;
  END LOOP;
END $$;
REVOKE ALL ON PROCEDURE citus_standin.maintenance_daemon() FROM PUBLIC;

-- Citus's own prepared transactions don't exist here.
CREATE FUNCTION pg_catalog.recover_prepared_transactions() RETURNS int
LANGUAGE sql VOLATILE STRICT AS $$ SELECT 0 $$;
REVOKE ALL ON FUNCTION pg_catalog.recover_prepared_transactions() FROM PUBLIC;
