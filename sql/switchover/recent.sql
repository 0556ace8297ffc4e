-- On the coordinator: changes of these groups that are younger than the connections that sessions keep between nodes.
-- Parameters: the groups, a literal. Privileges: SELECT on citus_ha.change, as `citus-ha install` grants it.
SELECT current_setting('citus.max_cached_connection_lifetime', true)           AS lifetime,
       EXISTS (SELECT FROM citus_ha.change c
                WHERE c.groups && $1
                  AND c.decided_at > clock_timestamp()
                      - coalesce(current_setting('citus.max_cached_connection_lifetime', true), '10min')::interval) AS recent
