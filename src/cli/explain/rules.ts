import { type Explanation, RUNBOOKS, STOP } from './explanation.ts'

const REFUSED =
  'citus-ha does not change the primary of this group: `pg_dist_node` still names the registered one, on every node. Other groups are changed as usual; if this is group 0, no group is changed.'
const OTHERS = 'Reads and writes of the other groups continue.'
const PROMOTE =
  'start the old primary, or promote a standby: with your HA tool, or `SELECT pg_promote()` on the standby'
/** A server that nobody has named is not asked. */
const UNLISTED =
  'if you have promoted a standby that has no row and is not in the configuration: `citus-ha reconcile --group N --promoted HOST:PORT`; for a new address once as a superuser, or after `citus-ha install`'
const FOLLOW = 'a running watcher follows by itself; without one: `citus-ha reconcile --group N`'

const ANOTHER_LINE: Explanation = {
  meanwhile: `${REFUSED} The group continues with the server that its row names.`,
  todo: [
    'see the timelines and positions of each server: `citus-ha reconcile --group N --dry-run`',
    'if the wrong server answers (a restored backup, another cluster): stop it, or correct the address',
    'if it is the right server, and the loss is accepted: `citus-ha reconcile --group N --promoted HOST:PORT`',
    'if the whole cluster was restored or upgraded with pg_upgrade: `citus-ha relearn --coordinator postgres://postgres@HOST/DATABASE`',
  ],
  page: `${RUNBOOKS}#refused`,
}

const LESS: Explanation = {
  meanwhile: `${REFUSED} What the other server has and this one lacks is still there: keep both data directories.`,
  todo: [
    'see what each server has: `citus-ha reconcile --group N --dry-run`',
    'to lose nothing: stop the server that has less, and promote the one that has more',
    'to accept it nevertheless, and lose what it lacks: `citus-ha reconcile --group N --promoted HOST:PORT`',
  ],
  page: `${RUNBOOKS}#refused`,
}

const NAME_TO_FOLLOW: Explanation = {
  meanwhile:
    'citus-ha never rewrites a row whose name follows the primary by itself (`addresses`, `follows: primary`): it waits for the name. Until then, queries of the group go where the name leads.',
  todo: [
    'see where the name leads, on each node: `getent hosts NAME`',
    'if it does not move: check what moves it (the Service, its endpoints, DNS)',
    'then: `citus-ha status --group N`',
  ],
  page: 'docs/reference/configuration.md',
}

const PROMOTED: Explanation = {
  meanwhile: `Until \`pg_dist_node\` follows, queries of this group go to the old primary, and fail where it is down. ${OTHERS} A running watcher changes it within a second or so; a paused one does not.`,
  todo: [
    'without a watcher: `citus-ha reconcile --group N`',
    'if a watcher runs and the group stays as it is: `citus-ha status` says whether the group is paused or no watcher leads',
    'when the old primary is back, make it a standby: `citus-ha status` prints the command',
  ],
  page: `${RUNBOOKS}#writes-fail-after-a-failover`,
}

const SPLIT_BRAIN: Explanation = {
  meanwhile:
    'citus-ha does not change the primary of this group. Queries go where `pg_dist_node` sends them: to the registered one. What clients write on the other server is not seen through the cluster.',
  todo: [
    'ask the tool that promotes which of the two it considers the primary',
    `stop the other one; run there: ${STOP}`,
    FOLLOW,
    'keep the data directory of the one that was stopped: what was written only there is lost to the cluster',
  ],
  page: `${RUNBOOKS}#split-brain`,
}

