-- Who keeps one of our own sessions from its lock, asked on another connection to the same node.
-- Parameters: $1 int pid of the waiting session. Privileges: EXECUTE on citus_ha.blockers.
SELECT citus_ha.blockers($1) AS blockers
