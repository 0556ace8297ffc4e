import type { EXIT_CODES } from '../exit-codes.ts'
import { type Explanation, RUNBOOKS } from './explanation.ts'

const COMMANDS = 'docs/reference/commands.md'

/** Of each exit code. What it means is said beside it in `EXIT_CODES`. */
export const EXIT_EXPLANATIONS: Readonly<Record<(typeof EXIT_CODES)[number][0], Explanation>> = {
  0: {
    meanwhile:
      'A standby that is known not to follow (it is down, it did not stream before, its replay is paused or delayed) is named in a warning instead. `status` and `doctor`: nothing is wrong. `watch`: it was stopped.',
    todo: [],
    page: COMMANDS,
  },
  1: {
    meanwhile:
      'What was under way was committed or rolled back; where that is not known, the message says so.',
    todo: [
      'look, and end what may be left: `citus-ha status`, `citus-ha recover`',
      'report it, with the message and `citus-ha version`: this is a bug',
    ],
    page: COMMANDS,
  },
  2: {
    meanwhile:
      'Nothing was changed. Trying again does not help: each line of the message names an option, a key, a right or a server.',
    todo: [
      'check the file, without any server: `citus-ha config check FILE`',
      'a missing right or schema: `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/reference/configuration.md',
  },
  3: {
    meanwhile:
      'The primary of the group that is named was not changed; other groups were changed where they had to be. `status`: something is wrong; `doctor`: it found an error; `switchover`, `uninstall`, `relearn`: nothing was touched; `install`: a group was left out.',
    todo: ['what the message names, by its rule or check: `citus-ha explain D…`'],
    page: `${RUNBOOKS}#refused`,
  },
  4: {
    meanwhile:
      'Nothing was changed, and no lock is left; the message names who was in the way. Only where a switchover died and can neither be undone nor carried on, its group may take no writes.',
    todo: [
      'give the same command again; a running watcher does so by itself, with growing pauses',
      'if sessions are in the way: end them, or `citus-ha reconcile --force-after 5s`',
      'if no coordinator answers: start it, or promote its standby',
    ],
    page: `${RUNBOOKS}#blocked`,
  },
  5: {
    meanwhile:
      'The change is decided and stays: every node that is not named has the new rows. A node that is named may still send queries by old ones; a switchover of another group that died is named, too. `switchover`: it came through for some groups only, or the old primary was written on after it; `uninstall`: something stays, and is named.',
    todo: [
      'see which node is left: `citus-ha status`',
      'make it right: `citus-ha reconcile`; a running watcher does so by itself',
      'if an old primary is not fenced: stop it, there: `pg_ctl stop -m fast -D DATA_DIRECTORY`',
    ],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  130: {
    meanwhile:
      'A change that was under way was finished or rolled back first. If it came to an outcome, its own code is given instead.',
    todo: ['give the same command again'],
    page: COMMANDS,
  },
  143: {
    meanwhile:
      'A change that was under way was finished or rolled back first. If it came to an outcome, its own code is given instead.',
    todo: ['give the same command again'],
    page: COMMANDS,
  },
}
