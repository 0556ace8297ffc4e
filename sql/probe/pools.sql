-- Where Citus's connections to a node go instead of to its address. Only where pg_dist_poolinfo exists (Citus 11 and
-- later, and Citus Enterprise before).
-- Parameters: none. Privileges: none (Citus grants SELECT to PUBLIC).
SELECT coalesce(jsonb_agg(jsonb_build_object('nodeid', p.nodeid, 'poolinfo', p.poolinfo) ORDER BY p.nodeid), '[]') AS pools
  FROM pg_catalog.pg_dist_poolinfo p
