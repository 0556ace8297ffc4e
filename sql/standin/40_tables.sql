-- The stand-in, part 4: distributed and reference tables, as far as the metadata tells of them.
--
-- Imitates: create_distributed_table and create_reference_table of commands/create_distributed_table.c.
-- Same: calls, the rows in pg_dist_partition, pg_dist_shard, pg_dist_placement and pg_dist_colocation on every
-- copy, tables with the same shard count and column type colocated, empty shell tables on every metadata node
-- and shard tables <name>_<shardid> on the groups, so that they can be locked and written by hand.
-- Left out: queries through the shell table, moving rows that were there, foreign keys, DROP TABLE (the
-- metadata stays), colocate_with, and every distribution but hash.

-- DDL for an empty table with the columns and the primary key of a local one.
CREATE FUNCTION citus_standin.shell_ddl(of_table regclass, suffix text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('CREATE TABLE %I.%I (%s)', s.nspname, c.relname || suffix, (
           SELECT string_agg(definition, ', ' ORDER BY place) FROM (
             SELECT a.attnum AS place, format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                      CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END) AS definition
               FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             UNION ALL
             SELECT 32767, pg_get_constraintdef(k.oid) FROM pg_constraint k
              WHERE k.conrelid = c.oid AND k.contype = 'p') parts))
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = of_table
$$;

-- What a metadata node has to run to know of a table, its own shell table included.
CREATE FUNCTION citus_standin.table_commands(of_table regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY[
    (SELECT 'CREATE SCHEMA IF NOT EXISTS ' || relnamespace::regnamespace FROM pg_class WHERE oid = of_table),
    citus_standin.shell_ddl(of_table, ''),
    (SELECT format('INSERT INTO pg_catalog.pg_dist_colocation VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING',
       c.colocationid, c.shardcount, c.replicationfactor, c.distributioncolumntype, c.distributioncolumncollation)
       FROM pg_dist_colocation c WHERE c.colocationid = p.colocationid),
    format('INSERT INTO pg_catalog.pg_dist_partition VALUES (%L, %L, %L, %s, %L, false)',
       of_table, p.partmethod, p.partkey, p.colocationid, p.repmodel)]
    || (SELECT array_agg(format('INSERT INTO pg_catalog.pg_dist_shard VALUES (%L, %s, %L, %L, %L)',
          of_table, s.shardid, s.shardstorage, s.shardminvalue, s.shardmaxvalue) ORDER BY s.shardid)
          FROM pg_dist_shard s WHERE s.logicalrelid = of_table)
    || (SELECT array_agg(format('INSERT INTO pg_catalog.pg_dist_placement VALUES (%s, %s, 1, 0, %s)',
          l.placementid, l.shardid, l.groupid) ORDER BY l.placementid)
          FROM pg_dist_placement l JOIN pg_dist_shard s USING (shardid) WHERE s.logicalrelid = of_table)
    FROM pg_dist_partition p WHERE p.logicalrelid = of_table
$$;

-- Makes the shard tables where the placements are, then tells every metadata worker of the table.
CREATE FUNCTION citus_standin.publish_table(of_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  local_shard bigint;
BEGIN
  FOR local_shard IN SELECT p.shardid FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid)
                      WHERE s.logicalrelid = of_table AND p.groupid = 0 LOOP
    EXECUTE citus_standin.shell_ddl(of_table, '_' || local_shard);
  END LOOP;
  PERFORM citus_standin.run_at(n.nodename, n.nodeport,
            array_agg(citus_standin.shell_ddl(of_table, '_' || p.shardid) ORDER BY p.shardid))
     FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid)
     JOIN pg_dist_node n ON n.groupid = p.groupid AND n.noderole = 'primary'
    WHERE s.logicalrelid = of_table AND p.groupid <> 0
    GROUP BY n.nodename, n.nodeport;
  PERFORM citus_standin.send_to_metadata_workers(citus_standin.table_commands(of_table));
