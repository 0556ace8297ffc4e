import type { Severity } from '../../doctor/check.ts'
import type { SecondaryState } from '../../model/diagnosis.ts'
import type { Kind as ServerKind } from '../../model/kinds.ts'
import type { Testimony } from '../../model/observation.ts'
import type { CopyReport, Outcome } from '../../model/outcome.ts'
import type { RowChange } from '../../model/plan.ts'
import type { StateCode } from '../../model/server-state.ts'
import { type Explanation, RUNBOOKS } from './explanation.ts'

/** As it is typed in one word: `expand-coordinator`. */
type Dashed<T extends string> = T extends `${infer A} ${infer B}` ? `${A}-${Dashed<B>}` : T

/** Labels that are printed, by the types that they are printed from: a new one is missed by the compiler. */
type Label =
  | StateCode
  | SecondaryState['state']
  | Outcome
  | Severity
  | Dashed<ServerKind | CopyReport['state']>

/** What a report says of a row that was changed, and of a witness: a new one is missed by the compiler. */
type Code = RowChange['kind'] | Testimony['how']

/** Words of lines and columns, and what is to be filled in. */
type Word =
  | 'held'
  | 'fence'
  | 'epoch'
  | 'witness'
  | 'evidence'
  | 'leader'
  | 'inactive'
  | 'no-row'
  | 'stand-in'
  | 'not-fenced'
  | 'TL'
  | 'LAG'
  | 'ROUTES'
  | 'mend'
  | 'look'
  | 'DATA_DIRECTORY'
  | 'CONFIG_FILE'
  | 'pg_ctl'
  | 'pg_rewind'

export interface Term extends Explanation {
  readonly means: string
}

const WORDS_PAGE = 'docs/design.md#words'
const ROWS = 'docs/design.md#reads-while-a-node-is-down'
const BACK = `${RUNBOOKS}#the-old-primary-came-back`
const COMMANDS = 'docs/reference/commands.md'

const STANDBY_TODO = [
  'see why: the last lines of its server log, `primary_conninfo`, its password, its slot',
  'then: `citus-ha doctor`',
]
const ASK = ['see what it answers: `citus-ha doctor` prints the command']

