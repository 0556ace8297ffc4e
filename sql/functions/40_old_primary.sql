-- Functions of the schema citus_ha: an old primary that is still alive.

-- The tables of the shards that are placed here, in the order of their ids.
CREATE OR REPLACE FUNCTION citus_ha.own_shards() RETURNS SETOF regclass
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  PERFORM set_config('citus.override_table_visibility', 'off', true);
  -- A shard's table is in its distributed table's schema, its name ends in _<shardid>, however it was cut, and it is its
  -- owner's: whoever may CREATE in that schema can give a table of his own such a name.
  RETURN QUERY
    SELECT c.oid::regclass
      FROM pg_dist_placement p
      JOIN pg_dist_shard s USING (shardid)
      JOIN pg_class l ON l.oid = s.logicalrelid
      JOIN pg_class c ON c.relnamespace = l.relnamespace AND c.relowner = l.relowner AND c.oid <> l.oid
                     AND substring(c.relname FROM '_([0-9]{1,18})$')::bigint = s.shardid
                     AND (c.relname = l.relname || '_' || s.shardid OR octet_length(c.relname::text) >= 56)
     WHERE p.groupid = citus_ha.own_group() AND c.relkind IN ('r', 'p')
     ORDER BY s.shardid;
END $$;

-- On an old primary that is still alive: no write to any of its shards from now on, by whomever. Reads that its
-- transactions did before take no lock that would show. Taken after the metadata fences. Fewer than are placed here is an
-- error: whoever asks has to know that there is no write to any. Nor does citus-ha, whoever runs it, write anything down here
-- that its successor would not have: how far servers are, remedies, pauses.
-- An autovacuum gives way to whoever has waited for deadlock_timeout: its default, a second, is more than we wait.
CREATE OR REPLACE FUNCTION citus_ha.lock_shards() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin SET deadlock_timeout = '20ms' AS $$
DECLARE
  shard regclass;
  locked int := 0;
  placed int;
BEGIN
  LOCK TABLE citus_ha.retired, citus_ha.lineage, citus_ha.remedy, citus_ha.pause IN EXCLUSIVE MODE;
  PERFORM set_config('citus.enable_manual_changes_to_shards', 'on', true);
  FOR shard IN SELECT * FROM citus_ha.own_shards() LOOP
    EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', shard);
    locked := locked + 1;
  END LOOP;
  placed := (SELECT count(DISTINCT p.shardid) FROM pg_dist_placement p
               JOIN pg_dist_shard s USING (shardid) JOIN pg_class l ON l.oid = s.logicalrelid
              WHERE p.groupid = citus_ha.own_group() AND l.relkind IN ('r', 'p'));
  IF locked < placed THEN
    RAISE EXCEPTION 'the tables of % of % shards that are placed here were found and locked', locked, placed
      USING ERRCODE = 'HA004';
  END IF;
  RETURN locked;
END $$;

-- The other tables here, in the order of their oids: neither shards nor a distributed table's shell, whose writes go to shards,
-- nor an extension's. None where there are so many that their locks might not find room.
CREATE OR REPLACE FUNCTION citus_ha.own_other_tables() RETURNS SETOF regclass
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  tables regclass[];
BEGIN
  PERFORM set_config('citus.override_table_visibility', 'off', true);
  SELECT array_agg(c.oid::regclass ORDER BY c.oid) INTO tables
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
     AND n.nspname NOT IN ('information_schema', 'citus_ha')
     AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = c.oid)
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     AND c.oid NOT IN (SELECT s::oid FROM citus_ha.own_shards() AS s);
  IF cardinality(tables) <= current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / 2 THEN
    RETURN QUERY SELECT u.found FROM unnest(tables) AS u(found);
  END IF;
END $$;

-- Autovacuum, VACUUM and ANALYZE are kept from the system catalogs of this database, and nobody else is: what they commit on an
-- old primary can't be told from what a client does, of whom a switchover reports that his data may be lost. Autovacuum
-- gives way to whoever has waited for deadlock_timeout, but where it prevents wraparound: such a catalog is left out. So is one
-- of all databases that another database of a switchover holds already.
CREATE OR REPLACE FUNCTION citus_ha.hold_catalogs() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET lock_timeout = '40ms' SET deadlock_timeout = '20ms' AS $$
DECLARE
  began CONSTANT timestamptz := clock_timestamp();
  catalog regclass;
  is_shared boolean;
BEGIN
  FOR catalog, is_shared IN
    SELECT c.oid, c.relisshared
      FROM pg_class c
     WHERE c.oid < 16384 AND c.relkind = 'r' AND has_table_privilege(c.oid, 'UPDATE')  -- 16384: the first that initdb has not made
     ORDER BY c.oid
  LOOP
    BEGIN
      -- All of them together are not waited for longer than one.
      EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE%s', catalog,
        CASE WHEN is_shared OR clock_timestamp() - began > interval '40 ms' THEN ' NOWAIT' ELSE '' END);
    EXCEPTION WHEN lock_not_available THEN
      CONTINUE;
    END;
  END LOOP;
END $$;

-- The same of those: what a session writes there that calls itself READ WRITE, whatever the server's setting is. And of large
-- objects: before PostgreSQL 16 a read-only transaction writes them as well. A superuser's alone to lock.
CREATE OR REPLACE FUNCTION citus_ha.lock_other_tables() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin SET deadlock_timeout = '20ms' AS $$
DECLARE
  other regclass;
  locked int := 0;
BEGIN
  FOR other IN SELECT * FROM citus_ha.own_other_tables() LOOP
    EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', other);
    locked := locked + 1;
  END LOOP;
  IF current_setting('server_version_num')::int < 160000 AND has_table_privilege('pg_catalog.pg_largeobject', 'UPDATE') THEN
    LOCK TABLE pg_catalog.pg_largeobject_metadata, pg_catalog.pg_largeobject IN EXCLUSIVE MODE;
  END IF;
  PERFORM citus_ha.hold_catalogs();
  RETURN locked;
END $$;

-- Ends what other nodes have open here, so that nothing there can commit any more: on a server whose shards the caller holds.
CREATE OR REPLACE FUNCTION citus_ha.end_citus_backends() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  backend int;
  ended int := 0;
BEGIN
  PERFORM citus_ha.require('shards', 'end_citus_backends');
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

-- Citus's own prepared transactions that replicated to a promoted node keep their row locks there until its
-- recovery comes round (60 s): it is asked for now. Each node resolves those that it began. Not one that others have taken the
-- place of, or that reads from secondaries with a copy of its own: under its group's number it would roll back what the
-- living have prepared.
CREATE OR REPLACE FUNCTION citus_ha.recover_citus_transactions() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  IF (SELECT g.groupid FROM pg_dist_local_group g) >= 1000000000 OR current_setting('citus.recover_2pc_interval', true) = '-1'
     OR current_setting('citus.use_secondary_nodes', true) = 'always' THEN
    RAISE EXCEPTION 'citus_ha.recover_citus_transactions() does nothing here: this server is to recover no transactions'
      USING ERRCODE = 'HA005';
  END IF;
  RETURN recover_prepared_transactions();
END $$;
