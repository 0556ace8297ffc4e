-- Timeline and history of this server for a role of ours. Only where this function is known to be ours.
-- Parameters: none. Privileges: EXECUTE on citus_ha.node_identity.
SELECT i.timeline, i.history FROM citus_ha.node_identity() i
