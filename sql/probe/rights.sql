-- Of the functions named, those that this role may not execute, or that are not there. Only where the schema citus_ha
-- may be used.
-- Parameters: $1 JSON list of functions with their argument types, such as ["read_copy()"]. Privileges: none.
-- PostgreSQL 10 and later.
SELECT coalesce(jsonb_agg(f.signature ORDER BY f.signature), '[]') AS missing
  FROM jsonb_array_elements_text($1::jsonb) AS f(signature)
 WHERE NOT coalesce(has_function_privilege(to_regprocedure('citus_ha.' || f.signature)::oid, 'EXECUTE'), false)
