import type { EXIT_CODES } from '../exit-codes.ts'
import { type Explanation, RUNBOOKS, STOP } from './explanation.ts'

const COMMANDS = 'docs/reference/commands.md'

/** Of each exit code. What it means is said beside it in `EXIT_CODES`. */
export const EXIT_EXPLANATIONS: Readonly<Record<(typeof EXIT_CODES)[number][0], Explanation>> = {
  0: {
    meanwhile:
      'A standby that is known not to follow (it is down, it did not stream before, its replay is paused or delayed) is named in a warning instead. `status`: in what it reads (roles, replication, copies, the schema citus_ha) no problem was found; `doctor`: no error was found. `watch`: a signal stopped it.',
    todo: [],
    page: COMMANDS,
  },
  1: {
    meanwhile: 'A running change was committed or rolled back; if that is not known, the message says so.',
    todo: [
      'see the state, and resolve what may be left: `citus-ha status`, `citus-ha recover`',
      'report it as a bug, with the message and the output of `citus-ha version`',
    ],
    page: COMMANDS,
  },
  2: {
    meanwhile:
      'Nothing was changed. The same command fails again: each line of the message names an option, a key, a privilege or a server.',
    todo: [
      'check the file, without a connection to any server: `citus-ha config check FILE`',
      'if a privilege or the schema is missing, a superuser runs: `citus-ha install --config FILE --user postgres`',
    ],
    page: 'docs/reference/configuration.md',
  },
  3: {
    meanwhile:
      'The primary of the group that is named was not changed; other groups were changed if they needed it. Two servers that both take writes are refused also by the run that retires the old one of them; the next run ends with 0, and a warning if clients still write there. `status`: it found a problem; `doctor`: it found an error; `switchover`, `uninstall`, `relearn`: nothing was changed; `install`: a group was left out.',
    todo: ['read the explanation of the rule or check that the message names: `citus-ha explain D…`'],
    page: `${RUNBOOKS}#refused`,
  },
  4: {
    meanwhile:
      'Nothing was changed, and citus-ha holds no lock any more; the message names the blocking sessions. Only if an interrupted switchover can neither be undone nor completed, its group may take no writes.',
    todo: [
      'run the same command again; a running watcher tries again by itself, with growing pauses',
      'if sessions block it: terminate them, or `citus-ha reconcile --force-after 5s`',
      'if no coordinator answers: start it, or promote its standby',
    ],
    page: `${RUNBOOKS}#blocked`,
  },
  5: {
    meanwhile:
      'The change is committed, and stays: every node that is not named has the new rows. A node that is named may still use old rows; an interrupted switchover of another group is named, too. `switchover`: only some groups were switched, or the old primary accepted writes after it; `uninstall`: something was not removed, and is named.',
    todo: [
      'see which node is not up to date: `citus-ha status`',
      'update it: `citus-ha reconcile`; a running watcher does so by itself',
      `if an old primary is not fenced, stop it; run there: ${STOP}`,
    ],
    page: `${RUNBOOKS}#a-copy-differs`,
  },
  129: {
    meanwhile: 'A running change is first finished or rolled back, and then its own exit code counts.',
    todo: [
      'see the state: `citus-ha status`',
      'run the same command again, in `tmux` or `screen` if the connection may break',
    ],
    page: COMMANDS,
  },
  130: {
    meanwhile: 'A running change is first finished or rolled back, and then its own exit code counts.',
    todo: ['run the same command again'],
    page: COMMANDS,
  },
  143: {
    meanwhile: 'A running change is first finished or rolled back, and then its own exit code counts.',
    todo: ['run the same command again'],
    page: COMMANDS,
  },
}
