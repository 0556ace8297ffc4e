import { type Explanation, RUNBOOKS } from './explanation.ts'

const REFUSED =
  'citus-ha does not change the primary of this group: `pg_dist_node` goes on naming the registered one, on every node. Other groups are changed as ever; if this is group 0, no group is.'
const OTHERS = 'Reads and writes of the other groups go on.'
const PROMOTE =
  'start the old primary, or promote a standby: with your HA tool, or `SELECT pg_promote()` on the standby'
const FOLLOW = 'a running watcher follows by itself; without one: `citus-ha reconcile --group N`'

const ANOTHER_LINE: Explanation = {
  meanwhile: `${REFUSED} The group goes on with the server that its row names.`,
  todo: [
    'see the timelines and positions of each server: `citus-ha reconcile --group N --dry-run`',
    'if the wrong server answers (a restored backup, another cluster): stop it, or correct the address',
    'if it is the right one, and what it lacks may be lost: `citus-ha reconcile --group N --promoted HOST:PORT`',
    'if the whole cluster was restored or upgraded with pg_upgrade: `citus-ha relearn --coordinator postgres://postgres@HOST/DATABASE`',
  ],
  page: `${RUNBOOKS}#refused`,
}

const LESS: Explanation = {
  meanwhile: `${REFUSED} What the other server has and this one lacks is still there: keep both data directories.`,
  todo: [
    'see what each server has: `citus-ha reconcile --group N --dry-run`',
    'to lose nothing: stop the server that has less, and promote the one that has more',
    'to take it all the same, and lose what it lacks: `citus-ha reconcile --group N --promoted HOST:PORT`',
  ],
  page: `${RUNBOOKS}#refused`,
}

const NAME_TO_FOLLOW: Explanation = {
  meanwhile:
    'citus-ha never rewrites a row whose name follows the primary by itself (`addresses`, `follows: primary`): it waits for the name. Queries of the group go where the name leads until then.',
  todo: [
    'see where the name leads, on each node: `getent hosts NAME`',
    'if it does not move: see to what moves it (the Service, its endpoints, DNS)',
    'then: `citus-ha status --group N`',
  ],
  page: 'docs/reference/configuration.md',
}

const PROMOTED: Explanation = {
  meanwhile: `Until \`pg_dist_node\` follows, queries of this group go to the old primary, and fail where it is down. ${OTHERS} A running watcher changes it within a second or so; a paused one does not.`,
  todo: [
    'without a watcher: `citus-ha reconcile --group N`',
    'if a watcher runs and the code stays: `citus-ha status` says whether the group is paused or nobody leads',
    'when the old primary is back, make a standby of it: `citus-ha status` prints the command',
  ],
  page: `${RUNBOOKS}#writes-fail-after-a-failover`,
}

const SPLIT_BRAIN: Explanation = {
  meanwhile:
    'citus-ha does not change the primary of this group. Queries go where `pg_dist_node` sends them: to the registered one. What clients write on the other server is not seen through the cluster.',
  todo: [
    'ask the tool that promotes which of the two it takes for the primary',
    'stop the other one, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
    FOLLOW,
    'keep the data directory of the one that was stopped: what was written only there is lost to the cluster',
  ],
  page: `${RUNBOOKS}#split-brain`,
}

