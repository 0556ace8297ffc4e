-- citus_ha, migration 2: what a role without any other right may do to pg_dist_node.
--
-- Every function is SECURITY DEFINER with a fixed search_path and is owned by the superuser who installs it.
-- Together they let a row change address (within its group's known addresses), rack and activity, never its nodeid,
-- group, role or cluster; a secondary's row be added at such an address, or taken away; and nothing else.
--
-- Errors of our own:  HA001 stale epoch · HA002 the copy is not what the plan expects · HA003 address not
-- allowed · HA004 a change that would not be sound.

-- Identity and history of this server. Callable on standbys too.
CREATE FUNCTION citus_ha.node_identity(
  OUT system_identifier text, OUT in_recovery boolean, OUT timeline int, OUT history text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  system_identifier := (SELECT s.system_identifier::text FROM pg_control_system() s);
  in_recovery := pg_is_in_recovery();
  IF in_recovery THEN
    timeline := (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline,
                                 (SELECT w.received_tli FROM pg_stat_get_wal_receiver() w))
                   FROM pg_control_checkpoint() c, pg_control_recovery() r);
  ELSE
    -- The control file's timeline is late after a promotion; the current WAL file's name is not.
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int;
  END IF;
  history := coalesce(pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true), '');
END $$;

-- Two spellings of one address count as one here: case of a DNS name, and IPv4 mapped into IPv6.
CREATE FUNCTION citus_ha.canonical_host(host text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT regexp_replace(lower(host), '^::ffff:', '')
$$;

CREATE FUNCTION citus_ha.parking_host(of_nodeid int) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'citus-ha-moving-' || of_nodeid || '.invalid'
$$;

-- This copy as it is now, with the highest epoch it has seen and who this server is. A statement of its own
-- after the one that locked: under READ COMMITTED it sees what the lock waited for.
CREATE FUNCTION citus_ha.read_copy() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  identity record;
BEGIN
  SELECT * INTO identity FROM citus_ha.node_identity();
  RETURN jsonb_build_object(
    'rows', (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.ctid), '[]') FROM pg_dist_node n),
    'epoch', (SELECT e.epoch FROM citus_ha.epoch e),
    'epochTimeline', (SELECT e.coordinator_timeline FROM citus_ha.epoch e),
    'localGroup', (SELECT g.groupid FROM pg_dist_local_group g),
    'systemIdentifier', identity.system_identifier,
    'inRecovery', identity.in_recovery,
    'timeline', identity.timeline,
    'history', identity.history);
END $$;

-- Holds, for the transaction, the writes to the given groups that enter here. Reads pass, and so does a change of
-- another group, but for one that shares a reference table's shards.
-- A writer that has one shard and wants another, which is fenced already, waits for us while we wait for him: found out
-- soon, it is us who give way. Citus's own search for deadlocks would end him. All that was fenced since is let go with
-- the block, and begun anew, within the caller's statement_timeout.
CREATE FUNCTION citus_ha.fence(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET deadlock_timeout = '20ms' AS $$
BEGIN
  FOR attempt IN 1 .. 50 LOOP
    BEGIN
      PERFORM citus_ha.fence_once(fenced_groups);
      RETURN;
    EXCEPTION WHEN deadlock_detected THEN
      IF attempt = 50 THEN RAISE; END IF;
    END;
  END LOOP;
END $$;

CREATE FUNCTION citus_ha.fence_once(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
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
CREATE FUNCTION citus_ha.lock_copy(fenced_groups int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;
  PERFORM citus_ha.fence(fenced_groups);
END $$;

-- A metadata sync of Citus that sits on pg_dist_node, waiting for a node that hangs, would keep every change
-- out. It runs again by itself; pg_terminate_backend does not reach it, pg_cancel_backend does.
CREATE FUNCTION citus_ha.cancel_metadata_sync() RETURNS SETOF int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  daemon int;
BEGIN
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

-- Who keeps the session `waiter` from its lock, for people. A prepared transaction has pid 0; of a session that
-- works for a client of another node (`citus_internal gpid=`: nodeid times 10^10 plus pid) that client is named.
CREATE FUNCTION citus_ha.blockers(waiter int) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'pid', b.pid, 'user', a.usename, 'application', a.application_name, 'state', a.state,
           'ageMs', round(extract(epoch FROM clock_timestamp() - a.xact_start) * 1000),
           'statement', left(a.query, 200),
           'client', (SELECT jsonb_build_object('node', n.nodename || ':' || n.nodeport, 'pid', g.gpid % 10000000000)
                        FROM (SELECT substring(a.application_name FROM '^citus_\w+ gpid=(\d{1,18})$')::bigint) AS g(gpid)
                        JOIN pg_dist_node n ON n.nodeid = g.gpid / 10000000000),
           'ours', coalesce(a.application_name = 'citus-ha'
             AND has_function_privilege(a.usesysid, 'citus_ha.rewrite(int, bigint, jsonb, int[])', 'EXECUTE'), false))), '[]')
    FROM (SELECT DISTINCT p FROM unnest(pg_blocking_pids(waiter)) AS p) AS b(pid)
    LEFT JOIN pg_stat_activity a ON a.pid = b.pid
