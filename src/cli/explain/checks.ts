import { type Explanation, RUNBOOKS, STOP } from './explanation.ts'

const AT_FAILOVER = 'Everything works until the next failover.'
const AGAIN = 'then run again: `citus-ha doctor`'
const HERE = 'docs/reference/checks.md'

const POOL: Explanation = {
  meanwhile:
    'Connections to that node go where `pg_dist_poolinfo` sends them, whatever `pg_dist_node` says. citus-ha rewrites only `pg_dist_node`.',
  todo: [
    'correct the row, on the server that `citus-ha doctor` names, or delete it: `DELETE FROM pg_dist_poolinfo WHERE nodeid = N`',
    AGAIN,
  ],
  page: HERE,
}

const VERSIONS: Explanation = {
  meanwhile: 'citus-ha works with each of them: it checks what a server has, not which version it is.',
  todo: ['finish the upgrade, node by node', AGAIN],
  page: `${RUNBOOKS}#an-upgrade-in-progress`,
}

/** Of the checks of doctor, by id. What a check means is what it `says`. */
export const CHECK_EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  H010: {
    meanwhile:
      'citus-ha changes nothing in the whole cluster. Each client writes on the one to which it is connected.',
    todo: [`stop the one that is not the coordinator; run there: ${STOP}`, 'then: `citus-ha status`'],
    page: `${RUNBOOKS}#the-coordinator-is-gone`,
  },
  H020: {
    meanwhile:
      'Citus’s 2PC recovery on that server may roll back transactions that the coordinator has prepared: data may be lost at any time.',
    todo: ['turn its recovery off, with the two commands that `citus-ha doctor` prints, or stop it', AGAIN],
    page: 'docs/switchover.md#the-old-primary-keeps-running',
  },
  H021: {
    meanwhile: 'Its maintenance daemon would write its own metadata over that of workers as soon as it can.',
    todo: [
      'mark its workers as synced there, with the command that `citus-ha doctor` prints, or stop it',
      AGAIN,
    ],
    page: HERE,
  },
  H030: {
    meanwhile:
      'citus-ha does not change the primary of the group; the rule in the finding says why. A failover of the group would not be followed.',
    todo: ['read the explanation of the rule that the finding names: `citus-ha explain D…`'],
    page: `${RUNBOOKS}#refused`,
  },
  H031: {
    meanwhile:
      'Queries of this group go to the old primary. A running watcher follows within a second or so, unless it is paused.',
    todo: ['`citus-ha reconcile --group N`'],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  H040: {
    meanwhile:
      'citus-ha cannot reach or read that server from here. Whether the group works is not known: the evidence below the finding says which witnesses reach it.',
    todo: [
      'see whether it runs: `pg_isready -h HOST -p PORT`',
      'if it runs, see why citus-ha cannot connect: `psql -h HOST -p PORT -U citus_ha -d DATABASE -c "SELECT 1"`',
      'if it is down: start it, or promote a standby',
    ],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  H041: {
    meanwhile: 'The group works. If its primary is lost now, its standbys may lack the last writes.',
    todo: [
      'see why the standby does not stream: the last lines of its server log; `primary_conninfo`, its password, its slot',
      'if it is on another timeline: `pg_rewind`, or a new base backup',
      AGAIN,
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  H042: {
    meanwhile:
      'The group works, and another standby can be promoted. Reads through this one return old data.',
    todo: [
      'see why it does not stream: the last lines of its server log; `primary_conninfo`, its password, its slot',
      'if it is on another timeline: `pg_rewind`, or a new base backup',
      AGAIN,
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  H043: {
    meanwhile: `${AT_FAILOVER} If that node is promoted, citus-ha does not see it.`,
    todo: ['start it, or remove it from the configuration (`coordinators` or `standbys`)', AGAIN],
    page: HERE,
  },
  H044: {
    meanwhile: 'The group works. If its primary is lost, there is no standby to promote.',
    todo: [
      'make a standby of the primary: `pg_basebackup -h HOST -p PORT -R -D DIRECTORY`',
      "register it; run on the coordinator: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432)`",
    ],
    page: 'docs/first-cluster.md',
  },
  H045: {
    meanwhile:
      'The group works. Reads through this standby return old data, and a failover to it now would lose what it has not received.',
    todo: [
      'run on the primary: `SELECT application_name, state, replay_lag FROM pg_stat_replication`',
      'on the standby, check for long queries, `SELECT pg_is_wal_replay_paused()`, its disk and its network',
    ],
    page: 'docs/alerts.md#citushastandbylag',
  },
  H050: {
    meanwhile: 'The cluster works. No watcher follows a promotion; `citus-ha reconcile`, run by hand, does.',
    todo: [
      'when the pause is no longer needed (`citus-ha status` says who paused, and why): `citus-ha resume`, with `--group N` for one group',
    ],
    page: `${RUNBOOKS}#paused-and-forgotten`,
  },
  H060: {
    meanwhile:
      'The name in that row leads each node to a different machine: queries may go to the wrong server. citus-ha does not correct it.',
    todo: [
      'on the coordinator, give the row a name that leads every node to the same server: `citus-ha doctor` prints the statement',
    ],
    page: HERE,
  },
  H061: {
    meanwhile: `${AT_FAILOVER} A failover of the coordinator cannot be written to \`pg_dist_node\`; failovers of workers can.`,
    todo: ["run on the coordinator: `SELECT citus_set_coordinator_host('HOST', PORT)`", AGAIN],
    page: HERE,
  },
  H062: {
    meanwhile:
      'Queries from the one node to the other fail. That node is no witness when the other one is down.',
    todo: [
      'on the node that does not reach it, resolve the name: `getent hosts NAME`',
      'then check `pg_hba.conf` on the other node, the password of the role, and the firewall',
      AGAIN,
    ],
    page: 'docs/install.md#passwords',
  },
  H063: {
    meanwhile: `${AT_FAILOVER} That node is no witness: a failover may be refused, because too few witnesses say that the primary is down.`,
    todo: [
      'give the account that runs PostgreSQL there a password for the role: `~/.pgpass`, or a row of `pg_dist_authinfo`',
      'allow the role from that node in `pg_hba.conf` of the others',
      AGAIN,
    ],
    page: 'docs/install.md#passwords',
  },
  H064: {
    meanwhile: `${AT_FAILOVER} A failover to that address is refused (exit code 2), and nothing is changed.`,
    todo: [
      'allow the address; this needs a superuser: `citus-ha install --config FILE --user postgres`',
      AGAIN,
    ],
    page: 'docs/install.md',
  },
  H070: {
    meanwhile:
      'Queries continue. DDL fails until Citus has synced that worker; citus-ha rewrites its copy like any other.',
    todo: ["run on the coordinator: `SELECT start_metadata_sync_to_node('HOST', PORT)`", AGAIN],
    page: HERE,
  },
  H071: {
    meanwhile:
      'Queries that enter at that node use its old rows, and may go to an old primary. Queries that enter at other nodes are not affected.',
    todo: ['see what differs: `citus-ha reconcile --dry-run`', 'update it: `citus-ha reconcile`'],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  H072: {
    meanwhile:
      'The cluster works. Both programs write the same rows: what one of them has written, the other finds right.',
    todo: [
      'switch over with `patronictl switchover`: `citus-ha switchover` is refused there (H073)',
      'read what to configure: docs/patroni.md, “Beside Patroni’s Citus mode”',
    ],
    page: 'docs/patroni.md#beside-patronis-citus-mode',
  },
  H073: {
    meanwhile:
      'The group works. Patroni stops a server that it did not promote, with all that this server has accepted by then; the monitor of pg_auto_failover continues to name the old primary. So `citus-ha switchover` is refused without `--promote-command`.',
    todo: ['switch over by that program: `patronictl switchover`, or `pg_autoctl perform switchover`'],
    page: 'docs/switchover.md#what-refuses-it',
  },
  H080: {
    meanwhile: `${AT_FAILOVER} If that standby is promoted, citus-ha does not see it: neither a row nor the configuration names it.`,
    todo: [
      "register it; run on the coordinator: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432)`",
      'or name it in the configuration, under `standbys`, or `coordinators` for one of group 0; then: `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/reference/configuration.md',
  },
  H081: {
    meanwhile: `${AT_FAILOVER} One server answers for two rows: the group seems to have a standby that it does not have.`,
    todo: [
      "remove the row that is not needed; run on the coordinator: `SELECT citus_remove_node('HOST', PORT)`",
      AGAIN,
    ],
    page: HERE,
  },
  H082: {
    meanwhile:
      'Reads through that expand coordinator fail for the group. Reads and writes through the coordinator continue.',
    todo: [
      "register a standby in that cluster: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432, 'CLUSTER')`",
      AGAIN,
    ],
    page: 'docs/reads.md#reads-while-a-node-is-down',
  },
  H090: POOL,
  H091: POOL,
  H092: {
    ...POOL,
    todo: ['make the pooler at that host follow a promotion, or delete the row', AGAIN],
  },
  H100: {
    meanwhile:
      'Writes to the group wait for its locks; reads continue. Nothing is lost: the coordinator’s record says whether the change was decided.',
    todo: ['see what would be done: `citus-ha recover --dry-run`', 'resolve it: `citus-ha recover`'],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H101: {
    meanwhile:
      'A change of the metadata would be blocked (exit code 4). citus-ha never commits or rolls back a prepared transaction that is not its own.',
    todo: [
      'a transaction of Citus (`citus_…`): run the command that `citus-ha doctor` prints; it lets the server that has the record decide',
      "any other: ask its owner (`owner` in `pg_prepared_xacts`), then `COMMIT PREPARED 'GID'` or `ROLLBACK PREPARED 'GID'` there",
    ],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H102: {
    meanwhile:
      'It does not block a change of citus-ha yet, but it keeps its locks, and keeps VACUUM from removing dead rows. citus-ha leaves it alone.',
    todo: [
      'a transaction of Citus (`citus_…`): run the command that `citus-ha doctor` prints; it lets the server that has the record decide',
      "any other: ask its owner (`owner` in `pg_prepared_xacts`), then `COMMIT PREPARED 'GID'` or `ROLLBACK PREPARED 'GID'` there",
    ],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H110: {
    meanwhile: 'Transactions of Citus over several nodes fail there too, now or once the node is promoted.',
    todo: [
      'run there: `ALTER SYSTEM SET max_prepared_transactions = 100`, then restart, standbys first',
      AGAIN,
    ],
    page: 'README.md#what-it-needs',
  },
  H111: {
    meanwhile: 'Transactions over several nodes fail there, those of clients and those of citus-ha.',
    todo: [
      'list them with their owners: `SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared`',
      'those of citus-ha: `citus-ha recover`; those of Citus: `SELECT recover_prepared_transactions()` on the coordinator',
      'if all of them are recent: raise `max_prepared_transactions`, then restart, standbys first',
    ],
    page: HERE,
  },
  H120: {
    meanwhile:
      'Commits on that primary hang; reads continue. A commit that hangs is on the primary’s disk, but not yet on enough synchronous standbys.',
    todo: [
      'start the standbys that are missing',
      'or require fewer: `ALTER SYSTEM SET synchronous_standby_names = …`, `SELECT pg_reload_conf()` (with Patroni: `patronictl edit-config`)',
    ],
    page: 'docs/alerts.md#citushawriteshang',
  },
  H121: {
    meanwhile: `${AT_FAILOVER} After it, every commit on the new primary would hang.`,
    todo: [
      'on the standby, require no more than the group will have left: `ALTER SYSTEM SET synchronous_standby_names = …`, `SELECT pg_reload_conf()`',
      'if your HA tool sets it at a promotion: nothing',
    ],
    page: 'docs/alerts.md#citushawriteshang',
  },
  H130: {
    meanwhile:
      'Queries continue. Until the wait ends, that daemon resolves no distributed deadlock, recovers no transaction and syncs no metadata.',
    todo: [
      'cancel its wait: `SELECT pg_cancel_backend(PID)` there, with the pid that `citus-ha doctor` names',
      'if the wait comes back: the daemon waits for a node that hangs; shut that node down',
    ],
    page: HERE,
  },
  H140: {
    meanwhile:
      'Queries continue. citus-ha cannot rewrite that node’s copy: after a failover it is left to Citus’s own metadata sync.',
    todo: [
      'install or update it; this needs a superuser: `citus-ha install --config FILE --user postgres`',
      'if the schema is newer than this program: upgrade this program',
      'if citus-ha did not make the schema: ask its owner before you drop it',
    ],
    page: 'docs/install.md',
  },
  H141: {
    meanwhile: `${AT_FAILOVER} Then what the role may not do is refused (exit code 2), and nothing is changed.`,
    todo: ['grant it; this needs a superuser: `citus-ha install --config FILE --user postgres`', AGAIN],
    page: 'docs/install.md',
  },
  H142: {
    meanwhile: 'The findings are valid, but the privileges of the role `citus_ha` were not checked.',
    todo: ['run it as that role: `citus-ha doctor --coordinator postgres://citus_ha@HOST/DATABASE`'],
    page: 'docs/install.md',
  },
  H143: {
    meanwhile:
      'Failovers are followed. `citus-ha switchover` is refused (exit code 3), and nothing is changed.',
    todo: [
      'grant them; this needs a superuser: `citus-ha install --config FILE --user postgres --switchover`',
    ],
    page: 'docs/switchover.md',
  },
  H150: {
    meanwhile:
      'Sessions for which the setting is on can read, but not write; if it is on for citus-ha’s role, citus-ha cannot write either.',
    todo: ['reset the setting, with the command that `citus-ha doctor` prints', AGAIN],
    page: 'docs/alerts.md#citushareadonly',
  },
  H160: {
    meanwhile:
      'Everything works: no decision of citus-ha compares the clocks of two servers. Times in logs may mislead.',
    todo: ['run on both: `chronyc tracking`'],
    page: HERE,
  },
  H170: {
    ...VERSIONS,
    meanwhile:
      'Queries continue where Citus allows them; DDL and metadata sync may be refused between two releases.',
  },
  H171: VERSIONS,
  H172: VERSIONS,
  H180: {
    meanwhile:
      'The group works. The old primary takes no writes and cannot be promoted: the group has one standby fewer.',
    todo: [
      'make it a standby; run there the command that `citus-ha doctor` prints: `pg_rewind`, or a new base backup',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  H182: {
    meanwhile:
      'The group works. Only clients that are connected to the old primary directly write there, and those writes are lost.',
    todo: [
      `stop it; run there: ${STOP}`,
      'make it a standby, with the command that `citus-ha doctor` prints',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  H181: {
    meanwhile:
      'Queries continue. Interrupted transactions over several nodes keep their locks until they are committed or rolled back by hand.',
    todo: ['reset the setting, with the two commands that `citus-ha doctor` prints', AGAIN],
    page: 'docs/switchover.md#the-old-primary-keeps-running',
  },
  H190: {
    meanwhile: `${AT_FAILOVER} citus-ha does not create or move slots; \`switchover\` is refused without \`--allow-slot-loss\`.`,
    todo: [
      'since PostgreSQL 17: create the slot with `failover`, and set `sync_replication_slots` on the standby',
      'before PostgreSQL 17: plan to create the slot, and to set its consumer up, again after a failover',
    ],
    page: 'docs/switchover.md#what-refuses-it',
  },
  H900: {
    meanwhile: 'All else was checked. What could not be read may be wrong: this result is no all-clear.',
    todo: ['remove the cause that the evidence names (a missing privilege, a timeout)', AGAIN],
    page: HERE,
  },
}