END $$;

CREATE FUNCTION citus_standin.ensure_not_distributed(of_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM citus_standin.ensure_coordinator();
  IF EXISTS (SELECT FROM pg_dist_partition p WHERE p.logicalrelid = of_table) THEN
    RAISE EXCEPTION 'table "%" is already distributed', of_table USING ERRCODE = 'invalid_table_definition';
  END IF;
  PERFORM count(*) FROM citus_standin.synced_metadata_workers();
  LOCK TABLE pg_catalog.pg_dist_node IN ROW SHARE MODE;
END $$;

CREATE FUNCTION pg_catalog.create_distributed_table(
  table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
  colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  shards int := coalesce(shard_count, current_setting('citus.shard_count', true)::int, 32);
  column_type oid := (SELECT a.atttypid FROM pg_attribute a
                       WHERE a.attrelid = table_name AND a.attname = distribution_column AND NOT a.attisdropped);
  colocation int;
  groups int[] := (SELECT array_agg(n.groupid ORDER BY n.nodename, n.nodeport) FROM pg_dist_node n
                    WHERE n.noderole = 'primary' AND n.isactive AND n.shouldhaveshards);
  new_shardid bigint;
  width bigint := 4294967296 / shards;
BEGIN
  PERFORM citus_standin.ensure_not_distributed(table_name);
  IF column_type IS NULL THEN
    RAISE EXCEPTION 'column "%" of relation "%" does not exist', distribution_column, table_name
      USING ERRCODE = 'undefined_column';
  END IF;
  SELECT c.colocationid INTO colocation FROM pg_dist_colocation c
   WHERE c.shardcount = shards AND c.distributioncolumntype = column_type;
  IF NOT FOUND THEN
    colocation := nextval('pg_catalog.pg_dist_colocationid_seq');
    INSERT INTO pg_dist_colocation VALUES (colocation, shards, 1, column_type, 0);
  END IF;
  INSERT INTO pg_dist_partition VALUES (table_name, 'h', distribution_column, colocation, 's', false);
  FOR i IN 0 .. shards - 1 LOOP
    new_shardid := nextval('pg_catalog.pg_dist_shardid_seq');
    INSERT INTO pg_dist_shard VALUES (table_name, new_shardid, 't', -2147483648 + i * width,
      CASE WHEN i = shards - 1 THEN 2147483647 ELSE -2147483648 + (i + 1) * width - 1 END);
    INSERT INTO pg_dist_placement (shardid, shardstate, shardlength, groupid)
    VALUES (new_shardid, 1, 0, groups[i % cardinality(groups) + 1]);
  END LOOP;
  PERFORM citus_standin.publish_table(table_name);
END $$;

CREATE FUNCTION pg_catalog.create_reference_table(table_name regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  colocation int;
  new_shardid bigint;
BEGIN
  PERFORM citus_standin.ensure_not_distributed(table_name);
  SELECT c.colocationid INTO colocation FROM pg_dist_colocation c WHERE c.distributioncolumntype = 0;
  IF NOT FOUND THEN
    colocation := nextval('pg_catalog.pg_dist_colocationid_seq');
    INSERT INTO pg_dist_colocation VALUES (colocation, 1, -1, 0, 0);
  END IF;
  new_shardid := nextval('pg_catalog.pg_dist_shardid_seq');
  INSERT INTO pg_dist_partition VALUES (table_name, 'n', NULL, colocation, 't', false);
  INSERT INTO pg_dist_shard VALUES (table_name, new_shardid, 't', NULL, NULL);
  INSERT INTO pg_dist_placement (shardid, shardstate, shardlength, groupid)
  SELECT new_shardid, 1, 0, n.groupid FROM pg_dist_node n
   WHERE n.noderole = 'primary' AND n.isactive ORDER BY n.groupid;
  PERFORM citus_standin.publish_table(table_name);
END $$;