$$;

-- Ends the sessions that keep the caller's own session `waiter` from its lock, and gives back whom it ended.
-- Never another change of citus-ha, never Citus's own daemons (its 2PC recovery runs in one), never a prepared
-- transaction.
CREATE FUNCTION citus_ha.end_blockers(waiter int) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  blocker jsonb;
  ended jsonb := '[]';
BEGIN
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

-- The tables of the shards that are placed here, in the order of their ids.
CREATE FUNCTION citus_ha.own_shards() RETURNS SETOF regclass
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('citus.override_table_visibility', 'off', true);
  -- A shard's table is in its distributed table's schema and its name ends in _<shardid>, however it was cut.
  RETURN QUERY
    SELECT c.oid::regclass
      FROM pg_dist_placement p
      JOIN pg_dist_shard s USING (shardid)
      JOIN pg_class l ON l.oid = s.logicalrelid
      JOIN pg_class c ON c.relnamespace = l.relnamespace AND substring(c.relname FROM '_(\d{1,18})$')::bigint = s.shardid
     WHERE p.groupid = (SELECT g.groupid FROM pg_dist_local_group g) AND c.relkind IN ('r', 'p')
     ORDER BY s.shardid;
END $$;

-- On an old primary that is still alive: no write to any of its shards from now on, by whomever. Reads that its
-- transactions did before take no lock that would show. Taken after the metadata fences.
-- An autovacuum gives way to whoever has waited for deadlock_timeout: its default, a second, is more than we wait.
CREATE FUNCTION citus_ha.lock_shards() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET deadlock_timeout = '20ms' AS $$
DECLARE
  shard regclass;
  locked int := 0;
BEGIN
  PERFORM set_config('citus.enable_manual_changes_to_shards', 'on', true);
  FOR shard IN SELECT * FROM citus_ha.own_shards() LOOP
    EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', shard);
    locked := locked + 1;
  END LOOP;
  RETURN locked;
END $$;

-- Ends what other nodes have open here, so that nothing there can commit any more.
CREATE FUNCTION citus_ha.end_citus_backends() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  backend int;
  ended int := 0;
BEGIN
  FOR backend IN
    SELECT a.pid FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name ~ '^citus_\w+ gpid='
  LOOP
    IF pg_terminate_backend(backend) THEN
      ended := ended + 1;
    END IF;
  END LOOP;
  RETURN ended;
END $$;

-- Transactions of clients and of other nodes that have been open here since before a moment, as citus_ha.blockers: those
-- that wait for a lock of citus-ha's own sessions, be it through others who wait for one; or the rest.
CREATE FUNCTION citus_ha.transactions(since timestamptz, held boolean) RETURNS jsonb
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
CREATE FUNCTION citus_ha.open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.transactions(since, false)
$$;

-- Those that wait for a lock of ours, on any node.
CREATE FUNCTION citus_ha.held_transactions() RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.transactions('infinity', true)
$$;

