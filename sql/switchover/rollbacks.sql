-- How many transactions this database has rolled back on this node. Sessions report theirs about once a second.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
SELECT d.xact_rollback::float8 AS rolled_back FROM pg_stat_database d WHERE d.datname = current_database()
