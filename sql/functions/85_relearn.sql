-- Functions of the schema citus_ha: a cluster whose servers are others than those on record, and right all the same.

-- After pg_upgrade, or where the whole cluster was restored or cloned, every server has another system identifier, or another
-- line: what is on record of them is given up, and replaced: {"lines": [{"group", "systemIdentifier", "timeline", "history"}],
-- "timeline", "epoch"}, the last two those of the coordinator from which the order of changes goes on. For superusers: nobody
-- else may call it. Everything is the caller's to have checked.
CREATE OR REPLACE FUNCTION citus_ha.relearn(learnt jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  LOCK TABLE pg_dist_node IN EXCLUSIVE MODE;  -- no change of this copy is under way
  DELETE FROM citus_ha.lineage;
  PERFORM citus_ha.set_lineage(learnt -> 'lines', true);
  UPDATE citus_ha.epoch SET coordinator_timeline = (learnt ->> 'timeline')::int, epoch = (learnt ->> 'epoch')::bigint;
END $$;

-- The same on the coordinator, in a transaction that holds the change lock, with a record of it that `citus-ha history` shows.
CREATE OR REPLACE FUNCTION citus_ha.relearn_coordinator(learnt jsonb, evidence jsonb, made_by text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  PERFORM citus_ha.require('change', 'relearn_coordinator');
  PERFORM citus_ha.relearn(learnt);
  PERFORM citus_ha.record_own_change(0, 'every server was learnt anew (citus-ha relearn)', evidence,
                                     citus_ha.read_copy() -> 'rows', made_by);
END $$;
