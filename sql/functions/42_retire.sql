-- Functions of the schema citus_ha: an old primary that runs on is kept from the living.
--
-- Citus names its distributed transactions by the group of the node that began them, and each node's maintenance daemon
-- rolls back, on all others, those of its own group that it has no record of. An old primary that runs on has no record
-- of what its successor has just prepared. Read-only or not, it would roll that back.

-- Keeps Citus's 2PC recovery here from going on, for the transaction: one that is under way has come to its end, and the
-- next one waits. It holds this table while it is at work. So does each transaction over several nodes, from before it prepares
-- anything until its end: none that begins here is committed meanwhile, COPY included, which Citus lets through where all is
-- read-only. Gives back whether that could be had within lock_timeout. Where the
-- caller holds the shards, or of a server that is retired.
CREATE OR REPLACE FUNCTION citus_ha.hold_recovery() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('shards or retired', 'hold_recovery');
  LOCK TABLE pg_dist_transaction IN EXCLUSIVE MODE;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END $$;

-- Ends the maintenance daemons, of whatever database, that may not know yet that this server is not to recover any
-- transactions (citus.recover_2pc_interval is -1): they began before this session read so. A daemon does the round it is
-- in to its end. Gives back how many are still there. Those that anybody's next statement starts know it.
CREATE OR REPLACE FUNCTION citus_ha.end_maintenance_daemons() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('no recovery', 'end_maintenance_daemons');
  RETURN (SELECT count(*) FROM citus_ha.old_maintenance_daemons() AS d(pid) WHERE pg_terminate_backend(d.pid));
END $$;

-- The same of those whose round does not come to its end: a node that hangs is waited for, and pg_terminate_backend is not
-- looked at meanwhile, pg_cancel_backend is. What the round had done on other nodes stays, as after a crash.
CREATE OR REPLACE FUNCTION citus_ha.cancel_maintenance_daemons() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM citus_ha.require('no recovery', 'cancel_maintenance_daemons');
  RETURN (SELECT count(*) FROM citus_ha.old_maintenance_daemons() AS d(pid) WHERE pg_cancel_backend(d.pid));
END $$;

-- A function of its own: in one WHERE clause the planner may send the signal before it has looked at the other conditions.
CREATE OR REPLACE FUNCTION citus_ha.old_maintenance_daemons() RETURNS SETOF int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN QUERY
    SELECT a.pid FROM pg_stat_activity a
     WHERE a.backend_type LIKE 'Citus Maintenance Daemon%' AND a.backend_start < pg_conf_load_time();
END $$;

-- Ends whatever is connected to this database but sessions of citus-ha, of the same role, and what replicates: clients, jobs and
-- subscriptions. Each may have connections to other nodes open, over which it would go on writing there. Where the caller holds the
-- shards, or of a server that is retired.
CREATE OR REPLACE FUNCTION citus_ha.end_clients() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  backend int;
  ended int := 0;
BEGIN
  PERFORM citus_ha.require('shards or retired', 'end_clients');
  FOR backend IN
    SELECT a.pid FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
       AND a.backend_type NOT IN ('walsender', 'autovacuum worker', 'parallel worker')
       AND a.backend_type NOT LIKE 'Citus Maintenance Daemon%'
       AND NOT (a.usename = session_user AND a.application_name LIKE 'citus-ha%')
  LOOP
    IF pg_terminate_backend(backend) THEN
      ended := ended + 1;
    END IF;
  END LOOP;
  RETURN ended;
END $$;

