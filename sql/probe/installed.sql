-- What is stored in the schema citus_ha of this node. Only where it is found in order and the role may use it.
-- Parameters: none. Privileges: what `citus-ha install` grants.
SELECT (SELECT max(m.number) FROM citus_ha.migration m)                      AS migration,
       (SELECT to_jsonb(e) FROM citus_ha.epoch e)                             AS epoch,
       (SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.groupid), '[]') FROM citus_ha.lineage l) AS lineage,
       extract(epoch FROM clock_timestamp())::float8 * 1000::float8            AS now_ms,
       (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.nodeid), '[]') FROM citus_ha.remedy r)   AS remedies,
       (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.groupid NULLS FIRST), '[]') FROM citus_ha.pause p) AS pauses,
       EXISTS (SELECT FROM citus_ha.kept_transaction)                         AS keeps_transactions,
       (SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.groupid), '[]') FROM citus_ha.intent i)  AS intents,
       (SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]')
          FROM (SELECT * FROM citus_ha.allowed_address UNION SELECT * FROM citus_ha.former_address) a) AS addresses