/** Of the rules of the diagnosis, by id. What a rule means is what it `says`. */
export const RULE_EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  D010: {
    meanwhile:
      'citus-ha registers no primary by itself: for a failover it rewrites an existing row. Queries of the group’s shards fail.',
    todo: [
      "on the coordinator, register the primary: `SELECT citus_add_node('HOST', PORT, groupid => N)`",
      'if the group was removed on purpose and its secondaries are left: `citus-ha forget HOST:PORT`',
    ],
    page: 'docs/alerts.md#citushanoprimary',
  },
  D020: {
    meanwhile: `${REFUSED} A node that does not answer cannot be verified, even if it is named as promoted.`,
    todo: [
      'see whether it runs: `pg_isready -h HOST -p PORT`',
      'run the same command again once it answers, or with `--wait 30s`',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D021: {
    meanwhile: `${REFUSED} Naming the node does not override this: the server has other data.`,
    todo: [
      'compare the address that was given with `citus-ha status`: it is most likely that of another group',
      'a server that was created again by initdb is no member: rebuild it with `pg_basebackup`',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D022: {
    meanwhile: `${REFUSED} As soon as the promotion has ended, the same command, or a running watcher, follows it.`,
    todo: [
      'wait for it: `citus-ha reconcile --group N --promoted HOST:PORT --wait 30s`',
      'if it was not promoted: run `SELECT pg_promote()` there, or use your HA tool',
    ],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  D023: {
    meanwhile:
      'The tool’s event came late or out of order, and does no harm: the group stays with the newer promotion.',
    todo: ['nothing, if `citus-ha status` shows the primary that you expect'],
    page: `${RUNBOOKS}#refused`,
  },
  D024: LESS,
  D011: {
    meanwhile:
      'citus-ha leaves the group alone: its primary was taken out of service with `citus_disable_node`. Queries of its shards fail until it is activated.',
    todo: [
      "start the primary, and on the coordinator: `SELECT citus_activate_node('HOST', PORT)`",
      'if it is meant to stay out of service: nothing',
    ],
    page: 'docs/alerts.md#citushadisabled',
  },
  D030: {
    meanwhile: `${REFUSED} Queries still go to that address, to a server that has other data or none.`,
    todo: [
      'see which server answers there: `citus-ha doctor`',
      'if the address is wrong, or leads elsewhere: correct DNS or the row',
      'if the server was created again by initdb: stop it, promote a standby of the group, and rebuild it with `pg_basebackup`',
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
      'see which clients write there: `SELECT usename, client_addr FROM pg_stat_activity`; point them to the coordinator',
      `stop it; run there: ${STOP}`,
      'make it a standby, with the command that `citus-ha doctor` prints (H182)',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  D048: {
    meanwhile: `Reads of the group continue; writes fail as read-only (SQLSTATE 25006). ${OTHERS}`,
    todo: [
      'if an interrupted switchover left it so: `citus-ha reconcile` undoes or completes the switchover',
      'otherwise, see where the setting comes from: `citus-ha doctor` (H150) prints the command that resets it',
    ],
    page: 'docs/alerts.md#citushareadonly',
  },
  D049: {
    meanwhile:
      'Reads and writes of the group continue. Reads through secondaries are served as `routing.secondaryDown` says; the group has one standby fewer to promote.',
    todo: [
      'start it, or rebuild it with `pg_basebackup`',
      'if it was the primary before a failover: never start it without `standby.signal` in its data directory, because it would take writes; make it a standby with `pg_rewind`',
      'if it will not come back: `citus-ha forget HOST:PORT`',
    ],
    page: 'docs/alerts.md#citushasecondarydown',
  },
  D050: { meanwhile: 'The group works as `pg_dist_node` says.', todo: [], page: 'docs/design.md' },
  D060: {
    meanwhile: `${REFUSED} The timeline history of the group is not on record.`,
    todo: [
      'if you know that this server was promoted: `citus-ha reconcile --group N --promoted HOST:PORT`',
      'so that it does not happen again: `citus-ha install --user postgres` once, while every primary answers',
    ],
    page: `${RUNBOOKS}#refused`,
  },
  D061: {
    ...ANOTHER_LINE,
    meanwhile: `${REFUSED} Queries go to the registered one; writes to the group fail.`,
  },
  D064: LESS,
  D062: {
    meanwhile: `${REFUSED} The registered primary is running, and may take writes from the nodes that reach it.`,
    todo: [
      'see what keeps citus-ha from it (network, `pg_hba.conf`, password): `citus-ha doctor`',
      'if another server was promoted nevertheless: stop the old primary first, then `citus-ha reconcile --group N`',
      'if it cannot be stopped: `citus-ha reconcile --group N --promoted HOST:PORT`',
    ],
    page: 'docs/witnesses.md',
  },
  D065: NAME_TO_FOLLOW,
  D063: PROMOTED,
  D070: {
    meanwhile: `${REFUSED} Writes to the group fail; reads continue where a standby can serve them. ${OTHERS}`,
    todo: [
      PROMOTE,
      FOLLOW,
      'if it was retired by mistake: `citus-ha status` prints the command that reverses it',
    ],
    page: 'docs/alerts.md#citushanoprimary',
  },
  D071: {
    meanwhile: `${REFUSED} Reads and writes of this group fail, except reads through a secondary (with \`routing.primaryDown: secondary\` all reads go there). ${OTHERS} citus-ha promotes no server.`,
    todo: [PROMOTE, FOLLOW, UNLISTED],
    page: `${RUNBOOKS}#writes-fail-after-a-failover`,
  },
  D090: {
    meanwhile: `${REFUSED} If the primary is running, the group continues to work; if it is down, its reads and writes fail.`,
    todo: [
      'see which witnesses were asked, and what each answered: `citus-ha reconcile --group N --dry-run`',
      'run `citus-ha status` on another machine, and `citus-ha doctor` for connections that do not work',
      'if you know that the old primary is gone, and which server was promoted: `citus-ha reconcile --group N --promoted HOST:PORT`',
    ],
    page: 'docs/witnesses.md',
  },
}
