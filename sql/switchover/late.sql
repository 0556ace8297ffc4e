-- On an old primary: how many transactions were committed there after its successor was to replay it for the last time.
-- Parameters: what was committed then, a txid_snapshot as a literal; the transaction of ours that marks it, a literal.
-- Privileges: none. PostgreSQL 10 and later.
SELECT count(*)::int AS late
  FROM generate_series(txid_snapshot_xmin($1::txid_snapshot), txid_snapshot_xmax(txid_current_snapshot()) - 1) AS x(xid)
 WHERE NOT txid_visible_in_snapshot(x.xid, $1::txid_snapshot) AND x.xid <> $2::bigint AND txid_status(x.xid) = 'committed'
