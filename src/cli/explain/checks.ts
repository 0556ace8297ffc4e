import { type Explanation, RUNBOOKS } from './explanation.ts'

const AT_FAILOVER = 'Everything works until the next failover.'
const AGAIN = 'then again: `citus-ha doctor`'
const HERE = 'docs/reference/checks.md'

const POOL: Explanation = {
  meanwhile:
    'Connections to that node go where `pg_dist_poolinfo` sends them, whatever `pg_dist_node` says. citus-ha rewrites `pg_dist_node` alone.',
  todo: [
    'correct the row, on the server that `citus-ha doctor` names, or delete it: `DELETE FROM pg_dist_poolinfo WHERE nodeid = N`',
    AGAIN,
  ],
  page: HERE,
}

const VERSIONS: Explanation = {
  meanwhile: 'citus-ha works with each of them: it asks for what a server has, and never by its version.',
  todo: ['bring the upgrade to its end, node by node', AGAIN],
  page: `${RUNBOOKS}#an-upgrade-in-progress`,
}

/** Of the checks of doctor, by id. What a check means is what it `says`. */
export const CHECK_EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  H010: {
    meanwhile:
      'citus-ha changes nothing in the whole cluster. Clients write on whichever of the two they are connected to.',
    todo: [
      'stop the one that is not the coordinator, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
      'then: `citus-ha status`',
    ],
    page: `${RUNBOOKS}#the-coordinator-is-gone`,
  },
  H020: {
    meanwhile:
      'Citus’s 2PC recovery on that server may roll back transactions that the coordinator has prepared: data may be lost at any time.',
    todo: ['turn its recovery off, with the two commands that `citus-ha doctor` prints, or stop it', AGAIN],
    page: 'docs/switchover.md#the-old-primary-runs-on',
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
      'citus-ha does not change the primary of the group, as the rule in the finding says; a failover of it would not be followed.',
    todo: ['`citus-ha explain` with the rule that the finding names (D…)'],
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
      'citus-ha can’t say anything of that server from here. Whether the group works is not known: the evidence below the finding says who reaches it.',
    todo: [
      'see whether it runs: `pg_isready -h HOST -p PORT`',
      'if it runs, see why citus-ha does not get in: `psql -h HOST -p PORT -U citus_ha -d DATABASE -c "SELECT 1"`',
      'if it is down: start it, or promote a standby',
    ],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  H041: {
    meanwhile:
      'The group works. Should its primary be lost now, its standbys may lack what was written last.',
    todo: [
      'see why the standby does not stream: the last lines of its server log; `primary_conninfo`, its password, its slot',
      'one that is on another timeline: `pg_rewind`, or `pg_basebackup` anew',
      AGAIN,
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  H042: {
    meanwhile: 'The group works, and another standby can be promoted. What is read through this one is old.',
    todo: [
      'see why it does not stream: the last lines of its server log; `primary_conninfo`, its password, its slot',
      'one that is on another timeline: `pg_rewind`, or `pg_basebackup` anew',
      AGAIN,
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  H043: {
    meanwhile: `${AT_FAILOVER} Should that node be promoted, citus-ha would not see it.`,
    todo: ['start it, or take it out of the configuration, under `coordinators` or `standbys`', AGAIN],
    page: HERE,
  },
  H044: {
    meanwhile: 'The group works. When its primary is lost, nothing can be promoted.',
    todo: [
      'make a standby of the primary: `pg_basebackup -h HOST -p PORT -R -D DIRECTORY`',
      "register it, on the coordinator: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432)`",
    ],
    page: 'docs/first-cluster.md',
  },
  H045: {
    meanwhile:
      'The group works. Reads through this standby are old, and a failover to it now would lose what it has not received.',
    todo: [
      'on the primary: `SELECT application_name, state, replay_lag FROM pg_stat_replication`',
      'on the standby: long queries, `SELECT pg_is_wal_replay_paused()`, its disk and its network',
    ],
    page: 'docs/alerts.md#citushastandbylag',
  },
  H050: {
    meanwhile:
      'The cluster works. No watcher follows a promotion; `citus-ha reconcile`, typed by a person, does all the same.',
    todo: ['if whoever paused it is done: `citus-ha resume`, with `--group N` for one group'],
    page: `${RUNBOOKS}#paused-and-forgotten`,
  },
  H060: {
    meanwhile:
      'Each node takes that row for itself: queries may go to the wrong server. citus-ha does not correct it.',
    todo: [
      'on the coordinator, give the row a name that means the same everywhere: `citus-ha doctor` prints the statement',
    ],
    page: HERE,
  },
  H061: {
    meanwhile: `${AT_FAILOVER} A failover of the coordinator can’t be written down; those of workers can.`,
    todo: ["on the coordinator: `SELECT citus_set_coordinator_host('HOST', PORT)`", AGAIN],
    page: HERE,
  },
  H062: {
    meanwhile:
      'Queries that go from the one node to the other fail. That node is no witness of the other’s failure.',
    todo: [
      'on the node that does not reach it, look the name up: `getent hosts NAME`',
      'then `pg_hba.conf` there, the password of the role, and the firewall',
      AGAIN,
    ],
    page: 'docs/install.md#passwords',
  },
  H063: {
    meanwhile: `${AT_FAILOVER} That node is no witness: a failover may be refused, since too few say that the primary is down.`,
    todo: [
      'give the account that runs PostgreSQL there a password for the role: `~/.pgpass`, or a row of `pg_dist_authinfo`',
      'let the role in from that node, in `pg_hba.conf` of the others',
      AGAIN,
    ],
    page: 'docs/install.md#passwords',
  },
  H064: {
    meanwhile: `${AT_FAILOVER} A failover to that address is refused (exit code 2), and nothing is changed.`,
    todo: ['allow the address, as a superuser: `citus-ha install --config FILE --user postgres`', AGAIN],
    page: 'docs/install.md',
  },
  H070: {
    meanwhile:
      'Queries go on. DDL fails until Citus has synced that worker; citus-ha rewrites the rows of its copy like those of any other.',
    todo: ["on the coordinator: `SELECT start_metadata_sync_to_node('HOST', PORT)`", AGAIN],
    page: HERE,
  },
  H071: {
    meanwhile:
      'Queries that enter at that node go by its old rows, perhaps to an old primary. Those that enter elsewhere are right.',
    todo: ['see what differs: `citus-ha reconcile --dry-run`', 'make it right: `citus-ha reconcile`'],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  H080: {
    meanwhile: `${AT_FAILOVER} Should that standby be promoted, citus-ha would not see it: nothing tells where it is.`,
    todo: [
      "register it, on the coordinator: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432)`",
      'or name it in the configuration, under `standbys`, or `coordinators` for one of group 0; then: `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/reference/configuration.md',
  },
  H081: {
    meanwhile: `${AT_FAILOVER} One server answers for two rows: the group seems to have a standby that it has not.`,
    todo: [
      "remove the row that is too many, on the coordinator: `SELECT citus_remove_node('HOST', PORT)`",
      AGAIN,
    ],
    page: HERE,
  },
  H082: {
    meanwhile:
      'Reads through that expand coordinator fail for the group. Reads and writes through the coordinator go on.',
    todo: [
      "register a standby in that cluster: `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432, 'CLUSTER')`",
      AGAIN,
    ],
    page: 'README.md#reads-while-a-node-is-down',
  },
  H090: POOL,
  H091: POOL,
  H092: {
    ...POOL,
    todo: ['see to it that the pooler at that host follows a promotion, or delete the row', AGAIN],
  },
  H100: {
    meanwhile:
      'Writes of the group wait for its locks; reads go on. Nothing is lost: the coordinator’s record says whether it was decided.',
    todo: ['see what would be done: `citus-ha recover --dry-run`', 'end it: `citus-ha recover`'],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H101: {
    meanwhile:
      'A change of the metadata would be blocked (exit code 4). citus-ha never ends a transaction that is not its own.',
    todo: [
      'one of Citus (`citus_…`): the command that `citus-ha doctor` prints lets the server that knows decide',
      "any other: ask whoever prepared it, then `COMMIT PREPARED 'GID'` or `ROLLBACK PREPARED 'GID'` there",
    ],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H102: {
    meanwhile:
      'It is in nobody’s way yet, but keeps VACUUM from its work, and its rows locked. citus-ha leaves it alone.',
    todo: [
      'one of Citus (`citus_…`): the command that `citus-ha doctor` prints lets the server that knows decide',
      "any other: ask whoever prepared it, then `COMMIT PREPARED 'GID'` or `ROLLBACK PREPARED 'GID'` there",
    ],
    page: `${RUNBOOKS}#in-doubt`,
  },
  H110: {
    meanwhile:
      'Citus’s own transactions over several nodes fail there too, and so does any change of citus-ha.',
    todo: ['there: `ALTER SYSTEM SET max_prepared_transactions = 100`, and restart; standbys first', AGAIN],
    page: 'README.md#what-it-needs',
  },
  H111: {
    meanwhile: 'Transactions over several nodes fail there, those of clients and those of citus-ha.',
    todo: [
      'see whose they are: `SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared`',
      'those of citus-ha: `citus-ha recover`; those of Citus: `SELECT recover_prepared_transactions()` on the coordinator',
      'if all of them are young: raise `max_prepared_transactions`, and restart; standbys first',
    ],
    page: HERE,
  },
  H120: {
    meanwhile: 'Commits on that primary hang; reads go on. What was committed there and waits is not lost.',
    todo: [
      'start the standbys that are missing',
      'or ask for fewer: `ALTER SYSTEM SET synchronous_standby_names = …`, `SELECT pg_reload_conf()` (with Patroni: `patronictl edit-config`)',
    ],
    page: 'docs/alerts.md#citushawriteshang',
  },
  H121: {
    meanwhile: `${AT_FAILOVER} After it every commit on the new primary would hang.`,
    todo: [
      'on the standby, ask for no more than will be left: `ALTER SYSTEM SET synchronous_standby_names = …`, `SELECT pg_reload_conf()`',
      'nothing, where your HA tool sets it at a promotion',
    ],
    page: 'docs/alerts.md#citushawriteshang',
  },
  H130: {
    meanwhile:
      'Queries go on. Distributed deadlocks are not resolved, nor interrupted transactions recovered, until it is free.',
    todo: [
      'end its wait: `SELECT pg_cancel_backend(PID)` there, with the pid that `citus-ha doctor` names',
      'if it comes back: a node that hangs is in its way; shut that one down',
    ],
    page: HERE,
  },
  H140: {
    meanwhile:
      'Queries go on. That node’s copy can’t be rewritten by citus-ha: after a failover it is left to Citus’s own sync.',
    todo: [
      'install, or bring it up to date, as a superuser: `citus-ha install --config FILE --user postgres`',
      'if the schema is newer than this program: bring this program up to date',
      'if it is somebody else’s: see who made it before it is dropped',
    ],
    page: 'docs/install.md',
  },
  H141: {
    meanwhile: `${AT_FAILOVER} What the role may not do would be refused then (exit code 2), and nothing be changed.`,
    todo: ['grant it, as a superuser: `citus-ha install --config FILE --user postgres`', AGAIN],
    page: 'docs/install.md',
  },
  H142: {
    meanwhile: 'What was found is right; rights of the role `citus_ha` were not looked at.',
    todo: ['as that role: `citus-ha doctor --coordinator postgres://citus_ha@HOST/DATABASE`'],
    page: 'docs/install.md',
  },
  H143: {
    meanwhile:
      'Failovers are followed. `citus-ha switchover` would be refused (exit code 3), and nothing be touched.',
    todo: ['grant them, as a superuser: `citus-ha install --config FILE --user postgres --switchover`'],
    page: 'docs/switchover.md',
  },
  H150: {
    meanwhile:
      'What the setting is on for can read, and write nothing: citus-ha too, where it is on for its role.',
    todo: ['reset it, with the command that `citus-ha doctor` prints', AGAIN],
    page: 'docs/alerts.md#citushareadonly',
  },
  H160: {
    meanwhile:
      'Everything works: citus-ha decides nothing by the clocks of two servers. Times in logs mislead.',
    todo: ['on both: `chronyc tracking`'],
    page: HERE,
  },
  H170: {
    ...VERSIONS,
    meanwhile:
      'Queries go on where Citus lets them; DDL and metadata sync may be refused between two releases.',
  },
  H171: VERSIONS,
  H172: VERSIONS,
  H180: {
    meanwhile: 'The group works. The old primary can’t write or be promoted: the group has a standby less.',
    todo: [
      'make a standby of it, there, with the command that `citus-ha doctor` prints: `pg_rewind`, or `pg_basebackup` anew',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  H182: {
    meanwhile:
      'The group works. Only clients that are connected to the old primary directly write there, and those writes are lost.',
    todo: [
      'stop it, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
      'make a standby of it, with the command that `citus-ha doctor` prints',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  H181: {
    meanwhile:
      'Queries go on. Transactions over several nodes that are interrupted keep their locks until somebody ends them.',
    todo: ['reset it, with the two commands that `citus-ha doctor` prints', AGAIN],
    page: 'docs/switchover.md#the-old-primary-runs-on',
  },
  H190: {
    meanwhile: `${AT_FAILOVER} citus-ha neither makes nor moves slots; \`switchover\` refuses without \`--allow-slot-loss\`.`,
    todo: [
      'since PostgreSQL 17: make the slot with `failover`, and set `sync_replication_slots` on the standby',
      'before: plan to make its consumer anew after a failover',
    ],
    page: 'docs/switchover.md#what-refuses-it',
  },
  H900: {
    meanwhile: 'What could be looked at was. What could not may be wrong: this is no all-clear.',
    todo: ['remove what the evidence names (a right, a timeout)', AGAIN],
    page: HERE,
  },
}
