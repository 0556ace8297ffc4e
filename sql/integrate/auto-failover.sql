-- What a pg_auto_failover monitor knows of its nodes, in all formations.
-- Parameters: none. Privileges: SELECT on pgautofailover.node, as its role autoctl_node has.
SELECT coalesce(jsonb_agg(jsonb_build_object('formation', formationid, 'group', groupid, 'id', nodeid, 'name', nodename,
         'host', nodehost, 'port', nodeport, 'reported', reportedstate::text, 'goal', goalstate::text)
         ORDER BY formationid, groupid, nodeid), '[]') AS nodes
  FROM pgautofailover.node
