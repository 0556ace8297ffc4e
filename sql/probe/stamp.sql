-- One value for what `probe/schema` looks at: the same as before means that the schema citus_ha which was found in order then is
-- still there, on the same server since its start, and that nothing of it was made, altered or given away since. A row's xmin
-- and the oids are the server's to give; nothing of the schema itself is touched here. NULL: there is none.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
WITH schema AS (
  SELECT n.oid, n.xmin, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'citus_ha'
), member AS (
  SELECT d.classid, d.objid, d.xmin FROM schema s JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid
), part(what) AS (
  SELECT concat_ws(' ', 'schema', s.oid, s.xmin, s.nspowner, s.nspacl, c.system_identifier, d.oid,
                   extract(epoch FROM pg_postmaster_start_time()))
    FROM schema s, pg_control_system() c, pg_database d WHERE d.datname = current_database()
  UNION ALL SELECT concat_ws(' ', 'member', m.classid, m.objid, m.xmin) FROM member m
  UNION ALL SELECT concat_ws(' ', 'function', p.oid, p.xmin, p.proowner) FROM member m JOIN pg_proc p ON p.oid = m.objid
             WHERE m.classid = 'pg_proc'::regclass
  UNION ALL SELECT concat_ws(' ', 'relation', r.oid, r.xmin, r.relowner) FROM member m JOIN pg_class r ON r.oid = m.objid
             WHERE m.classid = 'pg_class'::regclass
  UNION ALL SELECT concat_ws(' ', 'trigger', t.oid, t.xmin) FROM member m JOIN pg_trigger t ON t.tgrelid = m.objid
             WHERE m.classid = 'pg_class'::regclass
  UNION ALL SELECT concat_ws(' ', 'index', i.indexrelid, i.xmin) FROM member m JOIN pg_index i ON i.indrelid = m.objid
             WHERE m.classid = 'pg_class'::regclass
  UNION ALL SELECT concat_ws(' ', 'default', a.oid, a.xmin) FROM member m JOIN pg_attrdef a ON a.adrelid = m.objid
             WHERE m.classid = 'pg_class'::regclass
  UNION ALL SELECT concat_ws(' ', 'policy', y.oid, y.xmin) FROM member m JOIN pg_policy y ON y.polrelid = m.objid
             WHERE m.classid = 'pg_class'::regclass
  UNION ALL SELECT concat_ws(' ', 'superuser', u.oid) FROM pg_roles u WHERE u.rolsuper
)
SELECT CASE WHEN EXISTS (SELECT FROM schema) THEN md5(string_agg(p.what, ',' ORDER BY p.what COLLATE "C")) END AS stamp FROM part p
