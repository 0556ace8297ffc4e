-- Are the texts of this session's warnings translated, libpq's among them, and may it have them in English? By our function only
-- where a superuser owns it.
-- Parameters: none. Privileges: none.
SELECT current_setting('lc_messages') !~ '^(C|POSIX|en)([._@]|$)|^en_' AS translated,
       CASE WHEN (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN 'itself'
            WHEN has_function_privilege(
                   (SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                      JOIN pg_roles o ON o.oid = p.proowner AND o.rolsuper
                     WHERE n.nspname = 'citus_ha' AND p.proname = 'untranslate_messages' AND p.pronargs = 0
                       AND has_schema_privilege(n.oid, 'USAGE')), 'EXECUTE') THEN 'by function'
            ELSE 'no' END                                                  AS may_set