-- Ends the sessions that are named like that, and gives back which.
CREATE FUNCTION citus_ha.end_sessions(named jsonb) RETURNS jsonb
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
CREATE FUNCTION citus_ha.end_open_transactions(since timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.end_sessions(citus_ha.transactions(since, false))
$$;

-- The same of those that wait for a lock of ours: before it is let go where they should not be any more.
CREATE FUNCTION citus_ha.end_held_transactions() RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.end_sessions(citus_ha.transactions('infinity', true))
$$;

-- Citus's own prepared transactions that replicated to a promoted node keep their row locks there until its
-- recovery comes round (60 s): it is asked for now. Each node resolves those that it began.
CREATE FUNCTION citus_ha.recover_citus_transactions() RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT recover_prepared_transactions()
$$;

-- May a row of this group be given this address? Its own rows' addresses, those it had, those a superuser
-- allowed. A superuser's own session may do anything anyway.
CREATE FUNCTION citus_ha.may_have_address(of_group int, host text, port int) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM (SELECT groupid, nodename, nodeport FROM pg_dist_node
                 UNION ALL SELECT groupid, nodename, nodeport FROM citus_ha.allowed_address
                 UNION ALL SELECT groupid, nodename, nodeport FROM citus_ha.former_address) known
     WHERE known.groupid = of_group AND known.nodeport = port
       AND citus_ha.canonical_host(known.nodename) = citus_ha.canonical_host(host))
    OR (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = session_user)
$$;

