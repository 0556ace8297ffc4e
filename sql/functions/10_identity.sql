-- Functions of the schema citus_ha: who this server is, and its copy of pg_dist_node.

-- The timeline of a standby that streams no more, where its control file is late: the file says so at a restartpoint or a
-- write of a page only, minutes after the standby has come to a timeline. It has come to one of which it has the history
-- file, and WAL at the place up to which it has replayed, beyond the point where that timeline began.
CREATE OR REPLACE FUNCTION citus_ha.replayed_timeline(at_least int) RETURNS int
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT coalesce(max(h.tli), at_least)
    FROM (SELECT r.lsn, ((r.lsn - '0/0') - 1)::bigint / i.bytes_per_wal_segment AS segment,
                 4294967296 / i.bytes_per_wal_segment AS segments
            FROM pg_control_init() AS i, pg_last_wal_replay_lsn() AS r(lsn)) AS p,
         LATERAL (SELECT left(f, 8) AS name, ('x' || left(f, 8))::bit(32)::int AS tli, pg_read_file('pg_wal/' || f, 0, 1048576, true) AS text
                    FROM pg_ls_dir('pg_wal') AS f
                   WHERE f ~ '^[0-9A-F]{8}[.]history$' AND left(f, 8) > lpad(upper(to_hex(at_least)), 8, '0')) AS h
   WHERE (pg_stat_file('pg_wal/' || h.name || lpad(upper(to_hex(p.segment / p.segments)), 8, '0')
                                || lpad(upper(to_hex(p.segment % p.segments)), 8, '0'), true)).size IS NOT NULL
     AND h.text ~ ('(?n)^[[:space:]]*' || at_least || '[[:space:]]')
     AND p.lsn > ALL (SELECT m[1]::pg_lsn FROM regexp_matches(h.text, '^[[:space:]]*[0-9]+[[:space:]]+([0-9A-Fa-f]+/[0-9A-Fa-f]+)', 'gn') AS m)
$$;

-- Identity and history of this server. Callable on standbys too.
CREATE OR REPLACE FUNCTION citus_ha.node_identity(
  OUT system_identifier text, OUT in_recovery boolean, OUT timeline int, OUT history text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  system_identifier := (SELECT s.system_identifier::text FROM pg_control_system() s);
  in_recovery := pg_is_in_recovery();
  IF in_recovery THEN
    timeline := (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline,
                                 (SELECT w.received_tli FROM pg_stat_get_wal_receiver() w))
                   FROM pg_control_checkpoint() c, pg_control_recovery() r);
    IF NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver() w WHERE w.received_tli IS NOT NULL) THEN
      timeline := citus_ha.replayed_timeline(timeline);
    END IF;
  ELSE
    -- The control file's timeline is late after a promotion; the current WAL file's name is not.
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int;
  END IF;
  history := coalesce(pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true), '');
END $$;

-- Two spellings of one address count as one here: case of a DNS name, and IPv4 mapped into IPv6.
CREATE OR REPLACE FUNCTION citus_ha.canonical_host(host text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN (
    SELECT regexp_replace(lower(host), '^::ffff:', ''));
END $$;

CREATE OR REPLACE FUNCTION citus_ha.parking_host(of_nodeid int) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN (
    SELECT 'citus-ha-moving-' || of_nodeid || '.invalid');
END $$;

-- The group that this server is of, or was before it was retired: that one says so by a group id that no group has
-- (citus_ha.retire).
CREATE OR REPLACE FUNCTION citus_ha.own_group() RETURNS int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
BEGIN
  RETURN (
    SELECT g.groupid % 1000000000 FROM pg_dist_local_group g);
END $$;

-- This copy as it is now, with the highest epoch it has seen and who this server is. A statement of its own
-- after the one that locked: under READ COMMITTED it sees what the lock waited for.
CREATE OR REPLACE FUNCTION citus_ha.read_copy() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET session_replication_role = origin AS $$
DECLARE
  identity record;
BEGIN
  SELECT * INTO identity FROM citus_ha.node_identity();
  RETURN jsonb_build_object(
    'rows', (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.ctid), '[]') FROM pg_dist_node n),
    'epoch', (SELECT e.epoch FROM citus_ha.epoch e),
    'epochTimeline', (SELECT e.coordinator_timeline FROM citus_ha.epoch e),
    'localGroup', citus_ha.own_group(),
    'systemIdentifier', identity.system_identifier,
    'inRecovery', identity.in_recovery,
    'timeline', identity.timeline,
    'history', identity.history);
END $$;
