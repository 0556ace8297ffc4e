-- Does this node, through Citus's own connections, reach that one by this name? It says why not as a warning.
-- Parameters: $1 text host, $2 int port. Privileges: none beyond Citus's.
SELECT citus_check_connection_to_node($1, $2) AS reaches