/** Of the rules of the diagnosis, by id. What a rule means is what it `says`. */
export const RULE_EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  D010: {
    meanwhile:
      'citus-ha registers no primary by itself: for a failover it rewrites a row that is there. Queries of the group’s shards fail.',
    todo: [
      "on the coordinator, register the primary: `SELECT citus_add_node('HOST', PORT, groupid => N)`",
      'if the group was removed on purpose and its secondaries are left: `citus-ha forget HOST:PORT`',
    ],
    page: 'docs/alerts.md#citushanoprimary',
  },
  D020: {
    meanwhile: `${REFUSED} A node that does not answer can’t be proved, whoever vouches for it.`,
    todo: [
      'see whether it runs: `pg_isready -h HOST -p PORT`',
      'give the same command again once it answers, or with `--wait 30s`',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D021: {
    meanwhile: `${REFUSED} Nobody can override this one: the server holds other data.`,
    todo: [
      'compare the address that was given with `citus-ha status`: it is most likely that of another group',
      'a server that was made anew by initdb is no member: rebuild it with `pg_basebackup`',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D022: {
    meanwhile: `${REFUSED} As soon as the promotion is over, the same command, or a running watcher, follows it.`,
    todo: [
      'wait for it: `citus-ha reconcile --group N --promoted HOST:PORT --wait 30s`',
      'if nobody has promoted it: `SELECT pg_promote()` there, or your HA tool',
    ],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  D023: {
    meanwhile:
      'The tool’s word came late or out of order, and does no harm: the group stays with the newer promotion.',
    todo: ['nothing, if `citus-ha status` shows the primary that you expect'],
    page: `${RUNBOOKS}#refused`,
  },
  D024: LESS,
  D011: {
    meanwhile:
      'citus-ha leaves the group alone: somebody took it out of service. Queries of its shards fail until it is activated.',
    todo: [
      "start the primary, and on the coordinator: `SELECT citus_activate_node('HOST', PORT)`",
      'if it is meant to stay out: nothing',
    ],
    page: 'docs/alerts.md#citushadisabled',
  },
  D030: {
    meanwhile: `${REFUSED} Queries still go to that address, to a server with other data or none.`,
    todo: [
      'see which server answers there: `citus-ha doctor`',
      'if the address is wrong, or leads elsewhere: correct DNS or the row',
      'if the server was made anew by initdb: stop it, promote a standby of the group, and rebuild it with `pg_basebackup`',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D038: NAME_TO_FOLLOW,
  D040: PROMOTED,
  D037: NAME_TO_FOLLOW,
  D039: PROMOTED,
  D041: SPLIT_BRAIN,
  D042: ANOTHER_LINE,
  D043: LESS,
  D047: {
    meanwhile:
      'The group works: reads and writes go to the new primary. Only clients that are connected to the old primary directly still write there, and those writes are lost.',
    todo: [
      'see who writes there: `SELECT usename, client_addr FROM pg_stat_activity`; send them to the coordinator',
      'stop it, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
      'make a standby of it, with the command that `citus-ha doctor` prints (H182)',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  D048: {
    meanwhile: `Reads of the group go on; writes fail with 25006, read-only. ${OTHERS}`,
    todo: [
      'if a switchover died and left it so: `citus-ha reconcile` undoes that',
      'else see where the setting comes from: `citus-ha doctor` (H150) prints the command that resets it',
    ],
    page: 'docs/alerts.md#citushareadonly',
  },
  D049: {
    meanwhile:
      'Reads and writes of the group go on. Reads through secondaries are served as `routing.secondaryDown` says; there is a standby less to promote.',
    todo: [
      'start it there, or rebuild it with `pg_basebackup`',
      'if it will not come back: `citus-ha forget HOST:PORT`',
    ],
    page: 'docs/alerts.md#citushasecondarydown',
  },
  D050: { meanwhile: 'The group works as `pg_dist_node` says.', todo: [], page: 'docs/design.md' },
  D060: {
    meanwhile: `${REFUSED} Which line of primaries the group has was never recorded.`,
    todo: [
      'if you know that this server was promoted: `citus-ha reconcile --group N --promoted HOST:PORT`',
      'so that it does not happen again: `citus-ha install --user postgres` once, while every primary answers',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D061: { ...ANOTHER_LINE, meanwhile: `${REFUSED} Queries go there, and its writes fail.` },
  D064: LESS,
  D062: {
    meanwhile: `${REFUSED} The old primary lives, and goes on taking writes from the nodes that reach it.`,
    todo: [
      'see what keeps citus-ha from it (network, `pg_hba.conf`, password): `citus-ha doctor`',
      'if another server was promoted all the same: stop the old primary first, then `citus-ha reconcile --group N`',
      'if it can’t be stopped: `citus-ha reconcile --group N --promoted HOST:PORT`',
    ],
    page: 'docs/witnesses.md',
  },
  D065: NAME_TO_FOLLOW,
  D063: PROMOTED,
  D070: {
    meanwhile: `${REFUSED} Writes of the group fail; reads go on where a standby can serve them. ${OTHERS}`,
    todo: [PROMOTE, FOLLOW, 'if it is retired by mistake: `citus-ha status` prints what puts it back'],
    page: 'docs/alerts.md#citushanoprimary',
  },
  D071: {
    meanwhile: `${REFUSED} Reads and writes of this group fail, but for reads through a secondary (with \`routing.primaryDown: secondary\` all reads go there). ${OTHERS} citus-ha promotes nobody.`,
    todo: [PROMOTE, FOLLOW],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  D090: {
    meanwhile: `${REFUSED} If the primary lives, the group goes on working; if it is down, its reads and writes fail.`,
    todo: [
      'see who was asked, and what each said: `citus-ha reconcile --group N --dry-run`',
      'run `citus-ha status` on another machine, and `citus-ha doctor` for connections that do not work',
      'if you know that the old primary is gone, and which server was promoted: `citus-ha reconcile --group N --promoted HOST:PORT`',
    ],
    page: 'docs/witnesses.md',
  },
}
