-- Functions of the schema citus_ha: pauses and the lease.

-- Pauses a group, or with NULL the whole cluster; on the coordinator, where it is read. One that is paused stays as it is: who was first is kept.
-- Gives back {"changed", "pause": the row in force, "pauses": all of them}. The table lock, and a transaction that
-- is READ COMMITTED, make of two calls at once one after the other.
CREATE OR REPLACE FUNCTION citus_ha.pause_changes(of_group int, made_by text, why text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  changed boolean;
BEGIN
  LOCK TABLE citus_ha.pause IN SHARE ROW EXCLUSIVE MODE;
  -- Looked at with the lock: whoever waited for a switchover may be on an old primary by now.
  PERFORM citus_ha.require('coordinator', 'pause_changes');
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
CREATE OR REPLACE FUNCTION citus_ha.resume_changes(of_group int) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  ended jsonb;
BEGIN
  LOCK TABLE citus_ha.pause IN SHARE ROW EXCLUSIVE MODE;
  -- Looked at with the lock: whoever waited for a switchover may be on an old primary by now.
  PERFORM citus_ha.require('coordinator', 'resume_changes');
  DELETE FROM citus_ha.pause p WHERE p.groupid IS NOT DISTINCT FROM of_group RETURNING to_jsonb(p) INTO ended;
  RETURN jsonb_build_object('changed', ended IS NOT NULL, 'pause', ended,
    'pauses', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.groupid NULLS FIRST), '[]') FROM citus_ha.pause p));
END $$;

-- Takes the lead for the transaction, where it is free or the caller's own already. The second time it queues, before who
-- was ended can be there again.
CREATE OR REPLACE FUNCTION citus_ha.take_lead() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin SET lock_timeout = '200ms' AS $$
BEGIN
  BEGIN
    LOCK TABLE citus_ha.lead_lock IN EXCLUSIVE MODE NOWAIT;
    RETURN true;
  EXCEPTION WHEN lock_not_available THEN  -- caught here: as an error of the statement it would be in the server's log each time
    IF NOT citus_ha.end_strangers('citus_ha.lead_lock') THEN
      RETURN false;
    END IF;
  END;
  LOCK TABLE citus_ha.lead_lock IN EXCLUSIVE MODE;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END $$;
