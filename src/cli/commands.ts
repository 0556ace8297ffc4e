import type { Command } from 'commander'
import type { Io } from './io.ts'

/** Gives a command its options and what it does. `exit` is told the exit code of one that came to an outcome. */
type Complete = (command: Command, io: Io, exit: (code: number) => void) => void

type Group = 'Set up:' | 'Read only:' | 'Change:' | 'Watch:' | 'For an HA tool:'

interface Entry {
  readonly name: string
  /** Under which heading the list has it. */
  readonly group: Group
  /** What is typed after the name, as the list of commands shows it. */
  readonly usage: string
  readonly about: string
  /** Only of the command that is run: reading them all takes longer than most of them. */
  readonly load: () => Promise<Complete>
}

const OPTIONS = '[options]'

export const COMMANDS: readonly Entry[] = [
  {
    name: 'install',
    group: 'Set up:',
    usage: OPTIONS,
    about:
      'create or upgrade the schema citus_ha and its role on every writable node (needs a superuser; safe to repeat)',
    load: async () => (await import('./commands/install.ts')).installCommand,
  },
  {
    name: 'status',
    group: 'Read only:',
    usage: OPTIONS,
    about: 'show groups and nodes: role, address, lag, timeline, upstream, and what is wrong',
    load: async () => (await import('./commands/status.ts')).statusCommand,
  },
  {
    name: 'doctor',
    group: 'Read only:',
    usage: OPTIONS,
    about: 'show what would make the next failover fail, with the command that fixes it',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  {
    name: 'reconcile',
    group: 'Change:',
    usage: OPTIONS,
    about: 'detect a completed promotion and update pg_dist_node on all nodes in one transaction',
    load: async () => (await import('./commands/reconcile.ts')).reconcileCommand,
  },
  {
    name: 'event',
    group: 'For an HA tool:',
    usage: '',
    about: 'called by an HA tool: reconcile the group in which it promoted a node',
    load: async () => (await import('./commands/event.ts')).eventCommand,
  },
  {
    name: 'switchover',
    group: 'Change:',
    usage: OPTIONS,
    about: 'swap a group’s primary and a standby on purpose: writes are held, reads continue',
    load: async () => (await import('./commands/switchover.ts')).switchoverCommand,
  },
  {
    name: 'pause',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'stop watch from changing anything by itself, in the whole cluster or in one group',
    load: async () => (await import('./commands/pause.ts')).pauseCommand,
  },
  {
    name: 'resume',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'end a pause of the whole cluster or of one group',
    load: async () => (await import('./commands/pause.ts')).resumeCommand,
  },
  {
    name: 'fence',
    group: 'For an HA tool:',
    usage: OPTIONS,
    about: 'hold the writes to a group while its primary is changed',
    load: async () => (await import('./commands/fence.ts')).fenceCommand,
  },
  {
    name: 'release',
    group: 'For an HA tool:',
    usage: OPTIONS,
    about: 'release the writes to a fenced group',
    load: async () => (await import('./commands/fence.ts')).releaseCommand,
  },
  {
    name: 'watch',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'detect every promotion and reconcile at once; any number of instances may run',
    load: async () => (await import('./commands/watch.ts')).watchCommand,
  },
  {
    name: 'recover',
    group: 'Change:',
    usage: OPTIONS,
    about:
      'resolve prepared transactions of an interrupted change: commit those that were decided, roll back the rest',
    load: async () => (await import('./commands/recover.ts')).recoverCommand,
  },
  {
    name: 'forget',
    group: 'Change:',
    usage: '[options] <host:port>',
    about: 'remove a secondary from pg_dist_node on every node, and the records of its address',
    load: async () => (await import('./commands/forget.ts')).forgetCommand,
  },
  {
    name: 'relearn',
    group: 'Change:',
    usage: OPTIONS,
    about:
      'record the registered primaries as they are now (after pg_upgrade or a restore; needs a superuser)',
    load: async () => (await import('./commands/relearn.ts')).relearnCommand,
  },
  {
    name: 'uninstall',
    group: 'Set up:',
    usage: OPTIONS,
    about: 'remove the schema citus_ha and its role from every node (needs a superuser)',
    load: async () => (await import('./commands/uninstall.ts')).uninstallCommand,
  },
  {
    name: 'history',
    group: 'Read only:',
    usage: OPTIONS,
    about: 'show the committed changes, newest first',
    load: async () => (await import('./commands/history.ts')).historyCommand,
  },
  {
    name: 'config',
    group: 'Set up:',
    usage: '',
    about: 'check a configuration file, or print an example; connects to no server',
    load: async () => (await import('./commands/config.ts')).configCommand,
  },
  {
    name: 'version',
    group: 'Read only:',
    usage: OPTIONS,
    about: 'show version and commit of this program, the schema it needs, its Node.js; connects to no server',
    load: async () => (await import('./commands/version.ts')).versionCommand,
  },
  {
    name: 'rules',
    group: 'Read only:',
    usage: OPTIONS,
    about: 'list the rules by which a group is diagnosed, in order; the first that applies decides',
    load: async () => (await import('./commands/rules.ts')).rulesCommand,
  },
  {
    name: 'explain',
    group: 'Read only:',
    usage: '[options] [code...]',
    about: 'what a rule, check, exit code, remark or alert means, and what to do; asks no server',
    load: async () => (await import('./commands/explain.ts')).explainCommand,
  },
  {
    name: 'completion',
    group: 'Set up:',
    usage: '[options] <shell>',
    about: 'print a completion script for bash, zsh or fish',
    // biome-ignore lint/suspicious/noImportCycles: `completion` is one of the commands, and describes them all
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
  {
    name: 'demo',
    group: 'Set up:',
    usage: OPTIONS,
    about: 'run a local cluster whose worker fails, and show how reconcile fixes it',
    load: async () => (await import('./commands/demo.ts')).demoCommand,
  },
]
