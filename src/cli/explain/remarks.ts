import type { ReasonCode, WarningCode } from '../../model/remark.ts'
import { type Explanation, RUNBOOKS, STOP } from './explanation.ts'

/** One that is explained as another code is: the id of that rule or check, or the name of that remark. */
export interface Like {
  readonly like: string
}

const CODES = 'docs/codes.md'
const COPIES: Explanation = {
  meanwhile:
    'A change that was committed stays. Queries that enter at that node may use old rows; queries that enter at other nodes are not affected.',
  todo: [
    'see the cause, with the next command: `citus-ha status`',
    'once the node answers: `citus-ha reconcile`; a running watcher does so by itself',
  ],
  page: `${RUNBOOKS}#a-copy-differs`,
}
const LOSS: Explanation = {
  meanwhile:
    'The change is made, and the group works. What the other server has and the new primary lacks is not in the cluster.',
  todo: [
    'copy the data directory of the server that has more, before it is rewound or rebuilt',
    'search that copy for what the cluster lacks, and write it again where it is needed',
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
    meanwhile: 'The change is made: the server was named as promoted, or other evidence supports it.',
    todo: ['check that this is the server that you mean: `citus-ha status`'],
    page: `${RUNBOOKS}#refused`,
  },
  'foreign-server': { like: 'secondary-foreign' },
  'reads-fail': {
    meanwhile:
      'Reads and writes through the coordinator continue; reads through secondaries of that group may fail.',
    todo: [
      'see which routes fail: `citus-ha status -o wide`',
      'start the secondary, or register another one with the same cluster name',
    ],
    page: 'docs/reads.md#reads-while-a-node-is-down',
  },
  'no-alias': {
    meanwhile: 'The row stays as it is: reads through the secondary that is down fail. All else works.',
    todo: [
      'start the secondary',
      'for the next time: give the node a second name (`alias`, under `addresses`), then `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/reads.md#reads-while-a-node-is-down',
  },
  'row-taken': {
    meanwhile: 'Nothing is written for that row: two groups cannot have one address.',
    todo: [
      'see which groups name it: `citus-ha status`',
      'remove the wrong row: `citus-ha forget HOST:PORT`',
    ],
    page: CODES,
  },
  'not-registered': {
    meanwhile:
      'The cluster works. The standby that the configuration lists can be promoted, but no reads go to it.',
    todo: ['see why it gets no row: `citus-ha doctor`'],
    page: 'docs/reads.md#registering-secondaries',
  },
  'without-row': {
    meanwhile:
      'The group works. The old primary is in no row, so citus-ha neither shows it nor sees it promoted, and no reads go to it.',
    todo: [
      'make it a standby of the new primary: `pg_rewind` or `pg_basebackup`',
      "give it a row: `SELECT citus_add_secondary_node('HOST', PORT, 'PRIMARY', PRIMARY_PORT)` on the coordinator, as a superuser; or list it under `standbys` with `register: true`",
    ],
    page: 'docs/reads.md#registering-secondaries',
  },
  'left-for-later': {
    meanwhile: 'What was done stays. A running watcher does the rest by itself.',
    todo: ['without a watcher: `citus-ha reconcile`'],
    page: CODES,
  },
  paused: { like: 'H050' },
  'does-not-follow': {
    meanwhile:
      'The change is made, and every copy that follows its primary is up to date. Queries that enter at this standby use old rows.',
    todo: [
      'send no queries there until it follows',
      'see why it does not: the last lines of its server log; `SELECT pg_is_wal_replay_paused()`',
      'if it is on another timeline: `pg_rewind`, or a new base backup',
    ],
    page: 'docs/alerts.md#citushastandbynotstreaming',
  },
  'not-fenced': {
    meanwhile:
      'The change is made, and queries go to the new primary. The old one may still acknowledge writes, which are lost.',
    todo: [
      `stop it at once; run there: ${STOP}`,
      'then make it a standby: `pg_rewind`, or a new base backup',
    ],
    page: `${RUNBOOKS}#the-old-primary-came-back`,
  },
  'old-primary-runs': { like: 'H180' },
  'can-not-look': {
    meanwhile:
      'The cluster works. citus-ha does not see whether standbys are streaming: one more witness may be missing at a failover.',
    todo: [
      'grant `pg_read_all_stats`; this needs a superuser: `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/install.md',
  },
  impostor: { like: 'H020' },
  'schema-not-ours': {
    meanwhile: 'citus-ha calls nothing in that schema, and writes nothing on that node.',
    todo: [
      'see its owner: `\\dn+ citus_ha` in psql there',
      'if it is not needed: drop it, then `citus-ha install --config FILE --user postgres`',
    ],
    page: 'SECURITY.md',
  },
  'takes-no-part': {
    meanwhile:
      'Queries continue, and that copy is up to date now. After a failover it is left to Citus’s own metadata sync.',
    todo: ['see what that node lacks: `citus-ha doctor`'],
    page: 'docs/ailments.md',
  },
  lookalike: { like: 'H102' },
  'switchover-unfinished': {
    meanwhile:
      'The group may take no writes: its old primary is read-only until the switchover is undone or completed.',
    todo: [
      'if it is still running (`citus-ha status` says so): wait for it',
      'otherwise: `citus-ha recover`; it undoes or completes the switchover, and names what it cannot, with the next command',
    ],
    page: 'docs/switchover.md#step-by-step',
  },
  incomplete: {
    meanwhile: 'The change is made. The part that failed is named.',
    todo: ['do what the sentence names, then: `citus-ha reconcile`'],
    page: CODES,
  },
  blocked: {
    meanwhile:
      'Nothing was changed, and citus-ha holds no lock any more. Queries of the group use the old rows. A running watcher tries again by itself, with growing pauses.',
    todo: [
      'see what blocks it: `citus-ha reconcile --group N` names node, pid and statement',
      'terminate those sessions, or let citus-ha do it: `citus-ha reconcile --group N --force-after 5s`',
      'if a primary hangs instead of dying: shut it down for good',
    ],
    page: `${RUNBOOKS}#blocked`,
  },
  'in-doubt': {
    meanwhile:
      'Writes to the group wait for the locks of what is prepared; reads continue. The coordinator’s record says whether the change was decided, so all copies end up with the same rows.',
    todo: ['see what would be done: `citus-ha recover --dry-run`', 'resolve it: `citus-ha recover`'],
    page: `${RUNBOOKS}#in-doubt`,
  },
  'in-the-way': { like: 'blocked' },
  'copy-stale': COPIES,
  'copy-unreachable': COPIES,
  'copy-unreadable': COPIES,
  'metadata-differs': {
    meanwhile:
      'Queries use the rows of the node at which they enter; some may be old. A running watcher corrects them by itself.',
    todo: ['see what would change: `citus-ha reconcile --dry-run`', 'change it: `citus-ha reconcile`'],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  'stale-entry': {
    meanwhile:
      'Queries that enter at that coordinator use old rows until it follows the coordinator that leads.',
    todo: [
      'send no queries there',
      'make it stream from the coordinator that leads: `primary_conninfo`, `pg_rewind`, or a new base backup',
    ],
    page: `${RUNBOOKS}#the-coordinator-is-gone`,
  },
  'secondary-down': { like: 'D049' },
  'secondary-silent': {
    meanwhile:
      'The group works. Other nodes still reach that secondary, or were not asked: its row stays as it is.',
    todo: [
      'see why this machine does not reach it: `psql -h HOST -p PORT -U citus_ha -d DATABASE -c "SELECT 1"`',
    ],
    page: 'docs/witnesses.md',
  },
  'secondary-unknown': {
    meanwhile:
      'The group works. Whether that secondary follows its primary, and could be promoted, is not known: it answers, and citus-ha cannot read it.',
    todo: [
      'the line names the cause: `auth` is pg_hba.conf or a password there, `privilege` is a right that is missing, `starting` passes by itself',
      'see the same error: `psql -h HOST -p PORT -U citus_ha -d DATABASE -c "SELECT 1"`',
    ],
    page: 'docs/install.md#passwords',
  },
  'secondary-foreign': {
    meanwhile:
      'Reads and writes through the primary continue. Reads that are sent to that secondary return other data, or fail.',
    todo: [
      'rebuild it as a standby of the group: `pg_basebackup`',
      'or remove its row: `citus-ha forget HOST:PORT`',
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
