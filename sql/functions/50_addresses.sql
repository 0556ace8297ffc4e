-- Functions of the schema citus_ha: which address a row may have.

-- May a row of this group be given this address? Its own rows' addresses, those it had, those a superuser
-- allowed. A superuser's own session may do anything anyway.
CREATE OR REPLACE FUNCTION citus_ha.may_have_address(of_group int, host text, port int) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT EXISTS (
      SELECT FROM (SELECT groupid, nodename, nodeport FROM pg_dist_node
                   UNION ALL SELECT groupid, nodename, nodeport FROM citus_ha.allowed_address
                   UNION ALL SELECT groupid, nodename, nodeport FROM citus_ha.former_address) known
       WHERE known.groupid = of_group AND known.nodeport = port
         AND citus_ha.canonical_host(known.nodename) = citus_ha.canonical_host(host))
      OR (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = session_user));
END $$;

CREATE OR REPLACE FUNCTION citus_ha.require_address(of_group int, host text, port int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF citus_ha.may_have_address(of_group, host, port) IS NOT TRUE THEN
    RAISE EXCEPTION 'group % may not be given the address %:%', of_group, host, port
      USING ERRCODE = 'HA003',
            HINT = 'A superuser can allow it: citus-ha install, with the node under "standbys" or "addresses" of the configuration.';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION citus_ha.move_node(of_nodeid int, host text, port int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF to_regprocedure('citus_update_node(int, text, int, boolean, int)') IS NOT NULL THEN
    EXECUTE 'SELECT citus_update_node($1, $2, $3)' USING of_nodeid, host, port;
  ELSE  -- before Citus 10
    EXECUTE 'SELECT master_update_node($1, $2, $3)' USING of_nodeid, host, port;
  END IF;
END $$;
