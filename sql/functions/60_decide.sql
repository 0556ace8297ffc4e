-- Functions of the schema citus_ha: what is recorded of a change.

-- What was proved of a group's line: an array of {"group", "systemIdentifier", "timeline", "history"}.
-- Outside of a decision it only goes forward: whoever was stopped and wakes up late must not undo newer truth.
CREATE OR REPLACE FUNCTION citus_ha.set_lineage(proofs jsonb, may_go_back boolean) RETURNS void
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

CREATE OR REPLACE FUNCTION citus_ha.record_lineage(proofs jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT citus_ha.set_lineage(proofs, false)
$$;

-- The decision, on the coordinator, in the transaction whose commit makes it: the change, what it proved,
-- the remedies it set and those it ended.
CREATE OR REPLACE FUNCTION citus_ha.decide(decision jsonb) RETURNS void
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
CREATE OR REPLACE FUNCTION citus_ha.record_own_change(of_group int, reason text, evidence jsonb, rows_before jsonb, made_by text)
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
