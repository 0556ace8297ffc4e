-- Ends them, but for other changes and Citus's daemons, and says whom it ended.
-- Parameters: $1 int pid of the waiting session. Privileges: EXECUTE on citus_ha.end_blockers.
SELECT citus_ha.end_blockers($1) AS blockers
