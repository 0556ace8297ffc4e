-- Whether this role may set default_transaction_read_only for the whole server.
-- Parameters: none. Privileges: none. PostgreSQL 15 and later.
SELECT has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM') AS may_alter
