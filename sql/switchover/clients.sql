-- What could go on writing on this primary while it is read-only by default, whatever is waited for: settings of roles and
-- databases that say otherwise, subscriptions, and what is prepared; the databases that this role may not connect to; and the
-- unlogged tables of this database that have something in them, which no standby has (shards with their visibility on).
-- Parameters: none. Privileges: none.
SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('role', r.rolname, 'database', d.datname)
                        ORDER BY r.rolname, d.datname), '[]')
          FROM pg_db_role_setting s
          LEFT JOIN pg_roles r ON r.oid = s.setrole
          LEFT JOIN pg_database d ON d.oid = s.setdatabase
         WHERE (r.rolname IS NULL OR r.rolcanlogin)
           AND EXISTS (SELECT FROM unnest(s.setconfig) AS c(setting)
                        WHERE c.setting LIKE 'default\_transaction\_read\_only=%'
                          AND NOT split_part(c.setting, '=', 2)::boolean))        AS overriding,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.subname, 'database', d.datname)
                        ORDER BY d.datname, s.subname), '[]')
          FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
         WHERE s.subenabled)                                                   AS subscriptions,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('gid', p.gid, 'owner', p.owner, 'database', p.database)
                        ORDER BY p.prepared), '[]')
          FROM pg_prepared_xacts p)                                            AS prepared,
       (SELECT coalesce(jsonb_agg(d.datname ORDER BY d.datname), '[]')
          FROM pg_database d
         WHERE d.datallowconn AND NOT has_database_privilege(d.oid, 'CONNECT')) AS closed,
       (SELECT coalesce(jsonb_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text), '[]')
          FROM pg_class c
         WHERE c.relpersistence = 'u' AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0) AS unlogged
