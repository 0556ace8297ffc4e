-- Whose the schema citus_ha is, and what is in it: anybody who may CREATE in the database can make one of that name. Only
-- what `src/observe/trust.ts` finds in order is called or read. Nothing of the schema itself is touched here, and every
-- name is pg_catalog's.
-- Each catalog is read once, and types by their index: a process that has just begun waits for this at every node.
-- Parameters: none. Privileges: none. PostgreSQL 10 and later.
WITH schema AS (
  SELECT n.oid, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'citus_ha'
), relation AS (
  SELECT c.oid, c.relname, c.relkind, c.relowner, c.reltype FROM pg_class c JOIN schema s ON s.oid = c.relnamespace
), routine AS (
  SELECT p.oid, p.proname, p.proowner, p.prolang, p.prosecdef, p.proconfig, p.prosrc, p.proargtypes
    FROM pg_proc p JOIN schema s ON s.oid = p.pronamespace
), type AS (
  SELECT t.oid, t.typname, t.typowner FROM pg_type t JOIN schema s ON s.oid = t.typnamespace
   WHERE t.typrelid = 0 AND t.typelem = 0
), expression AS (  -- what is evaluated where a table is read or written
  SELECT r.relname, 'pg_class'::regclass::oid AS classid, r.oid AS objid FROM relation r
  UNION ALL SELECT r.relname, 'pg_attrdef'::regclass::oid, a.oid FROM relation r JOIN pg_attrdef a ON a.adrelid = r.oid
  UNION ALL SELECT r.relname, 'pg_constraint'::regclass::oid, k.oid FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
), member AS (  -- whoever may CREATE in the database can put a trusted extension here: its objects are superusers', no code of his
  SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
), superuser AS (
  SELECT r.oid FROM pg_roles r WHERE r.rolsuper
)
SELECT (SELECT pg_get_userbyid(s.nspowner)::text FROM schema s)                AS owner,
       (SELECT coalesce(jsonb_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END), '[]')
          FROM schema s CROSS JOIN LATERAL aclexplode(s.nspacl) AS a
         WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT u.oid FROM superuser u)) AS creators,
       (SELECT coalesce(jsonb_agg(o.what || ' of ' || pg_get_userbyid(o.owner) ORDER BY o.what), '[]')
          FROM (SELECT 'the schema', s.nspowner FROM schema s
                UNION ALL SELECT 'relation ' || r.relname, r.relowner FROM relation r
                UNION ALL SELECT 'function ' || p.proname, p.proowner FROM routine p
                UNION ALL SELECT 'type ' || t.typname, t.typowner FROM type t) AS o(what, owner)
         WHERE o.owner NOT IN (SELECT u.oid FROM superuser u)) AS strangers,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.proname,
                 'language', (SELECT l.lanname FROM pg_language l WHERE l.oid = p.prolang),
                 'definer', p.prosecdef, 'config', coalesce(to_jsonb(p.proconfig), '[]'),
                 'body', md5(p.prosrc)) ORDER BY p.proname, p.oid), '[]')
          FROM routine p) AS functions,
       (SELECT coalesce(jsonb_agg(DISTINCT u.what), '[]')
          FROM (SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
                  FROM schema s JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid
                 WHERE d.classid <> ALL (ARRAY['pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                                               'pg_extension'::regclass]::oid[])
                   AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM member m)
                UNION ALL
                SELECT 'relation ' || r.relname || ' of kind ' || r.relkind::text FROM relation r WHERE r.relkind NOT IN ('r', 'i', 't')
                UNION ALL
                SELECT 'type ' || t.typname FROM type t
                 WHERE ('pg_type'::regclass::oid, t.oid) NOT IN (SELECT m.classid, m.objid FROM member m)
                UNION ALL
                SELECT 'trigger ' || t.tgname || ' on ' || r.relname FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
                UNION ALL
                SELECT 'rule ' || w.rulename || ' on ' || r.relname FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
                UNION ALL
                SELECT 'policy ' || y.polname || ' on ' || r.relname FROM relation r JOIN pg_policy y ON y.polrelid = r.oid
                UNION ALL
                SELECT pg_describe_object(d.refclassid, d.refobjid, 0) || ' behind ' || e.relname
                  FROM expression e JOIN pg_depend d ON d.classid = e.classid AND d.objid = e.objid
                 WHERE d.refclassid = ANY (ARRAY['pg_proc'::regclass, 'pg_operator'::regclass]::oid[])
                UNION ALL
                SELECT 'function ' || p.oid::regprocedure || ' with a type that is not PostgreSQL’s'
                  FROM routine p
                 WHERE EXISTS (SELECT FROM unnest(p.proargtypes::oid[]) AS a(type)
                                WHERE (SELECT t.typnamespace FROM pg_type t WHERE t.oid = a.type) <> 'pg_catalog'::regnamespace)
                   AND ('pg_proc'::regclass::oid, p.oid) NOT IN (SELECT m.classid, m.objid FROM member m)) AS u(what)) AS others
