-- citus_ha, migration 3: nothing acknowledged is lost, nobody gets in.
--
-- Functions are no part of migrations any more: `install` applies sql/functions after these, whenever they differ. Only
-- functions that go, or get another result type, are dropped here.

-- It returned all rows, before and after, which nobody read.
DROP FUNCTION citus_ha.rewrite(int, bigint, jsonb, int[]);

-- Retired primaries.

-- On the old primary itself: what it was set to by ALTER SYSTEM before a switchover changed it, by name.
ALTER TABLE citus_ha.intent ADD COLUMN settings jsonb;

-- That this server was retired, and what it was (on that server alone: its WAL reaches no other any more).
CREATE TABLE citus_ha.retired (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  groupid        int NOT NULL,
  successor_host text NOT NULL,
  successor_port int NOT NULL,
  made_by        text NOT NULL,
  retired_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a switchover writes down is its own, and ends with it.
ALTER TABLE citus_ha.intent ADD COLUMN run text NOT NULL DEFAULT '';
DROP FUNCTION citus_ha.forget_intents(int[]);

-- What is known of a line.

-- How far the group's servers were known to be on the line's timeline: [{"host", "port", "in_recovery", "lsn" (bytes, as
-- text), "at_ms" (since 1970, by this server's clock)}]. Lower bounds. On every node that takes part in changes there is a
-- line of group 0: who led them, and how far he was.
ALTER TABLE citus_ha.lineage ADD COLUMN positions jsonb NOT NULL DEFAULT '[]';

-- What keeps instances apart: locks on empty tables, which are taken by functions of ours and by nobody else. An advisory
-- lock could be taken by anybody who may log in. Both are on the coordinator; no row is ever in them.
CREATE TABLE citus_ha.lead_lock ();
CREATE TABLE citus_ha.change_lock ();
DROP FUNCTION citus_ha.hold_lease(text, int);
DROP FUNCTION citus_ha.drop_lease(text);
DROP TABLE citus_ha.lease;
