-- Functions of the schema citus_ha: what a switchover is about to do.

-- What this server was given by ALTER SYSTEM of the settings that a switchover changes, by name.
CREATE OR REPLACE FUNCTION citus_ha.own_settings() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  -- Whoever installed the schema may be no superuser: then nothing is known to have been set.
  IF NOT has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') THEN
    RETURN '{}';
  END IF;
  RETURN (SELECT coalesce(jsonb_object_agg(f.name, f.setting ORDER BY f.seqno), '{}') FROM pg_file_settings f
           WHERE f.sourcefile = current_setting('data_directory') || '/postgresql.auto.conf'
             AND f.name IN ('default_transaction_read_only', 'citus.recover_2pc_interval',
                            'citus.defer_shard_delete_interval', 'citus.background_task_queue_interval'));
END $$;

-- What a switchover is about to do, an array of {"group", "from": {host, port}, "to": {host, port}, "phase",
-- "byCommand", "stopped", "madeBy", "run"}. The newest word of a run on a group counts; what another run has left behind is
-- settled first, and not written over. Every survey connects to both addresses.
-- On the coordinator, and on the old primary itself, which remembers there what it was set to before.
CREATE OR REPLACE FUNCTION citus_ha.intend(intents jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  written int;
BEGIN
  IF jsonb_array_length(intents) = 0 THEN  -- a session that is made warm
    PERFORM citus_ha.require('anywhere', 'intend'), citus_ha.may_have_address(0, '', 0);
  END IF;
  -- What a run has written down already it may go on with: its fence may be over by then.
  IF EXISTS (SELECT FROM jsonb_array_elements(intents) AS i
              WHERE NOT EXISTS (SELECT FROM citus_ha.intent own
                                 WHERE own.groupid = (i ->> 'group')::int AND own.run = i ->> 'run')) THEN
    PERFORM citus_ha.require('under way', 'intend');
  END IF;
  PERFORM citus_ha.require_address((i ->> 'group')::int, a ->> 'host', (a ->> 'port')::int)
     FROM jsonb_array_elements(intents) AS i, LATERAL (VALUES (i -> 'from'), (i -> 'to')) AS named(a);
  INSERT INTO citus_ha.intent AS own (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by, settings, run)
  SELECT (i ->> 'group')::int, i #>> '{from,host}', (i #>> '{from,port}')::int, i #>> '{to,host}',
         (i #>> '{to,port}')::int, i ->> 'phase', (i ->> 'byCommand')::boolean, (i ->> 'stopped')::boolean,
         format('%s as %s from %s', i ->> 'madeBy', session_user, coalesce(host(inet_client_addr()), 'local')),
         CASE WHEN (i ->> 'group')::int = citus_ha.own_group() THEN citus_ha.own_settings() END, i ->> 'run'
    FROM jsonb_array_elements(intents) AS i
  ON CONFLICT (groupid) DO UPDATE
     SET from_host = excluded.from_host, from_port = excluded.from_port, to_host = excluded.to_host,
         to_port = excluded.to_port, phase = excluded.phase, by_command = excluded.by_command,
         stopped = excluded.stopped, made_by = excluded.made_by, settings = coalesce(own.settings, excluded.settings)
   WHERE own.run = excluded.run;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written < jsonb_array_length(intents) THEN
    RAISE EXCEPTION 'another switchover has left something behind' USING ERRCODE = 'HA002';
  END IF;
END $$;

-- That a run is done with them, undone or overtaken. Whoever settles what was left behind has read which run it was.
CREATE OR REPLACE FUNCTION citus_ha.forget_intents(of_groups int[], of_run text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  IF of_run IS NULL THEN
    RAISE EXCEPTION 'citus_ha.forget_intents() does nothing here: of which run is not said' USING ERRCODE = 'HA005';
  END IF;
  DELETE FROM citus_ha.intent i WHERE i.groupid = ANY (of_groups) AND i.run = of_run;
END $$;

-- Whoever carries on a promotion that a run has left behind makes it his own first, there where that run would write down that it
-- is undone: whichever of the two comes first, the other comes to nothing. Whether it was still to be carried on.
CREATE OR REPLACE FUNCTION citus_ha.take_over_intent(of_group int, of_run text, by_run text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  IF of_run IS NULL OR by_run IS NULL THEN
    RAISE EXCEPTION 'citus_ha.take_over_intent() does nothing here: from which run, and for which, is not said' USING ERRCODE = 'HA005';
  END IF;
  UPDATE citus_ha.intent i SET run = by_run WHERE i.groupid = of_group AND i.run = of_run AND i.phase = 'promoting';
  RETURN FOUND;
END $$;