-- Citus opens no connection from here to any node any more, in this database, for whomever: a row of pg_dist_poolinfo for each
-- node leads to a socket that is not there (`GetEffectiveConnKey` in connection_configuration.c). What distributed and reference
-- tables hold can't be read or written through this server then: it would be by old rows, half of a transaction would stay here, and
-- a reference table would differ from node to node. What somebody had written there for a node is kept under the same
-- number below zero. Not on an old coordinator that others stream from: its rows are theirs as well, and their clients read by them.
CREATE OR REPLACE FUNCTION citus_ha.cut_off(own int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF to_regclass('pg_catalog.pg_dist_poolinfo') IS NULL  -- Citus 11
     OR own = 0 AND EXISTS (SELECT FROM pg_stat_replication) THEN
    RETURN;
  END IF;
  UPDATE pg_dist_poolinfo SET nodeid = -nodeid WHERE nodeid > 0;
  INSERT INTO pg_dist_poolinfo (nodeid, poolinfo)
  SELECT n.nodeid, 'host=/an-old-primary-retired-by-citus-ha' FROM pg_dist_node n;
END $$;

-- On the shards of a retired server to which others may go on sending writes: refuses them.
CREATE OR REPLACE FUNCTION citus_ha.refuse_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RAISE EXCEPTION 'this server is an old primary, and takes no writes any more'
    USING ERRCODE = 'read_only_sql_transaction',
          HINT = 'Somebody has an old copy of pg_dist_node: citus-ha reconcile, on the new primary’s cluster, says who.';
END $$;

-- The same before each statement that writes, whatever session_replication_role is.
CREATE OR REPLACE FUNCTION citus_ha.refuse_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET client_min_messages = warning AS $$
DECLARE
  shard regclass;
BEGIN
  PERFORM citus_ha.require('shards', 'refuse_writes');
  PERFORM set_config('citus.enable_ddl_propagation', 'off', true), set_config('citus.enable_manual_changes_to_shards', 'on', true);
  FOR shard IN SELECT * FROM citus_ha.own_shards() LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS citus_ha_refuse_write ON %s', shard);
    EXECUTE format('CREATE TRIGGER citus_ha_refuse_write BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT EXECUTE PROCEDURE citus_ha.refuse_write()', shard);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER citus_ha_refuse_write', shard);
  END LOOP;
END $$;

-- Retires this server, an old primary whose successor is promoted, and whose shards the caller holds: {"group", "to": {host, port}, "madeBy",
-- "refuseWrites", "seen": {systemIdentifier, timeline, epoch: {timeline, epoch}}}. Not where this is another server than the one that was
-- seen, or another line of it, or, where an epoch is given, where a change has been made here since. From the
-- commit on its Citus is of a group that no group has, in every session and daemon, after a restart too: it recovers
-- nobody's transactions, and an old coordinator is none any more, which syncs no metadata; and it reaches no other node. What an old coordinator had to
-- do in the background is its successor's. A copy of the successor's data (pg_rewind, pg_basebackup) is whole again.
CREATE OR REPLACE FUNCTION citus_ha.retire(succession jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  own int := citus_ha.own_group();
  host text := succession #>> '{to,host}';
  port int := (succession #>> '{to,port}')::int;
  seen jsonb := succession -> 'seen';
  identity record;
  backend int;
BEGIN
  PERFORM citus_ha.require('shards', 'retire');
  SELECT * INTO identity FROM citus_ha.node_identity();
  IF identity.system_identifier <> seen ->> 'systemIdentifier' OR identity.timeline <> (seen ->> 'timeline')::int THEN
    RAISE EXCEPTION 'this is not the server that was seen: it is on timeline % of system %, not on timeline % of system %',
      identity.timeline, identity.system_identifier, seen ->> 'timeline', seen ->> 'systemIdentifier' USING ERRCODE = 'HA002';
  END IF;
  IF seen #> '{epoch,epoch}' IS NOT NULL AND NOT EXISTS (
       SELECT FROM citus_ha.epoch e WHERE e.coordinator_timeline = (seen #>> '{epoch,timeline}')::int
                                      AND e.epoch = (seen #>> '{epoch,epoch}')::bigint) THEN
    RAISE EXCEPTION 'a change has been made on this server since it was seen' USING ERRCODE = 'HA002';
  END IF;
  IF own IS DISTINCT FROM (succession ->> 'group')::int THEN
    RAISE EXCEPTION 'this server is of group %, not %', own, succession ->> 'group' USING ERRCODE = 'HA002';
  END IF;
  IF (succession ->> 'refuseWrites')::boolean THEN
    PERFORM citus_ha.refuse_writes();
  END IF;
  UPDATE pg_dist_local_group SET groupid = own + 1000000000 WHERE groupid = own;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO citus_ha.retired (groupid, successor_host, successor_port, made_by)
  VALUES (own, host, port,
          format('%s as %s from %s', succession ->> 'madeBy', session_user, coalesce(host(inet_client_addr()), 'local')))
  ON CONFLICT (singleton) DO UPDATE
     SET groupid = excluded.groupid, successor_host = excluded.successor_host, successor_port = excluded.successor_port,
         made_by = excluded.made_by, retired_at = clock_timestamp();
  PERFORM citus_ha.cut_off(own);
  IF to_regclass('pg_catalog.pg_dist_cleanup') IS NOT NULL THEN  -- Citus 11.2
    EXECUTE 'DELETE FROM pg_dist_cleanup';
  END IF;
  IF to_regclass('pg_catalog.pg_dist_background_task_depend') IS NOT NULL THEN  -- Citus 11.1
    EXECUTE 'DELETE FROM pg_dist_background_task_depend';
    EXECUTE 'DELETE FROM pg_dist_background_task';
    FOR backend IN
      SELECT a.pid FROM pg_stat_activity a
       WHERE a.datname = current_database() AND a.backend_type LIKE 'Citus Background Task Queue%'
    LOOP
      PERFORM pg_terminate_backend(backend);
    END LOOP;
  END IF;
END $$;
