-- citus_ha, migration 1: the tables.
--
-- Run by `citus-ha install` as a superuser, once per database and writable node, inside one transaction
-- that has switched Citus's DDL propagation off: every node owns its copy, and physical standbys get
-- theirs by replay. Immutable once released; changes come as further migrations.

CREATE SCHEMA citus_ha;
REVOKE ALL ON SCHEMA citus_ha FROM PUBLIC;

CREATE TABLE citus_ha.migration (
  number     int PRIMARY KEY,
  name       text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- What is known of each group's line of primaries, recorded after every proof (on the coordinator).
CREATE TABLE citus_ha.lineage (
  groupid           int PRIMARY KEY,
  system_identifier text NOT NULL,          -- pg_control_system().system_identifier, as text: it is unsigned
  timeline          int NOT NULL,
  history           text NOT NULL,          -- the timeline's history file; '' on the first timeline
  recorded_at       timestamptz NOT NULL DEFAULT now()
);

-- The highest change this copy has seen. A lower one is refused, so a late caller can't undo newer truth.
CREATE TABLE citus_ha.epoch (
  singleton            boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  coordinator_timeline int NOT NULL,
  epoch                bigint NOT NULL
);
INSERT INTO citus_ha.epoch VALUES (true, 0, 0);

-- The decisions, on the coordinator. The commit of a row here *is* the decision of its change.
CREATE TABLE citus_ha.change (
  coordinator_timeline int NOT NULL,
  epoch                bigint NOT NULL,
  gids                 text[] NOT NULL,     -- exactly those that may be committed
  groups               int[] NOT NULL,
  reason               text NOT NULL,
  evidence             jsonb NOT NULL,
  rows_before          jsonb NOT NULL,      -- of the coordinator's copy
  rows_after           jsonb NOT NULL,
  made_by              text NOT NULL,
  decided_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (coordinator_timeline, epoch)
);

-- Rows that a change altered only to keep reads working, with what they were (on the coordinator): those of secondaries
-- that are down, and with routing.primaryDown the primary's until something is promoted.
CREATE TABLE citus_ha.remedy (
  nodeid      int PRIMARY KEY,
  groupid     int NOT NULL,
  nodename    text NOT NULL,
  nodeport    int NOT NULL,
  noderack    text NOT NULL,
  isactive    boolean NOT NULL,
  given_host  text NOT NULL,       -- the address that the row was given; its own, where it was set inactive
  given_port  int NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);

-- Citus's records of two-phase commits with a group whose primary's row names a standby for a while. Citus's recovery
-- deletes those that it does not find prepared there, and the standby may not have them yet: they are put back at every
-- look, and for a while after the row names a primary again, since a recovery may have begun before.
CREATE TABLE citus_ha.kept_transaction (
  groupid int NOT NULL,
  gid     text NOT NULL,
  record  jsonb NOT NULL,          -- the row of pg_dist_transaction; its columns differ by version
  ended   timestamptz,             -- since when the row names a primary again
  PRIMARY KEY (groupid, gid)
);

-- Addresses that a row of the group may be given besides those the group already has. Only a superuser writes it.
CREATE TABLE citus_ha.allowed_address (
  groupid  int NOT NULL,
  nodename text NOT NULL,
  nodeport int NOT NULL,
  PRIMARY KEY (groupid, nodename, nodeport)
);

-- Addresses that changes took out of the group's rows, so that the node behind one can come back.
CREATE TABLE citus_ha.former_address (
  groupid  int NOT NULL,
  nodename text NOT NULL,
  nodeport int NOT NULL,
  PRIMARY KEY (groupid, nodename, nodeport)
);

-- What no instance changes by itself until somebody resumes: a group, or with NULL the whole cluster (on the
-- coordinator; its standbys have it too, so it outlives restarts and a failover).
CREATE TABLE citus_ha.pause (
  groupid int CHECK (groupid >= 0),
  since   timestamptz NOT NULL DEFAULT clock_timestamp(),
  by      text NOT NULL,
  why     text
);
CREATE UNIQUE INDEX pause_once ON citus_ha.pause (coalesce(groupid, -1));

-- Which instance leads, before PostgreSQL 14, whose server does not end the session of a client that was stopped (on
-- the coordinator). One row; past `expires_at` anybody may take it.
CREATE TABLE citus_ha.lease (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  holder     text NOT NULL,
  expires_at timestamptz NOT NULL
);

-- What a switchover is about to do to a group, written before it does it (on the coordinator). Gone with the decision
-- of its change. Its maker holds the change lock all the while: a row that is there while that is free was left behind.
CREATE TABLE citus_ha.intent (
  groupid    int PRIMARY KEY,
  from_host  text NOT NULL,                 -- the primary, which takes no writes meanwhile
  from_port  int NOT NULL,
  to_host    text NOT NULL,                 -- the standby that is to be promoted
  to_port    int NOT NULL,
  phase      text NOT NULL CHECK (phase IN ('quiescing', 'promoting')),  -- to be undone; to be carried on
  by_command boolean NOT NULL,              -- promoted by a command that only its maker knows
  stopped    boolean NOT NULL,              -- the primary was stopped by such a command first
  made_by    text NOT NULL,
  began_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
