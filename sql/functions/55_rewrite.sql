-- Functions of the schema citus_ha: the rewrite of one copy.

-- Makes the row the one that Citus reads of its group's secondaries in its cluster: the first in the table's physical
-- order. Every update of another one writes it to a new place; the free places in front run out.
CREATE OR REPLACE FUNCTION citus_ha.read_first(of_nodeid int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
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
-- Two may be at it at once, each in a transaction that says so by a fence, be it of no group.
CREATE OR REPLACE FUNCTION citus_ha.guard_transactions(degraded int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('fence', 'guard_transactions');
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
CREATE OR REPLACE FUNCTION citus_ha.take_step(step jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
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

-- Rewrites this copy, inside the change (coordinator_timeline, epoch), and inside a fence.
--   steps     as of take_step, in order
--   unsynced  nodeids of metadata nodes whose own copy this change could not reach; Citus's daemon brings
--             them up to date when they are back. The flag of every other row is left as it was.
CREATE OR REPLACE FUNCTION citus_ha.rewrite(change_timeline int, change_epoch bigint, steps jsonb, unsynced int[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  synced int[];
  last citus_ha.epoch;
  step jsonb;
  flagged record;
BEGIN
  PERFORM citus_ha.require('fence', 'rewrite');
  -- A change counts on from the last: who could write any number down here would keep every later change out.
  SELECT * INTO last FROM citus_ha.epoch;
  IF change_epoch > last.epoch + 1000000
     OR change_timeline > (CASE last.coordinator_timeline WHEN 0 THEN 100000 ELSE last.coordinator_timeline + 1000 END) THEN
    RAISE EXCEPTION 'epoch % of coordinator timeline % cannot follow epoch % of %', change_epoch, change_timeline,
      last.epoch, last.coordinator_timeline USING ERRCODE = 'HA004';
  END IF;
  UPDATE citus_ha.epoch e SET coordinator_timeline = change_timeline, epoch = change_epoch
   WHERE (e.coordinator_timeline, e.epoch) < (change_timeline, change_epoch);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'a newer change than epoch % of coordinator timeline % was here', change_epoch, change_timeline
      USING ERRCODE = 'HA001';
  END IF;
  SELECT coalesce(array_agg(n.nodeid), '{}') INTO synced FROM pg_dist_node n WHERE n.metadatasynced;

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

  -- What a switchover has written down about this group came here with the old primary's WAL. Where somebody else than its
  -- target has taken over, nobody is left whom it is about; an old primary that it holds keeps it until that is undone.
  DELETE FROM citus_ha.intent i
   WHERE EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = i.groupid AND n.noderole = 'primary'
                    AND n.nodename = i.to_host AND n.nodeport = i.to_port)
      OR (i.groupid = citus_ha.own_group() AND i.groupid <> 0
          AND NOT EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = i.groupid AND n.noderole = 'primary'
                             AND n.nodename = i.from_host AND n.nodeport = i.from_port)
          AND NOT citus_ha.own_settings() ? 'default_transaction_read_only');

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
END $$;
