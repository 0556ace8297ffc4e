import type { ReasonCode, WarningCode } from '../../model/remark.ts'
import { type Explanation, RUNBOOKS } from './explanation.ts'

/** One that is explained as another code is: the id of that rule or check, or the name of that remark. */
export interface Like {
  readonly like: string
}

const CODES = 'docs/codes.md'
const COPIES: Explanation = {
  meanwhile:
    'The change is decided, and stays. Queries that enter at that node may go by old rows; those that enter elsewhere are right.',
  todo: [
    'see why, with the next command: `citus-ha status`',
    'once the node answers: `citus-ha reconcile`; a running watcher does so by itself',
  ],
  page: `${RUNBOOKS}#a-copy-differs`,
}
const LOSS: Explanation = {
  meanwhile:
    'The change is made, and the group works. What the other server has and the new primary lacks is not in the cluster.',
  todo: [
    'keep the data directory of the server that has more, before it is rewound or rebuilt',
    'look there for what is missing, and write it again where it is needed',
  ],
  page: `${RUNBOOKS}#refused`,
}

/** Of the codes of `--json` that are neither a rule’s nor a check’s. What one means is said beside it in `model/remark.ts`. */
export const REMARK_EXPLANATIONS: Readonly<Record<WarningCode | ReasonCode, Explanation | Like>> = {
  'another-writes': { like: 'D041' },
  'old-primary-writes': { like: 'D047' },
  'takes-no-writes': { like: 'D048' },
  'writes-hang': { like: 'H120' },
  'data-loss': LOSS,
  'data-may-be-lost': LOSS,
  'other-line': LOSS,
  'line-unknown': {
    meanwhile: 'The change is made: a person vouched for the server, or what else is known speaks for it.',
    todo: ['see to it that this is the server that you mean: `citus-ha status`'],
    page: `${RUNBOOKS}#refused`,
  },
  'foreign-server': { like: 'secondary-foreign' },
  'reads-fail': {
    meanwhile:
      'Reads and writes through the coordinator go on; reads through secondaries of that group fail.',
    todo: [
      'see which routes fail: `citus-ha status -o wide`',
      'start the secondary, or register another one of the same cluster name',
    ],
    page: 'README.md#reads-while-a-node-is-down',
  },
  'no-alias': {
    meanwhile: 'The row stays as it is: reads through the secondary that is down fail. All else works.',
    todo: [
      'start the secondary',
      'for the next time: give the node another name, under `addresses` with `alias`, and `citus-ha install --config FILE --user postgres`',
    ],
    page: 'README.md#reads-while-a-node-is-down',
  },
  'row-taken': {
    meanwhile: 'Nothing is written for that row: one address can’t be that of two groups.',
    todo: [
      'see which groups name it: `citus-ha status`',
      'correct the row that is wrong: `citus-ha forget HOST:PORT`',
    ],
    page: CODES,
  },
  'not-registered': {
    meanwhile:
      'The cluster works. The standby that the configuration lists can be promoted, and is not read.',
    todo: ['`citus-ha doctor` says what is in the way'],
    page: 'README.md#registering-secondaries',
  },
  'left-for-later': {
    meanwhile: 'What was done stays. A running watcher does the rest by itself.',
    todo: ['without a watcher: `citus-ha reconcile`'],
    page: CODES,
  },
  paused: { like: 'H050' },
  'does-not-follow': {
    meanwhile:
      'The change is made, and every copy that follows its primary is right. Who sends queries through this standby sends them by old rows.',
    todo: [
      'send no queries there until it follows',
      'see why it does not: the last lines of its server log; `SELECT pg_is_wal_replay_paused()`',
      'one that is on another timeline: `pg_rewind`, or `pg_basebackup` anew',
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  'not-fenced': {
    meanwhile:
      'The change is made, and queries go to the new primary. The old one may still acknowledge writes, which are lost.',
    todo: [
      'stop it at once, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
      'then make a standby of it: `pg_rewind`, or `pg_basebackup` anew',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  'old-primary-runs': { like: 'H180' },
  'can-not-look': {
    meanwhile:
      'The cluster works. Whether standbys stream is not seen: one more witness may be missing at a failover.',
    todo: ['grant it, as a superuser: `citus-ha install --config FILE --user postgres`'],
    page: 'docs/install.md',
  },
  impostor: { like: 'H020' },
  'schema-not-ours': {
    meanwhile: 'citus-ha calls nothing in that schema, and writes nothing on that node.',
    todo: [
      'see who made it: `\\dn+ citus_ha` in psql there',
      'when nobody needs it: drop it, then `citus-ha install --config FILE --user postgres`',
    ],
    page: 'SECURITY.md',
  },
  'takes-no-part': {
    meanwhile: 'Queries go on, and that copy is right now. After a failover it is left to Citus’s own sync.',
    todo: ['see what that node lacks: `citus-ha doctor`'],
    page: 'docs/ailments.md',
  },
  lookalike: { like: 'H102' },
  'switchover-unfinished': {
    meanwhile:
      'The group may take no writes: its old primary is read-only until the switchover is undone or carried on.',
    todo: [
      'if it still runs (`citus-ha status` says so): wait for it',
      'else end it: `citus-ha recover`; it undoes or carries on, and names what it can’t, with the next command',
    ],
    page: 'docs/switchover.md#step-by-step',
  },
  incomplete: {
    meanwhile: 'The change is made. What was left out is named, and does no harm until it is done.',
    todo: ['do what the sentence names, then: `citus-ha reconcile`'],
    page: CODES,
  },
  blocked: {
    meanwhile:
      'Nothing was changed, and no lock is left. Queries of the group go by the old rows. A running watcher tries again by itself, with growing pauses.',
    todo: [
      'see who is in the way: `citus-ha reconcile --group N` names node, pid and statement',
      'end those sessions, or let it be done: `citus-ha reconcile --group N --force-after 5s`',
      'a primary that hangs instead of dying: shut it down for good',
    ],
    page: `${RUNBOOKS}#blocked`,
  },
  'in-doubt': {
    meanwhile:
      'Writes of the group wait for the locks of what is prepared; reads go on. The coordinator’s record says whether it was decided, so no copy can end up differently.',
    todo: ['see what would be done: `citus-ha recover --dry-run`', 'end it: `citus-ha recover`'],
    page: `${RUNBOOKS}#in-doubt`,
  },
  'in-the-way': { like: 'blocked' },
  'copy-stale': COPIES,
  'copy-unreachable': COPIES,
  'copy-unreadable': COPIES,
  'metadata-differs': {
    meanwhile:
      'Queries go by what each node has in its rows; some may be old. A running watcher corrects it by itself.',
    todo: ['see what would change: `citus-ha reconcile --dry-run`', 'change it: `citus-ha reconcile`'],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  'stale-entry': {
    meanwhile: 'Queries that enter at that coordinator go by old rows, for as long as it follows nobody.',
    todo: [
      'send no queries there',
      'let it stream from the coordinator again: `primary_conninfo`, `pg_rewind`, or `pg_basebackup` anew',
    ],
    page: `${RUNBOOKS}#the-coordinator-is-gone`,
  },
  'secondary-down': { like: 'D049' },
  'secondary-silent': {
    meanwhile:
      'The group works. Other nodes still reach that secondary, or were not asked: its row stays as it is.',
    todo: [
      'see what keeps this machine from it: `psql -h HOST -p PORT -U citus_ha -d DATABASE -c "SELECT 1"`',
    ],
    page: 'docs/witnesses.md',
  },
  'secondary-foreign': {
    meanwhile:
      'Reads and writes through the primary go on. Reads that are sent to that secondary see other data, or fail.',
    todo: [
      'rebuild it as a standby of the group: `pg_basebackup`',
      'or take its row away: `citus-ha forget HOST:PORT`',
    ],
    page: 'docs/alerts.md#citushasecondarydown',
  },
  'secondary-writable': { like: 'D041' },
  'secondary-read-only': {
    meanwhile:
      'The group works. The old primary takes no writes, but its Citus may still act for the group until it is retired.',
    todo: ['retire it: `citus-ha reconcile`; a running watcher does so by itself'],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  'secondary-not-streaming': { like: 'H042' },
}