CREATE FUNCTION citus_ha.require_address(of_group int, host text, port int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF citus_ha.may_have_address(of_group, host, port) IS NOT TRUE THEN
    RAISE EXCEPTION 'group % may not be given the address %:%', of_group, host, port
      USING ERRCODE = 'HA003',
            HINT = 'A superuser can allow it: citus-ha install, with the node under "standbys" or "addresses" of the configuration.';
  END IF;
END $$;

CREATE FUNCTION citus_ha.move_node(of_nodeid int, host text, port int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_regprocedure('citus_update_node(int, text, int, boolean, int)') IS NOT NULL THEN
    EXECUTE 'SELECT citus_update_node($1, $2, $3)' USING of_nodeid, host, port;
  ELSE  -- before Citus 10
    EXECUTE 'SELECT master_update_node($1, $2, $3)' USING of_nodeid, host, port;
  END IF;
END $$;

-- Makes the row the one that Citus reads of its group's secondaries in its cluster: the first in the table's physical
-- order. Every update of another one writes it to a new place; the free places in front run out.
CREATE FUNCTION citus_ha.read_first(of_nodeid int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  other int;
BEGIN
  FOR attempt IN 1 .. 1000 LOOP
    SELECT n.nodeid INTO other FROM pg_dist_node n JOIN pg_dist_node f ON f.nodeid = of_nodeid
     WHERE n.groupid = f.groupid AND n.nodecluster = f.nodecluster AND n.noderole = f.noderole AND n.ctid < f.ctid LIMIT 1;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    UPDATE pg_dist_node n SET nodename = n.nodename WHERE n.nodeid = other;
  END LOOP;
  RAISE EXCEPTION 'node % could not be made the first of its secondaries', of_nodeid USING ERRCODE = 'HA004';
END $$;

-- Guards Citus's records of two-phase commits with the groups whose primary's row names a standby: what is there is kept,
-- and what Citus has deleted comes back. So it does for ten minutes more, in which Citus's recovery has come round (60 s)
-- and committed what is prepared on the primary. A record of what is nowhere prepared is deleted by the next recovery.
-- Two may be at it at once.
CREATE FUNCTION citus_ha.guard_transactions(degraded int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO citus_ha.kept_transaction (groupid, gid, record)
  SELECT t.groupid, t.gid, to_jsonb(t) FROM pg_dist_transaction t WHERE t.groupid = ANY (degraded)
  ON CONFLICT DO NOTHING;
  UPDATE citus_ha.kept_transaction k
     SET ended = CASE WHEN k.groupid = ANY (degraded) THEN NULL ELSE clock_timestamp() END
   WHERE (k.ended IS NULL) <> (k.groupid = ANY (degraded));
  DELETE FROM citus_ha.kept_transaction k WHERE k.ended < clock_timestamp() - interval '10 min';
  INSERT INTO pg_dist_transaction
  SELECT r.* FROM citus_ha.kept_transaction k, jsonb_populate_record(NULL::pg_dist_transaction, k.record) AS r
   WHERE NOT EXISTS (SELECT FROM pg_dist_transaction t WHERE t.groupid = k.groupid AND t.gid = k.gid)
  ON CONFLICT DO NOTHING;
END $$;

-- One step of a plan: {"op": "move", "nodeid", "from": {host, port}, "to": {host, port}}
-- or {"op": "set", "nodeid", "column": "isactive" | "noderack" | "shouldhaveshards", "from", "to"}
-- or {"op": "first", "nodeid"}.
CREATE FUNCTION citus_ha.take_step(step jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
  host text := step #>> '{to,host}';
  port int := (step #>> '{to,port}')::int;
BEGIN
  SELECT * INTO node FROM pg_dist_node n WHERE n.nodeid = (step ->> 'nodeid')::int;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node % is not in pg_dist_node', step ->> 'nodeid' USING ERRCODE = 'HA002';
  END IF;
  IF step ->> 'op' = 'move' THEN
    IF node.nodename <> step #>> '{from,host}' OR node.nodeport <> (step #>> '{from,port}')::int THEN
      RAISE EXCEPTION 'node % is at %:%, not at %:%', node.nodeid, node.nodename, node.nodeport,
        step #>> '{from,host}', step #>> '{from,port}' USING ERRCODE = 'HA002';
    END IF;
    IF host <> citus_ha.parking_host(node.nodeid) THEN
      PERFORM citus_ha.require_address(node.groupid, host, port);
    END IF;
    PERFORM citus_ha.move_node(node.nodeid, host, port);
  ELSIF step ->> 'op' = 'set' AND step ->> 'column' IN ('isactive', 'noderack', 'shouldhaveshards') THEN
    IF (to_jsonb(node) -> (step ->> 'column')) IS DISTINCT FROM (step -> 'from') THEN
      RAISE EXCEPTION '% of node % is %, not %', step ->> 'column', node.nodeid,
        to_jsonb(node) -> (step ->> 'column'), step -> 'from' USING ERRCODE = 'HA002';
    END IF;
    UPDATE pg_dist_node n
       SET isactive = CASE step ->> 'column' WHEN 'isactive' THEN (step ->> 'to')::boolean ELSE n.isactive END,
           noderack = CASE step ->> 'column' WHEN 'noderack' THEN step ->> 'to' ELSE n.noderack END,
           shouldhaveshards = CASE step ->> 'column' WHEN 'shouldhaveshards' THEN (step ->> 'to')::boolean ELSE n.shouldhaveshards END
     WHERE n.nodeid = node.nodeid;
  ELSIF step ->> 'op' = 'first' AND node.noderole = 'secondary' THEN
    PERFORM citus_ha.read_first(node.nodeid);
  ELSE
    RAISE EXCEPTION 'not a step of a plan: %', step USING ERRCODE = 'HA004';
  END IF;
END $$;

-- Fails where the transaction is older than that: this server was stopped meanwhile, and the change given up.
CREATE FUNCTION citus_ha.in_time(age_ms int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF clock_timestamp() - now() > age_ms * interval '1 ms' THEN
    RAISE EXCEPTION 'too late for this change' USING ERRCODE = 'HA002';
  END IF;
END $$;

-- Rewrites this copy, inside the change (coordinator_timeline, epoch).
--   steps     as of take_step, in order
--   unsynced  nodeids of metadata nodes whose own copy this change could not reach; Citus's daemon brings
--             them up to date when they are back. The flag of every other row is left as it was.
CREATE FUNCTION citus_ha.rewrite(change_timeline int, change_epoch bigint, steps jsonb, unsynced int[])
RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  synced int[];
  before jsonb;
  step jsonb;
  flagged record;
BEGIN
  UPDATE citus_ha.epoch e SET coordinator_timeline = change_timeline, epoch = change_epoch
   WHERE (e.coordinator_timeline, e.epoch) < (change_timeline, change_epoch);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'a newer change than epoch % of coordinator timeline % was here', change_epoch, change_timeline
      USING ERRCODE = 'HA001';
  END IF;
  SELECT coalesce(array_agg(n.nodeid), '{}') INTO synced FROM pg_dist_node n WHERE n.metadatasynced;
  SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.nodeid), '[]') INTO before FROM pg_dist_node n;

  FOR step IN SELECT * FROM jsonb_array_elements(steps) LOOP
    PERFORM citus_ha.take_step(step);
    -- Kept at once, since a later step may bring the address back under another row.
    IF step ->> 'op' = 'move' AND step #>> '{from,host}' NOT LIKE 'citus-ha-moving-%.invalid' THEN
      INSERT INTO citus_ha.former_address
      SELECT n.groupid, step #>> '{from,host}', (step #>> '{from,port}')::int
        FROM pg_dist_node n WHERE n.nodeid = (step ->> 'nodeid')::int
      ON CONFLICT DO NOTHING;
    END IF;
  END LOOP;

  IF EXISTS (SELECT FROM pg_dist_node n WHERE n.nodename LIKE 'citus-ha-moving-%.invalid') THEN
    RAISE EXCEPTION 'the plan leaves a row without an address' USING ERRCODE = 'HA004';
  END IF;

  -- Citus wakes its sync daemon for a node update only, so a flag alone moves the row there and back.
  FOR flagged IN SELECT n.* FROM pg_dist_node n
                  WHERE n.nodeid = ANY (unsynced) AND n.metadatasynced AND n.nodeid = ANY (synced)
  LOOP
    PERFORM citus_ha.move_node(flagged.nodeid, citus_ha.parking_host(flagged.nodeid), flagged.nodeport);
    PERFORM citus_ha.move_node(flagged.nodeid, flagged.nodename, flagged.nodeport);
  END LOOP;

  -- citus_update_node() has unset the flag of every metadata worker.
  UPDATE pg_dist_node n SET metadatasynced = (n.nodeid = ANY (synced) AND n.nodeid <> ALL (unsynced))
   WHERE n.metadatasynced <> (n.nodeid = ANY (synced) AND n.nodeid <> ALL (unsynced));

  RETURN jsonb_build_object('before', before,
    'after', (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.nodeid), '[]') FROM pg_dist_node n));
END $$;

-- What was proved of a group's line: an array of {"group", "systemIdentifier", "timeline", "history"}.
-- Outside of a decision it only goes forward: whoever was stopped and wakes up late must not undo newer truth.
CREATE FUNCTION citus_ha.set_lineage(proofs jsonb, may_go_back boolean) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO citus_ha.lineage AS l (groupid, system_identifier, timeline, history)
  SELECT (p ->> 'group')::int, p ->> 'systemIdentifier', (p ->> 'timeline')::int, p ->> 'history'
    FROM jsonb_array_elements(proofs) AS p
  ON CONFLICT (groupid) DO UPDATE
     SET system_identifier = excluded.system_identifier, timeline = excluded.timeline,
         history = excluded.history, recorded_at = now()
   WHERE (l.system_identifier, l.timeline, l.history)
           IS DISTINCT FROM (excluded.system_identifier, excluded.timeline, excluded.history)
     AND (may_go_back OR (l.system_identifier = excluded.system_identifier AND l.timeline < excluded.timeline))
$$;

CREATE FUNCTION citus_ha.record_lineage(proofs jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.set_lineage(proofs, false)
$$;

-- The decision, on the coordinator, in the transaction whose commit makes it: the change, what it proved,
-- the remedies it set and those it ended.
CREATE FUNCTION citus_ha.decide(decision jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO citus_ha.change (coordinator_timeline, epoch, gids, groups, reason, evidence, rows_before, rows_after, made_by)
  VALUES ((decision ->> 'timeline')::int, (decision ->> 'epoch')::bigint,
          ARRAY(SELECT jsonb_array_elements_text(decision -> 'gids')),
          ARRAY(SELECT jsonb_array_elements_text(decision -> 'groups')::int),
          decision ->> 'reason', decision -> 'evidence', decision -> 'before', decision -> 'after',
          format('%s as %s from %s', decision ->> 'madeBy', session_user, coalesce(host(inet_client_addr()), 'local')));
  PERFORM citus_ha.set_lineage(decision -> 'proofs', true);
  DELETE FROM citus_ha.intent i
   WHERE EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = i.groupid AND n.noderole = 'primary'
                    AND n.nodename = i.to_host AND n.nodeport = i.to_port);
  DELETE FROM citus_ha.remedy r WHERE r.nodeid IN (SELECT jsonb_array_elements_text(decision -> 'remediesEnded')::int);
  -- Every survey connects to them.
  PERFORM citus_ha.require_address((r ->> 'group')::int, a ->> 'host', (a ->> 'port')::int)
     FROM jsonb_array_elements(decision -> 'remedies') AS r, LATERAL (VALUES (r -> 'address'), (r -> 'given')) AS named(a);
  INSERT INTO citus_ha.remedy (nodeid, groupid, nodename, nodeport, noderack, isactive, given_host, given_port)
  SELECT (r ->> 'nodeid')::int, (r ->> 'group')::int, r #>> '{address,host}', (r #>> '{address,port}')::int,
         r ->> 'rack', (r ->> 'isactive')::boolean, r #>> '{given,host}', (r #>> '{given,port}')::int
    FROM jsonb_array_elements(decision -> 'remedies') AS r
  ON CONFLICT (nodeid) DO UPDATE SET nodename = excluded.nodename, nodeport = excluded.nodeport,
    noderack = excluded.noderack, isactive = excluded.isactive, given_host = excluded.given_host,
    given_port = excluded.given_port, recorded_at = now();
END $$;

-- Writes down a change of the coordinator's rows in which no other copy took part: Citus's own sync ships it.
CREATE FUNCTION citus_ha.record_own_change(of_group int, reason text, evidence jsonb, rows_before jsonb, made_by text)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE citus_ha.epoch e
     SET coordinator_timeline = i.timeline, epoch = e.epoch + 1
    FROM citus_ha.node_identity() i WHERE e.coordinator_timeline <= i.timeline;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this coordinator is behind a newer one' USING ERRCODE = 'HA001';
  END IF;
  INSERT INTO citus_ha.change (coordinator_timeline, epoch, gids, groups, reason, evidence, rows_before, rows_after, made_by)
  SELECT e.coordinator_timeline, e.epoch, '{}', ARRAY[of_group], record_own_change.reason, record_own_change.evidence,
         record_own_change.rows_before, citus_ha.read_copy() -> 'rows',
         format('%s as %s from %s', record_own_change.made_by, session_user, coalesce(host(inet_client_addr()), 'local'))
    FROM citus_ha.epoch e;
END $$;

-- Gives a standby a row of its own as a secondary, on the coordinator, by Citus's own function; gives back its nodeid.
-- {"group", "address", "primary", "cluster", "rack" (null: Citus's default), "madeBy", "evidence"}; `primary` is what
-- the group's primary row has to say.
--
-- No other node is spoken to while locks are held: with Citus's own sync in the transaction, a metadata worker that
-- hangs would keep it, and pg_dist_node, for as long as it hangs, through every timeout and pg_terminate_backend
-- (Citus 13.2.2). So that sync is off here, and the row is moved away and back, which wakes Citus's maintenance daemon
-- at the commit: it ships the rows to every metadata worker.
CREATE FUNCTION citus_ha.register_secondary(standby jsonb) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  of_group int := (standby ->> 'group')::int;
  host text := standby #>> '{address,host}';
  port int := (standby #>> '{address,port}')::int;
  before jsonb;
  id int;
BEGIN
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;
  before := citus_ha.read_copy() -> 'rows';
  IF NOT citus_ha.may_have_address(of_group, host, port) THEN
    RAISE EXCEPTION 'group % may not have a row at %:%', of_group, host, port USING ERRCODE = 'HA003';
  ELSIF NOT EXISTS (SELECT FROM pg_dist_node n
                     WHERE n.groupid = of_group AND n.noderole = 'primary' AND n.nodename = standby #>> '{primary,host}'
                       AND n.nodeport = (standby #>> '{primary,port}')::int) THEN
    RAISE EXCEPTION 'group % has another primary by now', of_group USING ERRCODE = 'HA002';
  ELSIF EXISTS (SELECT FROM pg_dist_node n
                 WHERE n.nodeport = port AND citus_ha.canonical_host(n.nodename) = citus_ha.canonical_host(host)) THEN
    RAISE EXCEPTION '%:% has a row already', host, port USING ERRCODE = 'HA002';
  END IF;
  PERFORM set_config('citus.enable_metadata_sync', 'off', true);
  id := citus_add_secondary_node(host, port, standby #>> '{primary,host}', (standby #>> '{primary,port}')::int,
                                 (standby ->> 'cluster')::name);
  UPDATE pg_dist_node n SET noderack = standby ->> 'rack' WHERE n.nodeid = id AND standby ->> 'rack' IS NOT NULL;
  PERFORM citus_ha.move_node(id, citus_ha.parking_host(id), port);
  PERFORM citus_ha.move_node(id, host, port);
  PERFORM citus_ha.record_own_change(of_group, format('registered %s:%s', host, port), standby -> 'evidence', before,
                                     standby ->> 'madeBy');
  RETURN id;
END $$;

-- Remedies whose row is still as they made it: any other has been changed by somebody since, and counts no more.
CREATE FUNCTION citus_ha.standing_remedies() RETURNS SETOF citus_ha.remedy
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.* FROM citus_ha.remedy r JOIN pg_dist_node n USING (nodeid)
   WHERE (n.nodename, n.nodeport) = (r.given_host, r.given_port)
     AND ((r.given_host, r.given_port) <> (r.nodename, r.nodeport) OR NOT n.isactive)
$$;

-- Forgets the others, and gives them back. Nobody sets a remedy and its row meanwhile: the row and the remedy are seen as
-- one transaction left them.
CREATE FUNCTION citus_ha.forget_stale_remedies() RETURNS SETOF citus_ha.remedy
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE citus_ha.remedy IN SHARE ROW EXCLUSIVE MODE;
  RETURN QUERY
    DELETE FROM citus_ha.remedy r
     WHERE NOT EXISTS (SELECT FROM citus_ha.standing_remedies() s WHERE s.nodeid = r.nodeid) RETURNING r.*;
END $$;

-- Takes a secondary's row away, by its address or, where a remedy has lent the row out, by that of its node; and what
-- is remembered of it. Gives back the row, null where there is none. Never a primary's, never a clone's. As above, no
-- other node is spoken to.
CREATE FUNCTION citus_ha.forget_node(host text, port int, made_by text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before jsonb;
  node pg_dist_node;
BEGIN
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;
  before := citus_ha.read_copy() -> 'rows';
  SELECT n.* INTO node FROM pg_dist_node n LEFT JOIN citus_ha.standing_remedies() r USING (nodeid)
   WHERE (n.nodename, n.nodeport) = (host, port) OR (r.nodename, r.nodeport) = (host, port)
   ORDER BY (n.nodename, n.nodeport) = (host, port) DESC LIMIT 1;
  IF NOT FOUND THEN
    RETURN NULL;
  ELSIF node.noderole <> 'secondary' OR coalesce((to_jsonb(node) ->> 'nodeisclone')::boolean, false) THEN
    RAISE EXCEPTION '%:% is no secondary', host, port USING ERRCODE = 'HA004';
  END IF;
  DELETE FROM citus_ha.former_address f
   USING (SELECT host, port UNION SELECT node.nodename, node.nodeport
          UNION SELECT r.nodename, r.nodeport FROM citus_ha.standing_remedies() r WHERE r.nodeid = node.nodeid) AS a(host, port)
   WHERE f.groupid = node.groupid AND f.nodeport = a.port
     AND citus_ha.canonical_host(f.nodename) = citus_ha.canonical_host(a.host);
  DELETE FROM citus_ha.remedy r WHERE r.nodeid = node.nodeid;
  PERFORM set_config('citus.enable_metadata_sync', 'off', true);
  PERFORM citus_ha.move_node(node.nodeid, citus_ha.parking_host(node.nodeid), node.nodeport);
  PERFORM citus_remove_node(citus_ha.parking_host(node.nodeid), node.nodeport);
  PERFORM citus_ha.record_own_change(node.groupid, format('forgot %s:%s', host, port), '[]', before, made_by);
  RETURN to_jsonb(node);
END $$;

-- What a switchover is about to do, an array of {"group", "from": {host, port}, "to": {host, port}, "phase",
-- "byCommand", "stopped", "madeBy"}. The newest word on a group counts. Every survey connects to both addresses.
CREATE FUNCTION citus_ha.intend(intents jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM citus_ha.require_address((i ->> 'group')::int, a ->> 'host', (a ->> 'port')::int)
     FROM jsonb_array_elements(intents) AS i, LATERAL (VALUES (i -> 'from'), (i -> 'to')) AS named(a);
  INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by)
  SELECT (i ->> 'group')::int, i #>> '{from,host}', (i #>> '{from,port}')::int, i #>> '{to,host}',
         (i #>> '{to,port}')::int, i ->> 'phase', (i ->> 'byCommand')::boolean, (i ->> 'stopped')::boolean,
         format('%s as %s from %s', i ->> 'madeBy', session_user, coalesce(host(inet_client_addr()), 'local'))
    FROM jsonb_array_elements(intents) AS i
  ON CONFLICT (groupid) DO UPDATE
     SET from_host = excluded.from_host, from_port = excluded.from_port, to_host = excluded.to_host,
         to_port = excluded.to_port, phase = excluded.phase, by_command = excluded.by_command,
         stopped = excluded.stopped, made_by = excluded.made_by;
END $$;

-- That it is done with, undone or overtaken.
CREATE FUNCTION citus_ha.forget_intents(of_groups int[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM citus_ha.intent i WHERE i.groupid = ANY (of_groups)
$$;

-- Pauses a group, or with NULL the whole cluster. One that is paused stays as it is: who was first is kept.
-- Gives back {"changed", "pause": the row in force, "pauses": all of them}. The table lock, and a transaction that
-- is READ COMMITTED, make of two calls at once one after the other.
CREATE FUNCTION citus_ha.pause_changes(of_group int, made_by text, why text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changed boolean;
BEGIN
  LOCK TABLE citus_ha.pause IN SHARE ROW EXCLUSIVE MODE;
  INSERT INTO citus_ha.pause (groupid, by, why)
  VALUES (of_group, format('%s as %s from %s', made_by, session_user, coalesce(host(inet_client_addr()), 'local')),
          pause_changes.why)
  ON CONFLICT DO NOTHING;
  changed := FOUND;
  RETURN jsonb_build_object('changed', changed,
    'pause', (SELECT to_jsonb(p) FROM citus_ha.pause p WHERE p.groupid IS NOT DISTINCT FROM of_group),
    'pauses', (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.groupid NULLS FIRST) FROM citus_ha.pause p));
END $$;

-- Ends the pause of a group, or with NULL the whole cluster's; never another one. Gives back {"changed", "pause": the
-- one that was ended or null, "pauses": those that are left}.
CREATE FUNCTION citus_ha.resume_changes(of_group int) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended jsonb;
BEGIN
  LOCK TABLE citus_ha.pause IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM citus_ha.pause p WHERE p.groupid IS NOT DISTINCT FROM of_group RETURNING to_jsonb(p) INTO ended;
  RETURN jsonb_build_object('changed', ended IS NOT NULL, 'pause', ended,
    'pauses', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.groupid NULLS FIRST), '[]') FROM citus_ha.pause p));
END $$;

-- Takes the lease, or renews it, where it is free, expired or the caller's own; by this server's clock, read when the
-- row is locked. For sessions that are READ COMMITTED: others get 40001 where somebody else was quicker.
CREATE FUNCTION citus_ha.hold_lease(who text, ttl_ms int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- For the transaction, past the end of this function: a lease is nothing to wait for a standby for.
  PERFORM set_config('synchronous_commit', 'local', true);
  INSERT INTO citus_ha.lease AS l (holder, expires_at) VALUES (who, clock_timestamp() + ttl_ms * interval '1 ms')
  ON CONFLICT (singleton) DO UPDATE
     SET holder = who, expires_at = clock_timestamp() + ttl_ms * interval '1 ms'
   WHERE l.holder = who OR l.expires_at <= clock_timestamp();
  RETURN FOUND;
END $$;

CREATE FUNCTION citus_ha.drop_lease(who text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'local', true);
  DELETE FROM citus_ha.lease l WHERE l.holder = who;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA citus_ha FROM PUBLIC;
