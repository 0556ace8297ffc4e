-- Does this node, through Citus's own connections, reach that one? And does it reach one that is known to live?
-- Without a password for connections between nodes, or cut off itself, it reaches nobody: then its "no" says nothing.
-- Parameters: $1 text host, $2 int port of the node in question; $3, $4 of the one known to live.
-- Privileges: none beyond Citus's.
SELECT citus_check_connection_to_node($1, $2) AS reaches,
       citus_check_connection_to_node($3, $4) AS reaches_control
