-- Functions of the schema citus_ha: what is recorded of a change.

-- Whether a line with that history came from a timeline, by the way that one came. Both as in citus_ha.lineage.
CREATE OR REPLACE FUNCTION citus_ha.continues(history text, of_timeline int, of_history text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT left(history, length(f.first)) = f.first
    FROM (SELECT CASE of_history WHEN '' THEN '' ELSE of_history || E'\n' END || of_timeline || E'\t') AS f(first)
$$;

-- What was proved of a group's line: an array of {"group", "systemIdentifier", "timeline", "history", "vouched"}.
-- Outside of a decision it only goes forward, to a timeline that came from the recorded one: whoever was stopped and wakes
-- up late, or believes in a backup, must not undo newer truth. What a person vouched for may be another line. How far the
-- servers were known to be counts for that line alone.
CREATE OR REPLACE FUNCTION citus_ha.set_lineage(proofs jsonb, may_go_back boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  INSERT INTO citus_ha.lineage AS l (groupid, system_identifier, timeline, history)
  SELECT (p ->> 'group')::int, p ->> 'systemIdentifier', (p ->> 'timeline')::int, p ->> 'history'
    FROM jsonb_array_elements(proofs) AS p
  ON CONFLICT (groupid) DO UPDATE
     SET system_identifier = excluded.system_identifier, timeline = excluded.timeline,
         history = excluded.history, positions = '[]', recorded_at = now()
   WHERE CASE WHEN may_go_back OR EXISTS (SELECT FROM jsonb_array_elements(proofs) AS v
                                           WHERE (v ->> 'group')::int = l.groupid AND (v ->> 'vouched')::boolean)
              THEN (l.system_identifier, l.timeline, l.history, l.positions)
                     IS DISTINCT FROM (excluded.system_identifier, excluded.timeline, excluded.history, '[]'::jsonb)
              ELSE l.system_identifier = excluded.system_identifier AND l.timeline < excluded.timeline
                   AND citus_ha.continues(excluded.history, l.timeline, l.history) END;
  -- A coordinator that a person took from a backup may be on a lower timeline than the changes were made under that are
  -- given up: epochs go on from there, else this node would take part in none of its changes.
  UPDATE citus_ha.epoch e SET coordinator_timeline = (v ->> 'timeline')::int
    FROM jsonb_array_elements(proofs) AS v
   WHERE (v ->> 'group')::int = 0 AND (v ->> 'vouched')::boolean AND e.coordinator_timeline > (v ->> 'timeline')::int;
END $$;

-- Of the coordinator's group and of those that have rows. What a person vouched for, and what he gave up with it, goes in with
-- a locked copy.
CREATE OR REPLACE FUNCTION citus_ha.record_lineage(proofs jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  proof jsonb;
BEGIN
  FOR proof IN SELECT * FROM jsonb_array_elements(proofs) LOOP
    IF (proof ->> 'vouched')::boolean THEN
      PERFORM citus_ha.require('copy', 'record_lineage');
    ELSIF (proof ->> 'group')::int <> 0
          AND NOT EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = (proof ->> 'group')::int) THEN
      RAISE EXCEPTION 'citus_ha.record_lineage() does nothing here: there is no group %', proof ->> 'group' USING ERRCODE = 'HA005';
    ELSIF (proof ->> 'timeline')::int > 1000 + (SELECT l.timeline FROM citus_ha.lineage l WHERE l.groupid = (proof ->> 'group')::int) THEN
      RAISE EXCEPTION 'timeline % of group % cannot follow the one on record', proof ->> 'timeline', proof ->> 'group'
        USING ERRCODE = 'HA004';
    END IF;
  END LOOP;
  PERFORM citus_ha.set_lineage(proofs, false);
END $$;

-- How far servers were seen to be: an array of {"group", "systemIdentifier", "timeline", "history", "host", "port",
-- "inRecovery", "lsn"}. What is not of the line that is on record is left out; of each server the furthest is kept.
CREATE OR REPLACE FUNCTION citus_ha.record_positions(seen jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
  UPDATE citus_ha.lineage l
     SET positions = (
       SELECT coalesce(jsonb_agg(jsonb_build_object('host', k.host, 'port', k.port, 'in_recovery', k.in_recovery,
                                                    'lsn', k.lsn::text, 'at_ms', k.at_ms) ORDER BY k.host, k.port), '[]')
         FROM (SELECT DISTINCT ON (u.host, u.port) u.*
                 FROM (SELECT p ->> 'host', (p ->> 'port')::int, (p ->> 'in_recovery')::boolean,
                              (p ->> 'lsn')::numeric, (p ->> 'at_ms')::numeric
                         FROM jsonb_array_elements(l.positions) AS p
                       UNION ALL
                       SELECT s ->> 'host', (s ->> 'port')::int, (s ->> 'inRecovery')::boolean, (s ->> 'lsn')::numeric,
                              trunc(extract(epoch FROM clock_timestamp())::numeric * 1000::numeric)
                         FROM jsonb_array_elements(seen) AS s
                        WHERE s ->> 'lsn' ~ '^[0-9]{1,20}$'  -- numeric knows NaN
                          AND (s ->> 'group')::int = l.groupid AND s ->> 'systemIdentifier' = l.system_identifier
                          AND (s ->> 'timeline')::int = l.timeline AND s ->> 'history' = l.history
                      ) AS u(host, port, in_recovery, lsn, at_ms)
                ORDER BY u.host, u.port, u.lsn DESC, u.at_ms DESC) AS k)
   WHERE l.groupid IN (SELECT (s ->> 'group')::int FROM jsonb_array_elements(seen) AS s)
$$;

-- What a person vouched for, where no row changed with it, written down as a decision.
CREATE OR REPLACE FUNCTION citus_ha.record_vouched(proofs jsonb, evidence jsonb, made_by text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  proof jsonb;
BEGIN
  PERFORM citus_ha.require('change', 'record_vouched');
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;
  FOR proof IN SELECT * FROM jsonb_array_elements(proofs) LOOP
    PERFORM citus_ha.record_own_change((proof ->> 'group')::int, format('vouched for timeline %s', proof ->> 'timeline'),
      evidence, citus_ha.read_copy() -> 'rows', made_by);
  END LOOP;
  PERFORM citus_ha.set_lineage(proofs, true);
END $$;

-- The decision, on the coordinator, in the transaction whose commit makes it, and which holds the change lock: the change, what it proved,
-- the remedies it set and those it ended.
CREATE OR REPLACE FUNCTION citus_ha.decide(decision jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('change', 'decide');
  IF NOT EXISTS (SELECT FROM citus_ha.epoch e WHERE e.coordinator_timeline = (decision ->> 'timeline')::int
                                                AND e.epoch = (decision ->> 'epoch')::bigint) THEN
    RAISE EXCEPTION 'citus_ha.decide() does nothing here: this copy was not rewritten in epoch % of coordinator timeline %',
      decision ->> 'epoch', decision ->> 'timeline' USING ERRCODE = 'HA005';
  END IF;
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
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
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
