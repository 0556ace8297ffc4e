/** What an alert of deploy/prometheus asks of a person; the page docs/alerts.md is made of these. Texts are Markdown. */
export interface Alert {
  /** The part of the page. */
  readonly part: 'Groups' | 'Nodes' | 'Watchers'
  readonly means: string
  readonly meanwhile: string
  /** null: there is nothing to read first. */
  readonly look: string | null
  readonly todo: string
}

export const ALERTS: Readonly<Record<string, Alert>> = {
  CitusHaSplitBrain: {
    part: 'Groups',
    means: 'Two members of a group with one timeline history take writes.',
    meanwhile:
      'citus-ha changes nothing for the group; the cluster continues as `pg_dist_node` says, with the registered primary.',
    look: '`citus-ha status`: both servers, with their timelines. Ask the tool that promotes which one it considers the primary.',
    todo: 'stop the wrong one (`pg_ctl stop -m fast -D DATA_DIRECTORY`); the watcher then follows the other. If both have to keep running for now, choose: `citus-ha reconcile --group N --promoted HOST:PORT`. What was written on the one that is not chosen is lost to the cluster: keep its data directory.',
  },
  CitusHaTwoPrimaries: {
    part: 'Groups',
    means: 'Two servers that `pg_dist_node` names for one group are writable, whatever the diagnosis is.',
    meanwhile:
      'Queries go to the one that `pg_dist_node` names as the primary. What is written on the others is not seen through the cluster.',
    look: '`citus-ha status`; [the group’s alert](#groups) beside this one says what is believed.',
    todo: 'as for [CitusHaSplitBrain](#citushasplitbrain): stop the one that is not the primary, and make it a standby (`pg_rewind`, a new base backup).',
  },
  CitusHaNoPrimary: {
    part: 'Groups',
    means:
      'No server takes writes for the group: its primary is down (`primary-down`), in recovery (`primary-in-recovery`), or not registered (`no-primary-row`).',
    meanwhile:
      'citus-ha promotes no server, and changes nothing for the group. Writes to it fail; other groups work.',
    look: '`citus-ha status`; the log of the tool that promotes: why has it not promoted?',
    todo: 'start the primary, or promote a standby (`patronictl failover`, `repmgr standby promote`, `pg_ctl promote`). The watcher follows within a second or so; without one, `citus-ha reconcile`. For `no-primary-row`: `SELECT citus_add_node(…)` on the coordinator.',
  },
  CitusHaPrimaryUnclear: {
    part: 'Groups',
    means:
      'The watcher does not reach the primary, and that is not enough to call it down: too few witnesses ([the table](witnesses.md)), or one of them still gets an answer.',
    meanwhile:
      'citus-ha changes nothing for the group. If the primary is running, the group works as before.',
    look: '`citus-ha status` on another machine; `citus-ha doctor` names connections that do not work.',
    todo: 'repair the network or `pg_hba.conf`. Where you know that the primary is gone and a standby was promoted: `citus-ha reconcile --group N --promoted HOST:PORT`.',
  },
  CitusHaRefused: {
    part: 'Groups',
    means:
      'The server that takes writes has another system identifier or timeline history, or lacks WAL that is known to exist: a restored backup, a standby that was behind, a wrong address.',
    meanwhile:
      'citus-ha changes nothing for the group; `pg_dist_node` stays as it is. Other groups work, and their promotions are followed.',
    look: '`citus-ha status --json`: `evidence` has both positions and timelines.',
    todo: 'if it is the wrong server, correct the address or stop it. If it is the right server and the loss is accepted: `citus-ha reconcile --group N --promoted HOST:PORT`; after a restore of the whole cluster: `citus-ha relearn` ([upgrade.md](upgrade.md)).',
  },
  CitusHaOldPrimaryWrites: {
    part: 'Groups',
    means:
      'An old primary, retired by a switchover or a failover, still takes writes of clients that are connected to it directly. These writes are lost.',
    meanwhile: 'Reads and writes through the cluster go to the new primary.',
    look: '`SELECT pid, usename, client_addr FROM pg_stat_activity` there: which clients are connected?',
    todo: 'stop that server, and point those clients to the coordinator.',
  },
  CitusHaReadOnly: {
    part: 'Groups',
    means: 'The primary answers and is no standby, but `default_transaction_read_only` is on.',
    meanwhile: 'Reads of the group continue; writes to it fail as read-only. Other groups work.',
    look: '`citus-ha doctor`, finding H150: where the setting comes from.',
    todo: 'run the command that H150 prints. A full disk is a common reason for this setting.',
  },
  CitusHaChangePending: {
    part: 'Groups',
    means:
      'A promotion is proved (`promoted`), still running (`promotion-running`), or waits for a name that moves by itself (`name-to-follow`), and `pg_dist_node` has not followed within a minute.',
    meanwhile: 'Queries of the group fail, or go to a server that is not the primary. Other groups work.',
    look: 'does [a watcher lead](#citushanobodyleads), is the group [paused](#citushapaused), is the change [blocked](#citushagroupblocked)?',
    todo: '`citus-ha reconcile --group N`: it does what a watcher would, and says what blocks it.',
  },
  CitusHaGroupBlocked: {
    part: 'Groups',
    means:
      'Three tries in a row to change the group have failed. The watcher tries again, with growing pauses.',
    meanwhile:
      'Nothing is left half done: each try rolls back what it began. Queries of the group use the old rows.',
    look: 'the watcher’s log, event `acted`, or `citus-ha reconcile --group N`: it names the blocking sessions, by node and pid.',
    todo: 'terminate those sessions, or `citus-ha reconcile --group N --force-after 5s`. A primary that hangs instead of dying: shut it down for good.',
  },
  CitusHaSecondaryDown: {
    part: 'Groups',
    means: 'A secondary is down, and the primary is well.',
    meanwhile:
      'Reads and writes of the group continue; reads through secondaries are served as `routing.secondaryDown` says.',
    look: '`citus-ha status`.',
    todo: 'start it, or rebuild it as a standby; `citus-ha forget HOST:PORT` where it will not come back.',
  },
  CitusHaDisabled: {
    part: 'Groups',
    means: 'The group’s primary was taken out of service with `citus_disable_node`, and does not answer.',
    meanwhile: 'citus-ha leaves the group alone. Queries of its shards fail; other groups work.',
    look: null,
    todo: 'start it and `SELECT citus_activate_node(…)`, or remove it; or silence this alert for as long as it is meant.',
  },
  CitusHaPaused: {
    part: 'Groups',
    means: 'The group, or the whole cluster, was paused four hours ago.',
    meanwhile: 'The cluster works. No watcher follows a promotion; `citus-ha reconcile`, run by hand, does.',
    look: '`citus-ha status`: who, when, why.',
    todo: '`citus-ha resume [--group N]`, or silence this alert for as long as it is meant.',
  },
  CitusHaFenceHeld: {
    part: 'Groups',
    means:
      'A [fence](fence.md) has held the writes of the group for two minutes. Each has a time to live, so a client renews it again and again.',
    meanwhile:
      'Reads continue, and so do writes to other groups, except writes to reference tables. Writes to the group are held, and fail only if their own time limit ends.',
    look: '`/status` of the watcher, `fences`; its log: who asked.',
    todo: '`citus-ha release --group N`.',
  },
  CitusHaSwitchoverUnfinished: {
    part: 'Groups',
    means: 'A [switchover](switchover.md) runs for more than two minutes, or was interrupted.',
    meanwhile: 'The group may take no writes; its reads continue. No acknowledged write is lost.',
    look: '`citus-ha status`: what it was doing, and whether it still runs.',
    todo: '`citus-ha recover`; it undoes what can be undone, and names what it cannot with the next command.',
  },
  CitusHaWritesHang: {
    part: 'Groups',
    means: 'Commits on the primary wait for synchronous standbys that are not attached.',
    meanwhile:
      'Reads continue. A commit that hangs is on the primary’s disk, but not yet on enough synchronous standbys.',
    look: '`SHOW synchronous_standby_names`, `SELECT application_name, sync_state FROM pg_stat_replication` there.',
    todo: 'start the standbys, or take them out of `synchronous_standby_names` (`patronictl edit-config` where Patroni sets it).',
  },
  CitusHaOldPrimaryRuns: {
    part: 'Groups',
    means: 'After a switchover or a failover the old primary is still running, read-only. It is no standby.',
    meanwhile: 'No query is routed there, and it takes no writes. The group has one standby fewer.',
    look: null,
    todo: 'stop it and make it one: `pg_rewind`, or a new base backup. `citus-ha doctor` (H180) prints the command.',
  },
  CitusHaProblem: {
    part: 'Groups',
    means:
      'For ten minutes a watcher has seen what `citus-ha status` lists as a problem beside the diagnoses of the groups: a server without the schema `citus_ha`, an old primary that takes writes, and others.',
    meanwhile:
      'The label `code` says what is wrong: see [codes](codes.md). A change that needs that server may be refused, or be made without it.',
    look: '`citus-ha status`: it names the server.',
    todo: 'run the command that `citus-ha status` prints with the problem; `citus-ha explain CODE` says what the code means.',
  },
  CitusHaInDoubt: {
    part: 'Nodes',
    means:
      'A change of `pg_dist_node` was prepared on a node more than a minute ago, and neither committed nor rolled back: the process that made it has died.',
    meanwhile:
      'It holds locks: writes to the group wait, reads continue. The coordinator’s record says whether the change was decided, so all copies end up with the same rows.',
    look: '`citus-ha recover --dry-run`.',
    todo: '`citus-ha recover`: it commits or rolls back what the coordinator’s record says. A running watcher that leads does the same; see [CitusHaNobodyLeads](#citushanobodyleads).',
  },
  CitusHaCopyDiffers: {
    part: 'Nodes',
    means:
      'The copy of `pg_dist_node` on a node is not as the coordinator’s. A metadata worker with an old copy sends queries to an old primary.',
    meanwhile: 'Queries that enter at other nodes are not affected.',
    look: '`citus-ha reconcile --dry-run`: which rows.',
    todo: '`citus-ha reconcile`. A standby’s copy follows by replay: see its [lag](#citushastandbylag). What a copy that fails its part costs: [ailments.md](ailments.md).',
  },
  CitusHaNodeDown: {
    part: 'Nodes',
    means: 'A node answers no watcher.',
    meanwhile: 'What fails depends on what the node is: if it is a primary, another alert says so.',
    look: 'is the server up (`pg_isready -h HOST -p PORT`), and does `psql` as `citus_ha` get in from the watcher’s machine?',
    todo: 'start it; `citus-ha forget HOST:PORT` for a secondary that will not come back.',
  },
  CitusHaNodeUnseen: {
    part: 'Nodes',
    means: 'A node answers one watcher and not another.',
    meanwhile: 'Another watcher sees it. Promotions are followed while that one leads.',
    look: '`citus-ha doctor` on the machine of the watcher that does not see it.',
    todo: 'repair the network, DNS or `pg_hba.conf` there. That watcher would diagnose the next failover with one witness fewer.',
  },
  CitusHaStandbyNotStreaming: {
    part: 'Nodes',
    means: 'A standby answers, and receives no WAL from its group’s primary, or not on its timeline.',
    meanwhile: 'The group works. This standby falls behind, and should not be promoted.',
    look: '`SELECT status, sender_host FROM pg_stat_wal_receiver` there, and its server log.',
    todo: 'correct `primary_conninfo`, its slot or its password; after a promotion it did not follow: `pg_rewind`, or a new base backup.',
  },
  CitusHaStandbyLag: {
    part: 'Nodes',
    means: 'A standby has not replayed 256 MiB of its primary’s WAL for five minutes.',
    meanwhile:
      'The group works. Reads through this standby return old data, and its copy of `pg_dist_node` is old too.',
    look: '`SELECT replay_lag, state FROM pg_stat_replication` on the primary; `pg_is_wal_replay_paused()`, long queries on the standby.',
    todo: 'remove the cause that you found. `routing.maxLag` keeps reads from a standby that is behind.',
  },
  CitusHaWatcherMissing: {
    part: 'Watchers',
    means: 'Prometheus has no metric of any watcher.',
    meanwhile:
      'The cluster works as it is; no promotion is followed. `citus-ha reconcile`, run by hand, needs no watcher.',
    look: '`systemctl status citus-ha-watch`, or `kubectl get pods -l app.kubernetes.io/name=citus-ha`; is `http:` in its configuration, and does Prometheus reach that port?',
    todo: 'start one. Exit code 2 is a wrong configuration; the log’s last line says what.',
  },
  CitusHaWatcherDown: {
    part: 'Watchers',
    means: 'One watcher that was scraped within a day no longer answers.',
    meanwhile: 'Promotions are followed while another watcher leads.',
    look: null,
    todo: 'as for [CitusHaWatcherMissing](#citushawatchermissing). A watcher that was removed on purpose is forgotten after a day, or when it leaves Prometheus’s targets.',
  },
  CitusHaNobodyLeads: {
    part: 'Watchers',
    means: 'Watchers run, but none leads. A new leader is chosen within three intervals.',
    meanwhile:
      'The cluster works as it is; no promotion is followed. `citus-ha reconcile`, run by hand, needs no leader.',
    look: "`/readyz` of each, and the log, event `leadership`. A session on the coordinator holds the lock: `SELECT pid FROM pg_locks WHERE relation = 'citus_ha.lead_lock'::regclass` there.",
    todo: 'do what `/readyz` says; if a watcher that hangs holds the lock, restart it.',
  },
  CitusHaTwoLeaders: {
    part: 'Watchers',
    means: 'Two watchers hold the leader’s lock of one database: on two coordinators.',
    meanwhile:
      'Each change holds locks on the nodes themselves: two leaders cannot make two changes at once.',
    look: '`/status` of both: `coordinator`.',
    todo: 'stop the coordinator that is not meant. Or two clusters are scraped with the same labels: give each a label `cluster`.',
  },
  CitusHaBlind: {
    part: 'Watchers',
    means: 'No watcher sees the coordinator.',
    meanwhile:
      'No promotion is followed. If the coordinator is down, queries through it fail; queries that enter at metadata workers continue.',
    look: '`/readyz` says why.',
    todo: 'start the coordinator, or promote its standby; watchers follow it automatically if `coordinators` names it. Other metrics of this database are as old as `citus_ha_survey_age_seconds` says.',
  },
  CitusHaWatcherNotReady: {
    part: 'Watchers',
    means: 'One watcher is not ready for five minutes.',
    meanwhile: 'Promotions are followed while another watcher leads.',
    look: 'its `/readyz`.',
    todo: 'usually, repair its connection to the coordinator.',
  },
  CitusHaWatcherStuck: {
    part: 'Watchers',
    means: 'The loop of a watcher hangs.',
    meanwhile: 'Promotions are followed while another watcher leads. If this one leads, none is followed.',
    look: null,
    todo: 'keep its log, restart it, and report it: this is a bug.',
  },
  CitusHaSurveyStale: {
    part: 'Watchers',
    means: 'A watcher has not seen the whole cluster for five minutes.',
    meanwhile: 'Its other metrics are as old.',
    look: '`/status`, `failures`.',
    todo: 'as for [CitusHaBlind](#citushablind).',
  },
  CitusHaNotificationsFail: {
    part: 'Watchers',
    means: 'A [notification](notifications.md) was given up, or pushed out of a full queue.',
    meanwhile: 'Promotions are followed nevertheless.',
    look: 'the watcher’s log, “did not receive”.',
    todo: 'correct the target’s URL, secret, key or certificate.',
  },
  CitusHaNotificationsWait: {
    part: 'Watchers',
    means: 'Notifications have waited for ten minutes.',
    meanwhile: 'Promotions are followed nevertheless.',
    look: null,
    todo: 'as for [CitusHaNotificationsFail](#citushanotificationsfail).',
  },
  CitusHaVersionsDiffer: {
    part: 'Watchers',
    means: 'Watchers of two versions have run for six hours.',
    meanwhile: 'They work together while an upgrade is running.',
    look: null,
    todo: 'finish the upgrade.',
  },
}
