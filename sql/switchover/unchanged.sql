-- What a switchover was checked for, asked again of the coordinator and of the old primary once the locks are there. As
-- `probe/server`, `probe/citus` and `probe/installed` have it.
-- Parameters: none. Privileges: what `citus-ha install` grants.
SELECT concat_ws('/', (SELECT c.system_identifier FROM pg_control_system() c),
                 to_char(extract(epoch FROM pg_postmaster_start_time()), 'FM99999999990.000000'),
                 current_setting('port'))                                     AS instance,
       pg_is_in_recovery()                                                    AS in_recovery,
       current_setting('default_transaction_read_only')::boolean              AS read_only,
       (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g)               AS local_group,
       (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.ctid), '[]')
          FROM pg_catalog.pg_dist_node n)                                     AS rows,
       (SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.groupid), '[]') FROM citus_ha.intent i)  AS intents
