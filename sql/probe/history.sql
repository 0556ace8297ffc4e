-- The changes this cluster has decided, newest first. On the coordinator.
-- Parameters: the limit, a literal. Privileges: SELECT on citus_ha.change, as `citus-ha install` grants it.
SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.coordinator_timeline DESC, c.epoch DESC), '[]') AS changes
  FROM (SELECT * FROM citus_ha.change ORDER BY coordinator_timeline DESC, epoch DESC LIMIT $1) c
