-- Functions of the schema citus_ha: what a node that is asked about another one needs.

-- This session's messages are no longer translated, those of the libpq in its backend among them: why a connection to
-- another node fails is read from them. Only a superuser may set lc_messages.
CREATE OR REPLACE FUNCTION citus_ha.untranslate_messages() RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
  SELECT set_config('lc_messages', 'C', false)
$$;
