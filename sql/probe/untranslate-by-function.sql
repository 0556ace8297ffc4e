-- The same for a role that may not set it itself.
-- Parameters: none. Privileges: EXECUTE.
SELECT citus_ha.untranslate_messages()
