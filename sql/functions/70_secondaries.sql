-- Functions of the schema citus_ha: rows of secondaries: registered, lent out, forgotten.

-- Gives a standby a row of its own as a secondary, on the coordinator, by Citus's own function; gives back its nodeid.
-- {"group", "address", "primary", "cluster", "rack" (null: Citus's default), "madeBy", "evidence"}; `primary` is what
-- the group's primary row has to say.
--
-- No other node is spoken to while locks are held: with Citus's own sync in the transaction, a metadata worker that
-- hangs would keep it, and pg_dist_node, for as long as it hangs, through every timeout and pg_terminate_backend
-- (Citus 13.2.2). So that sync is off here, and the row is moved away and back, which wakes Citus's maintenance daemon
-- at the commit: it ships the rows to every metadata worker.
CREATE OR REPLACE FUNCTION citus_ha.register_secondary(standby jsonb) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  of_group int := (standby ->> 'group')::int;
  host text := standby #>> '{address,host}';
  port int := (standby #>> '{address,port}')::int;
  before jsonb;
  id int;
BEGIN
  PERFORM citus_ha.require('change', 'register_secondary');
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
CREATE OR REPLACE FUNCTION citus_ha.standing_remedies() RETURNS SETOF citus_ha.remedy
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT r.* FROM citus_ha.remedy r JOIN pg_dist_node n USING (nodeid)
   WHERE (n.nodename, n.nodeport) = (r.given_host, r.given_port)
     AND ((r.given_host, r.given_port) <> (r.nodename, r.nodeport) OR NOT n.isactive)
$$;

-- Forgets the others, and gives them back. Nobody sets a remedy and its row meanwhile: the row and the remedy are seen as
-- one transaction left them.
CREATE OR REPLACE FUNCTION citus_ha.forget_stale_remedies() RETURNS SETOF citus_ha.remedy
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  LOCK TABLE citus_ha.remedy IN SHARE ROW EXCLUSIVE MODE;
  RETURN QUERY
    DELETE FROM citus_ha.remedy r
     WHERE NOT EXISTS (SELECT FROM citus_ha.standing_remedies() s WHERE s.nodeid = r.nodeid) RETURNING r.*;
END $$;

-- Takes a secondary's row away, by its address or, where a remedy has lent the row out, by that of its node; and what
-- is remembered of it. Gives back the row, null where there is none. Never a primary's, never a clone's. As above, no
-- other node is spoken to.
CREATE OR REPLACE FUNCTION citus_ha.forget_node(host text, port int, made_by text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  before jsonb;
  node pg_dist_node;
BEGIN
  PERFORM citus_ha.require('change', 'forget_node');
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
