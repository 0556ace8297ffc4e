-- This session's messages, and those of the libpq in its backend, are no longer translated.
-- Parameters: none. Privileges: superuser.
SELECT set_config('lc_messages', 'C', false)
