-- citus_ha, migration 3: nothing acknowledged is lost, nobody gets in.
--
-- Functions are no part of migrations any more: `install` applies sql/functions after these, whenever they differ. Only
-- functions that go, or get another result type, are dropped here.

-- It returned all rows, before and after, which nobody read.
DROP FUNCTION citus_ha.rewrite(int, bigint, jsonb, int[]);
