-- The stand-in, part 1: Citus 13.2's node metadata tables on plain PostgreSQL 11 to 18.
--
-- Imitates: sql/citus--*.sql of Citus (pg_dist_node and what hangs on it).
-- Same: schema, columns, types, defaults, constraints, trigger, names, SELECT for everybody.
-- Left out: every table that has nothing to do with where a query goes; the cache-invalidation triggers
-- (nothing is cached here); pg_dist_partition follows no DROP TABLE.
--
-- Tables are made elsewhere and moved, since only PostgreSQL 13 and up lets a running server create tables
-- in pg_catalog.

CREATE SCHEMA citus;
CREATE SCHEMA citus_internal;
CREATE SCHEMA citus_standin;
GRANT USAGE ON SCHEMA citus, citus_standin TO PUBLIC;
CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA citus_standin;

CREATE TYPE citus.noderole AS ENUM ('primary', 'secondary', 'unavailable');
ALTER TYPE citus.noderole SET SCHEMA pg_catalog;

CREATE SEQUENCE citus.pg_dist_groupid_seq MINVALUE 1 MAXVALUE 4294967295;
CREATE SEQUENCE citus.pg_dist_node_nodeid_seq MINVALUE 1 MAXVALUE 4294967295;
CREATE SEQUENCE citus.pg_dist_shardid_seq MINVALUE 102008;
CREATE SEQUENCE citus.pg_dist_colocationid_seq MINVALUE 1 MAXVALUE 4294967296;
CREATE SEQUENCE citus.pg_dist_placement_placementid_seq;
ALTER SEQUENCE citus.pg_dist_groupid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_node_nodeid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_shardid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_colocationid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_placement_placementid_seq SET SCHEMA pg_catalog;

CREATE TABLE citus.pg_dist_node (
  nodeid            int     NOT NULL DEFAULT nextval('pg_catalog.pg_dist_node_nodeid_seq') PRIMARY KEY,
  groupid           int     NOT NULL DEFAULT nextval('pg_catalog.pg_dist_groupid_seq'),
  nodename          text    NOT NULL,
  nodeport          int     NOT NULL DEFAULT 5432,
  noderack          text    NOT NULL DEFAULT 'default',
  hasmetadata       boolean NOT NULL DEFAULT false,
  isactive          boolean NOT NULL DEFAULT true,
  noderole          pg_catalog.noderole NOT NULL DEFAULT 'primary',
  nodecluster       name    NOT NULL DEFAULT 'default',
  metadatasynced    boolean DEFAULT false,
  shouldhaveshards  boolean NOT NULL DEFAULT true,
  nodeisclone       boolean NOT NULL DEFAULT false,
  nodeprimarynodeid int     NOT NULL DEFAULT 0,
  CONSTRAINT pg_dist_node_nodename_nodeport_key UNIQUE (nodename, nodeport),
  CONSTRAINT primaries_are_only_allowed_in_the_default_cluster
    CHECK (NOT (nodecluster <> 'default' AND noderole = 'primary'))
);
CREATE TABLE citus.pg_dist_local_group (groupid int NOT NULL PRIMARY KEY);
INSERT INTO citus.pg_dist_local_group VALUES (0);

CREATE TABLE citus.pg_dist_colocation (
  colocationid                int NOT NULL PRIMARY KEY,
  shardcount                  int NOT NULL,
  replicationfactor           int NOT NULL,
  distributioncolumntype      oid NOT NULL,
  distributioncolumncollation oid NOT NULL
);
CREATE TABLE citus.pg_dist_partition (
  logicalrelid  regclass NOT NULL,
  partmethod    "char"   NOT NULL,                 -- h: distributed by hash, n: reference table
  partkey       text,
  colocationid  int      NOT NULL DEFAULT 0,
  repmodel      "char"   NOT NULL DEFAULT 'c',
  autoconverted boolean  DEFAULT false
);
CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index ON citus.pg_dist_partition (logicalrelid);
CREATE TABLE citus.pg_dist_shard (
  logicalrelid  regclass NOT NULL,
  shardid       bigint   NOT NULL,
  shardstorage  "char"   NOT NULL,
  shardminvalue text,
  shardmaxvalue text
);
CREATE UNIQUE INDEX pg_dist_shard_shardid_index ON citus.pg_dist_shard (shardid);
CREATE TABLE citus.pg_dist_placement (
  placementid bigint NOT NULL DEFAULT nextval('pg_catalog.pg_dist_placement_placementid_seq'),
  shardid     bigint NOT NULL,
  shardstate  int    NOT NULL,
  shardlength bigint NOT NULL,
  groupid     int    NOT NULL,
  CONSTRAINT placement_shardid_groupid_unique_index UNIQUE (shardid, groupid)
);
CREATE UNIQUE INDEX pg_dist_placement_placementid_index ON citus.pg_dist_placement (placementid);
CREATE INDEX pg_dist_placement_groupid_index ON citus.pg_dist_placement (groupid);

-- Nothing writes it here: Citus's two-phase commits are left out.
CREATE TABLE citus.pg_dist_transaction (
  groupid int  NOT NULL,
  gid     text NOT NULL,
  CONSTRAINT pg_dist_transaction_unique_constraint UNIQUE (groupid, gid)
);

ALTER TABLE citus.pg_dist_transaction SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_node SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_local_group SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_colocation SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_partition SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_shard SET SCHEMA pg_catalog;
ALTER TABLE citus.pg_dist_placement SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.pg_dist_node, pg_catalog.pg_dist_local_group, pg_catalog.pg_dist_colocation,
  pg_catalog.pg_dist_partition, pg_catalog.pg_dist_shard, pg_catalog.pg_dist_placement,
  pg_catalog.pg_dist_transaction TO PUBLIC;
GRANT SELECT ON pg_catalog.pg_dist_groupid_seq, pg_catalog.pg_dist_node_nodeid_seq,
  pg_catalog.pg_dist_shardid_seq, pg_catalog.pg_dist_colocationid_seq,
  pg_catalog.pg_dist_placement_placementid_seq TO PUBLIC;

-- Citus writes the table from C, past this trigger; it holds for plain SQL, as from the metadata sync.
-- The node functions here do the same under session_replication_role = replica.
CREATE FUNCTION citus_internal.pg_dist_node_trigger_func() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE pg_catalog.pg_dist_node IN SHARE ROW EXCLUSIVE MODE;
  IF NEW.noderole = 'primary' AND EXISTS (
    SELECT FROM pg_dist_node n
     WHERE n.groupid = NEW.groupid AND n.noderole = 'primary' AND n.nodeid <> NEW.nodeid)
  THEN
    RAISE EXCEPTION 'there cannot be two primary nodes in a group';
  END IF;
  RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION citus_internal.pg_dist_node_trigger_func() FROM PUBLIC;

CREATE TRIGGER pg_dist_node_trigger BEFORE INSERT OR UPDATE ON pg_catalog.pg_dist_node
  FOR EACH ROW EXECUTE FUNCTION citus_internal.pg_dist_node_trigger_func();

CREATE FUNCTION pg_catalog.citus_version() RETURNS text
LANGUAGE sql STABLE STRICT AS $$ SELECT 'Citus stand-in 13.2 (node metadata only, no distributed queries)'::text $$;

CREATE FUNCTION citus_standin.ensure_coordinator() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT g.groupid FROM pg_dist_local_group g) <> 0 THEN
    RAISE EXCEPTION 'operation is not allowed on this node'
      USING ERRCODE = 'internal_error', HINT = 'Connect to the coordinator and run it again.';
  END IF;
END $$;
