-- This node's copy of Citus's node metadata and how this session would read. Only where pg_dist_node exists.
-- Rows in physical order, by which Citus chooses among a group's secondaries.
-- Parameters: none. Privileges: none (Citus grants SELECT to PUBLIC). to_jsonb: columns differ by version.
SELECT citus_version()                                                       AS version,
       (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g)               AS local_group,
       (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.ctid), '[]')
          FROM pg_catalog.pg_dist_node n)                                     AS rows,
       coalesce(current_setting('citus.use_secondary_nodes', true), 'never')  AS use_secondary_nodes,
       coalesce(current_setting('citus.cluster_name', true), 'default')       AS cluster_name
