-- The stand-in, part 3: how one node speaks to another, by dblink.
--
-- Imitates: connection/*.c, transaction/worker_transaction.c, operations/health_check.c.
-- Same: application_name 'citus_internal …', who is asked, the errors, connections on a bare role's behalf,
-- "cannot use 2PC in transactions involving multiple servers" after a change that was sent to the workers.
-- Left out: connection cache, SSL, pg_dist_authinfo, and the two-phase commit behind a change sent to the
-- workers: it is committed there when the function returns, and stays if the caller then rolls back.

-- What a transaction leaves behind for the moment it ends: 'resync' wakes the maintenance daemon, 'coordinated'
-- forbids PREPARE TRANSACTION. Citus keeps both in its process's memory, and the first one survives PREPARE
-- there: the session's own COMMIT PREPARED (or whatever it commits next) wakes the daemon, another session's
-- does not.
CREATE TABLE citus_standin.commit_note (
  id            bigserial PRIMARY KEY,
  kind          text NOT NULL CHECK (kind IN ('resync', 'coordinated')),
  awake         boolean NOT NULL DEFAULT false,
  prepared_by   int,          -- the session that has to commit something yet
  backend_start timestamptz
);

CREATE FUNCTION citus_standin.at_transaction_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.kind = 'coordinated' THEN
    IF current_query() ~* '\mprepare\s+transaction\M' THEN
      RAISE EXCEPTION 'cannot use 2PC in transactions involving multiple servers'
        USING ERRCODE = 'feature_not_supported';
    END IF;
    DELETE FROM citus_standin.commit_note WHERE id = NEW.id;
  ELSIF current_query() ~* '\mprepare\s+transaction\M' THEN
    UPDATE citus_standin.commit_note n SET prepared_by = a.pid, backend_start = a.backend_start
      FROM pg_stat_activity a WHERE n.id = NEW.id AND a.pid = pg_backend_pid();
  ELSE
    UPDATE citus_standin.commit_note SET awake = true WHERE id = NEW.id;
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_transaction_end AFTER INSERT ON citus_standin.commit_note
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION citus_standin.at_transaction_end();
ALTER TABLE citus_standin.commit_note ENABLE ALWAYS TRIGGER at_transaction_end;

-- A setting of Citus's that is a duration, in milliseconds when it has no unit.
CREATE FUNCTION citus_standin.duration_setting(setting text, otherwise interval) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(regexp_replace(nullif(current_setting(setting, true), ''), '^\d+$', '\& ms')::interval, otherwise)
$$;

CREATE FUNCTION citus_standin.connection_string(host text, port int, as_role text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('host=%L port=%s dbname=%L user=%L connect_timeout=%s application_name=%L',
    host, port, current_database(), as_role,
    ceil(extract(epoch FROM citus_standin.duration_setting('citus.node_connection_timeout', '30 s')))::int,
    'citus_internal gpid=' || coalesce((SELECT n.nodeid FROM pg_dist_node n JOIN pg_dist_local_group g USING (groupid)
      WHERE n.noderole = 'primary'), 0) * 10000000000 + pg_backend_pid())
$$;

-- A second session on this very server; returns its name.
CREATE FUNCTION citus_standin.connect_here() RETURNS text
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM citus_standin.disconnect('citus_standin here');
  PERFORM dblink_connect('citus_standin here', citus_standin.connection_string(
    coalesce(nullif(split_part(current_setting('unix_socket_directories'), ',', 1), ''), '127.0.0.1'),
    current_setting('port')::int, current_user));
  RETURN 'citus_standin here';
END $$;

-- Returns once somebody answers there, whatever; 08006 where nobody does within citus.node_connection_timeout. Another
-- session tries it: libpq's own limit is 2 s at least, before PostgreSQL 16 nothing can cancel a dblink_connect, and
-- from then on connect_timeout does not limit it.
CREATE FUNCTION citus_standin.await_answer(host text, port int, as_role text) RETURNS void
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
DECLARE
  here text := citus_standin.connect_here();
  patience interval := citus_standin.duration_setting('citus.node_connection_timeout', '30 s');
  begun timestamptz := clock_timestamp();
BEGIN
  -- Its own limit, a later one, is for the case that this session is cancelled meanwhile.
  PERFORM dblink_send_query(here, format('SET statement_timeout = %s; SELECT citus_standin.dblink_connect(%L)',
    (extract(epoch FROM patience) * 1000)::int + 1000, citus_standin.connection_string(host, port, as_role)));
  WHILE dblink_is_busy(here) = 1 LOOP
    IF clock_timestamp() - begun > patience THEN
      PERFORM citus_standin.disconnect(here);
      RAISE WARNING 'could not establish connection after % ms', (extract(epoch FROM patience) * 1000)::int;
      RAISE EXCEPTION 'connection to the remote node %@%:% failed', as_role, host, port
        USING ERRCODE = 'connection_failure';
    END IF;
    PERFORM pg_sleep(0.001);
  END LOOP;
  PERFORM FROM dblink_get_result(here) AS r(value text);  -- of SET
  PERFORM FROM dblink_get_result(here) AS r(value text);  -- raises what went wrong
  PERFORM citus_standin.disconnect(here);
END $$;

-- Opens a named connection, anew if it was left open; returns its name. 08006 when there is nobody.
CREATE FUNCTION citus_standin.connect_to(host text, port int, as_role text DEFAULT current_user) RETURNS text
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
DECLARE
  connection text := format('citus_standin %s:%s', host, port);
  reason text;
BEGIN
  PERFORM citus_standin.disconnect(connection);
  PERFORM citus_standin.await_answer(host, port, as_role);
  PERFORM dblink_connect(connection, citus_standin.connection_string(host, port, as_role));
  RETURN connection;
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
  GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
  RAISE EXCEPTION 'connection to the remote node %@%:% failed with the following error: %', as_role, host, port, reason
    USING ERRCODE = 'connection_failure';
END $$;

CREATE FUNCTION citus_standin.disconnect(connection text) RETURNS void
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
BEGIN
  IF connection = ANY (dblink_get_connections()) THEN
    PERFORM dblink_disconnect(connection);
  END IF;
END $$;

CREATE FUNCTION citus_standin.disconnect_all() RETURNS void
LANGUAGE sql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
  SELECT count(dblink_disconnect(c)) FROM unnest(dblink_get_connections()) AS c WHERE c LIKE 'citus_standin %'
$$;

-- Runs one statement and returns the first column of its first row, or the command's tag. Waits by polling:
-- before PostgreSQL 17 a blocking dblink call can't be cancelled, and a worker may hang.
CREATE FUNCTION citus_standin.run_on(connection text, statement text) RETURNS text
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
DECLARE
  answer text;
BEGIN
  IF dblink_send_query(connection, statement) <> 1 THEN
    RAISE EXCEPTION '%', dblink_error_message(connection) USING ERRCODE = 'connection_failure';
  END IF;
  WHILE dblink_is_busy(connection) = 1 LOOP
    PERFORM pg_sleep(0.001);
  END LOOP;
  SELECT r.value INTO answer FROM dblink_get_result(connection) AS r(value text);
  PERFORM FROM dblink_get_result(connection) AS r(value text);  -- tells dblink that the answer was taken whole
  RETURN answer;
END $$;

-- One transaction there, committed before this returns.
CREATE FUNCTION citus_standin.run_at(host text, port int, statements text[]) RETURNS void
LANGUAGE plpgsql SET search_path = citus_standin, pg_catalog, pg_temp AS $$
DECLARE
  connection text := citus_standin.connect_to(host, port);
  statement text;
BEGIN
  FOREACH statement IN ARRAY ARRAY['BEGIN'] || statements || ARRAY['COMMIT'] LOOP
    PERFORM citus_standin.run_on(connection, statement);
  END LOOP;
  PERFORM citus_standin.disconnect(connection);
END $$;

-- The workers that have a copy of the metadata; an error when one of them is known to be behind.
CREATE FUNCTION citus_standin.synced_metadata_workers() RETURNS SETOF pg_dist_node
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node pg_dist_node;
BEGIN
  FOR node IN SELECT * FROM pg_dist_node n
    WHERE n.groupid <> 0 AND n.noderole = 'primary' AND n.hasmetadata AND n.isactive ORDER BY n.nodename, n.nodeport
  LOOP
    IF NOT node.metadatasynced THEN
      RAISE EXCEPTION '%:% is a metadata node, but is out of sync', node.nodename, node.nodeport
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'If the node is up, wait until metadata gets synced to it and try again.';
    END IF;
    RETURN NEXT node;
  END LOOP;
END $$;

CREATE FUNCTION citus_standin.send_to_metadata_workers(statements text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF lower(coalesce(current_setting('citus.enable_metadata_sync', true), 'on')) NOT IN ('off', 'false', 'no', '0') THEN
    PERFORM citus_standin.run_at(w.nodename, w.nodeport, statements) FROM citus_standin.synced_metadata_workers() w;
    IF FOUND THEN
      INSERT INTO citus_standin.commit_note (kind) VALUES ('coordinated');
    END IF;
  END IF;
END $$;

CREATE FUNCTION pg_catalog.citus_check_connection_to_node(nodename text, nodeport int DEFAULT 5432) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  connection text;
BEGIN
  connection := citus_standin.connect_to(nodename, nodeport, session_user);
  PERFORM citus_standin.run_on(connection, 'SELECT 1');
  PERFORM citus_standin.disconnect(connection);
  RETURN true;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING '%', SQLERRM USING ERRCODE = SQLSTATE;
  RETURN false;
END $$;

CREATE FUNCTION pg_catalog.citus_check_cluster_node_health(
  OUT from_nodename text, OUT from_nodeport int, OUT to_nodename text, OUT to_nodeport int, OUT result boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  connection text;
  readable pg_catalog.noderole := CASE current_setting('citus.use_secondary_nodes', true)
    WHEN 'always' THEN 'secondary' ELSE 'primary' END;
BEGIN
  FOR from_nodename, from_nodeport, to_nodename, to_nodeport IN
    SELECT f.nodename, f.nodeport, t.nodename, t.nodeport FROM pg_dist_node f, pg_dist_node t
     WHERE f.isactive AND t.isactive AND f.noderole = readable AND t.noderole = readable
     ORDER BY f.nodename, f.nodeport, t.nodename, t.nodeport
  LOOP
    BEGIN
      connection := citus_standin.connect_to(from_nodename, from_nodeport, session_user);
      result := citus_standin.run_on(connection,
        format('SELECT citus_check_connection_to_node(%L, %s)::text', to_nodename, to_nodeport))::boolean;
      PERFORM citus_standin.disconnect(connection);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING '%', SQLERRM USING ERRCODE = SQLSTATE;
      result := NULL;
    END;
    RETURN NEXT;
  END LOOP;
END $$;