export const TERMS: Readonly<Record<Label | Code | Word, Term>> = {
  writable: term(
    'the server is in no recovery, and takes writes',
    'That is what a primary is. If a second server of a group is writable, the group’s state says so.',
    WORDS_PAGE,
  ),
  'read-only': term(
    'the server is no standby, and takes no writes: `default_transaction_read_only` is on',
    'Reads work there. An old primary is left so by a switchover; a primary that is so refuses writes.',
    BACK,
    'see where the setting comes from: `citus-ha doctor` (H150, H180)',
  ),
  retired: term(
    'an old primary that another server has replaced, and that was taken out of its group: its Citus no longer acts for it',
    'No query is routed there. Only clients that are connected to it directly can still write there, and those writes are lost.',
    BACK,
    'make it a standby, with the command that `citus-ha doctor` prints (H180, H182)',
  ),
  'retired-primary': term(
    'a server that was a primary, and was retired',
    'No query is routed there.',
    BACK,
    'make it a standby, with the command that `citus-ha doctor` prints (H180, H182)',
  ),
  'standby-of-a-retired-primary': term(
    'a standby that still receives from a server that was a primary, and was retired',
    'It is on the old timeline; what it has is not what its group has written since.',
    BACK,
    'have it follow the group’s primary: `primary_conninfo`, and `pg_rewind` or `pg_basebackup` where it has received more than the new primary has',
  ),
  streaming: term('a standby that receives WAL from its group’s primary', 'It can be promoted.', WORDS_PAGE),
  'streams-elsewhere': term(
    'a standby that receives WAL, but not on the timeline of its group’s primary',
    'Reads that it serves are of another server’s data; it counts as no standby of the group.',
    BACK,
    ...STANDBY_TODO,
  ),
  'not-streaming': term(
    'a standby that receives no WAL at the moment',
    'It falls behind: reads that it serves are old, and the last writes are missing if it is promoted.',
    'docs/alerts.md#citushastandbynotstreaming',
    ...STANDBY_TODO,
  ),
  unseen: term(
    'a standby whose replication the role may not see',
    'The cluster works. One more witness may be missing at a failover.',
    'docs/install.md',
    'grant `pg_read_all_stats`; this needs a superuser: `citus-ha install --config FILE --user postgres`',
  ),
  unreachable: term(
    'the server did not answer this machine; the reason is in parentheses',
    'That alone is no proof that it is down: other nodes are asked too.',
    'docs/witnesses.md',
    ...ASK,
  ),
  unreadable: term(
    'the server answered, and could not be read; the reason is in parentheses: `auth` is a password or pg_hba.conf',
    'It is alive, so it is not taken for down.',
    'docs/witnesses.md',
    ...ASK,
  ),
  'not-asked': term('the server was not asked', 'Nothing is known of it.', WORDS_PAGE),
  alias: term(
    'the row of a secondary that a remedy has pointed at the group’s primary by another name',
    'Reads through that row go to the primary, and continue. It ends by itself when the secondary streams again.',
    ROWS,
  ),
  foreign: term(
    'the server at that address belongs to another system: its system identifier is not the group’s',
    'It counts as no member of the group.',
    'docs/alerts.md#citushasecondarydown',
    'rebuild it by `pg_basebackup`, or remove its row: `citus-ha forget HOST:PORT`',
  ),
  down: term(
    'the server does not answer, and another node says so too',
    'Reads through it are served as `routing.secondaryDown` says.',
    'docs/alerts.md#citushasecondarydown',
    'start it; if it was the primary before a failover, only as a standby: `citus-ha explain D049`',
  ),
  silent: term(
    'the server does not answer this machine; no other node confirms that it is down',
    'Its row stays as it is.',
    'docs/witnesses.md',
    ...ASK,
  ),
  unknown: term(
    'the server was not asked, or could not be read',
    'Nothing is concluded from it.',
    WORDS_PAGE,
  ),
  clone: term(
    'a row of a clone, as Citus 13.2 and later have them (`nodeisclone`)',
    'citus-ha leaves it alone.',
    'docs/compatibility.md',
  ),
  inactive: term(
    'a row of pg_dist_node with `isactive = false`',
    'Citus sends no reads there. A standby that streams again is activated by citus-ha.',
    ROWS,
  ),
  'no-row': term(
    'a server that was seen, and that no row of pg_dist_node names',
    'Citus sends no queries there. A standby of the coordinator needs no row.',
    'docs/reads.md#registering-secondaries',
  ),
  converged: term(
    'every copy of pg_dist_node was up to date, and nothing had to change',
    'Exit code 0.',
    COMMANDS,
  ),
  changed: term('a change was committed, and every copy was verified', 'Exit code 0.', COMMANDS),
  planned: term('a dry run: what would be done; nothing was changed', 'Exit code 0.', COMMANDS),
  refused: term(
    'the evidence does not allow what would have to be written for a group',
    'Nothing is written for that group; other groups are changed where their evidence allows it. Exit code 3.',
    `${RUNBOOKS}#refused`,
    'read the rule that is named: `citus-ha explain D041`, for example',
  ),
  blocked: term(
    'locks or nodes blocked a change until the deadline',
    'Nothing was changed. Exit code 4.',
    `${RUNBOOKS}#blocked`,
    'see what blocks it: `citus-ha reconcile --group N` names node, pid and statement',
  ),
  unproved: term(
    'a change was committed or is in doubt, and was not verified on every node, or an old primary is not fenced',
    'What is committed stays. A running watcher does the rest. Exit code 5.',
    `${RUNBOOKS}#a-copy-differs`,
    'run `citus-ha reconcile` again',
  ),
  error: term(
    'a finding with which the next failover, or the change after it, would fail or do harm',
    'Exit code 3 of `citus-ha doctor`.',
    'docs/reference/checks.md',
    'run the command after `mend:` or `look:`',
  ),
  warning: term(
    'a finding with which the next failover, or the change after it, may fail or do harm',
    'The cluster works.',
    'docs/reference/checks.md',
    'run the command after `mend:` or `look:`',
  ),
  info: term('a finding that is worth knowing', 'The cluster works.', 'docs/reference/checks.md'),
  coordinator: term(
    'the server that clients of Citus connect to: it has group 0, and takes writes',
    'It has the copy of pg_dist_node that counts.',
    WORDS_PAGE,
  ),
  'standby-coordinator': term('a standby of the coordinator', 'Its copy follows by replay.', WORDS_PAGE),
  'expand-coordinator': term(
    'a coordinator that reads through secondaries only (`citus.use_secondary_nodes = always`)',
    'Its copy of pg_dist_node is kept up to date by itself where it is writable.',
    WORDS_PAGE,
  ),
  'metadata-worker': term(
    'a worker’s primary that has a copy of pg_dist_node, and can route queries',
    'Its copy is changed together with the coordinator’s.',
    WORDS_PAGE,
  ),
  'worker-standby': term('a standby of a worker', 'Its copy of pg_dist_node follows by replay.', WORDS_PAGE),
  'no-copy': term(
    'a server without rows in pg_dist_node, or without Citus',
    'There is nothing to change on it.',
    WORDS_PAGE,
  ),
  right: term(
    'a copy of pg_dist_node that was seen up to date',
    'Queries that enter there go to the right servers.',
    'docs/codes.md',
  ),
  stale: term(
    'a copy of pg_dist_node with old rows',
    'Queries that enter there may go to the wrong server.',
    `${RUNBOOKS}#a-copy-differs`,
    'update it: `citus-ha reconcile`; a running watcher does so by itself',
  ),
  'does-not-follow': term(
    'a standby that does not replay what its primary has committed',
    'Its copy has old rows.',
    'docs/alerts.md#citushastandbynotstreaming',
    ...STANDBY_TODO,
  ),
  remedy: term(
    'the row of a secondary that is down, pointed at a running server so that reads continue; “remedies in force” are listed with `*`',
    'Reads through that row work. A remedy ends by itself when the secondary streams again.',
    ROWS,
  ),
  'primary-moved': term(
    'a change: the row of a group’s primary names the server that was promoted',
    'Queries go to the new primary on every copy that the report names as up to date.',
    WORDS_PAGE,
  ),
  'secondary-moved': term(
    'a change: the row of the promoted server names the old primary, which is to be its standby',
    'Reads of secondaries do not go there before it streams.',
    BACK,
    'make the old primary a standby, with the command that `citus-ha doctor` prints (H180, H182)',
  ),
  'remedy-ended': term(
    'a change: a secondary streams again, and its row names it again',
    'Reads through that row go to the secondary.',
    ROWS,
  ),
  degraded: term(
    'a change: the primary of a group is down and no server is promoted, and its row names a standby so that reads continue',
    'Writes to the group fail until the primary is running again, or a standby is promoted.',
    ROWS,
    'start the primary, or promote a standby; then: `citus-ha reconcile`',
  ),
  'degraded-ended': term(
    'a change: the primary of a group is running again, and its row names it again',
    'Reads and writes of the group go there.',
    ROWS,
  ),
  'reads-moved': term(
    'a change: reads of the group go to another secondary',
    'Writes go where they went before.',
    ROWS,
  ),
  'drift-repaired': term(
    'a change: a copy of pg_dist_node differed from the coordinator’s, and was made like it',
    'Queries that entered at that copy may have gone to the wrong server until then.',
    `${RUNBOOKS}#a-copy-differs`,
    'if it happens again: find out what changes rows there; `citus-ha history` shows what citus-ha did',
  ),
  resync: term(
    'a change: a copy is left to Citus’s own metadata sync, which makes it like the coordinator’s',
    'Queries that enter there use old rows until that sync is done.',
    `${RUNBOOKS}#a-copy-differs`,
  ),
  registered: term(
    'a change: a standby that the configuration lists has got a row',
    'Reads of secondaries may go there from now on.',
    ROWS,
  ),
  citus_check_connection_to_node: term(
    'how a witness saw another server: Citus connected to it from there',
    'A server that citus-ha does not reach may still answer other nodes.',
    WORDS_PAGE,
  ),
  'wal-receiver': term(
    'how a standby saw its primary, as a witness: whether its WAL receiver is connected to it, and when it last received something',
    'A standby that still receives from a primary proves that the primary is running.',
    WORDS_PAGE,
  ),
  held: term(
    'writes to a group wait: a fence or a switchover holds them',
    'Reads continue. A fence has a time to live, and ends by itself.',
    'docs/fence.md',
    'see who holds them: `citus-ha status`',
  ),
  fence: term(
    'a hold on the writes to a group, so that a primary can be changed without losing any',
    'Reads continue. It has a time to live, and ends by itself.',
    'docs/fence.md',
    'end it early: `citus-ha release`',
  ),
  'not-fenced': term(
    'an old primary that may still acknowledge writes',
    'Queries go to the new primary. Writes that reach the old one directly are lost.',
    BACK,
    'stop it at once',
  ),
  epoch: term(
    'a number that each change raises by one',
    'A change that was prepared under an older one is refused.',
    WORDS_PAGE,
  ),
  witness: term(
    'a node that says whether it reaches another one',
    'A server counts as down only if witnesses say so too.',
    'docs/witnesses.md',
  ),
  evidence: term(
    'what was seen, on which a decision is based',
    'Without enough of it nothing is changed.',
    'docs/design.md#evidence',
  ),
  leader: term(
    'the one watcher that acts; the others wait to take over',
    'It holds a lock on the coordinator; when that is gone, another watcher takes over.',
    'docs/design.md#who-leads-and-who-is-paused',
  ),
  'stand-in': term(
    'what `citus-ha demo` uses where Citus is not installed: plain PostgreSQL with Citus’s catalog and node functions',
    'It is for the demo and for tests, and is never used on a cluster of yours.',
    'README.md#use-it',
  ),
  TL: term(
    'the timeline of the server, which each promotion raises',
    'Members of a group that work have the same one.',
    WORDS_PAGE,
  ),
  LAG: term(
    'how much WAL a standby is behind its primary',
    '`routing.maxLag` says from when on that is reported.',
    'docs/alerts.md#citushastandbylag',
  ),
  ROUTES: term(
    'whether reads and writes of the group work from every node at which queries enter',
    '`citus-ha status -o wide` shows each.',
    ROWS,
  ),
  mend: term(
    'the command after which a finding is gone',
    'It changes something. Words in CAPITALS are filled in first.',
    'docs/reference/checks.md',
  ),
  look: term(
    'a command that shows more, and changes nothing',
    'Words in CAPITALS are filled in first.',
    'docs/reference/checks.md',
  ),
  DATA_DIRECTORY: term(
    'the data directory of the server: `SHOW data_directory`; on Debian `/var/lib/postgresql/15/main`',
    'The person who runs the command fills it in, on that server’s machine, as the account of PostgreSQL.',
    BACK,
  ),
  CONFIG_FILE: term(
    'the configuration file of the server: `SHOW config_file`; on Debian `/etc/postgresql/15/main/postgresql.conf`, elsewhere most often `postgresql.conf` in the data directory',
    'Without it `pg_ctl start` does not find the configuration on Debian.',
    BACK,
  ),
  pg_ctl: term(
    'PostgreSQL’s program that starts and stops a server',
    'On Debian it is not on the PATH: it is in `/usr/lib/postgresql/15/bin`. `pg_ctlcluster 15 main stop` and `pg_ctlcluster 15 main start` do the same there.',
    BACK,
  ),
  pg_rewind: term(
    'PostgreSQL’s program that makes an old primary a standby of the new one',
    'On Debian it is not on the PATH: it is in `/usr/lib/postgresql/15/bin`. After a crash it needs `--config-file=CONFIG_FILE` there; before PostgreSQL 16, a `CHECKPOINT` on the new primary first.',
    BACK,
  ),
}

function term(means: string, meanwhile: string, page: string, ...todo: readonly string[]): Term {
  return { means, meanwhile, todo, page }
}
