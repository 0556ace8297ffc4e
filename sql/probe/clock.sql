-- This server's clock, in milliseconds since 1970.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms
