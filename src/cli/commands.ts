import type { Command } from 'commander'
import type { Io } from './io.ts'

/** Gives a command its options and what it does. `exit` is told the exit code of one that came to an outcome. */
type Complete = (command: Command, io: Io, exit: (code: number) => void) => void

type Group = 'Set up:' | 'Look, and change nothing:' | 'Change:' | 'Watch:' | 'For the tool that promotes:'

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
    about: 'create the schema citus_ha and its role on every writable node (as a superuser; again: nothing)',
    load: async () => (await import('./commands/install.ts')).installCommand,
  },
  {
    name: 'status',
    group: 'Look, and change nothing:',
    usage: OPTIONS,
    about: 'groups and nodes: role, address, lag, timeline, upstream, and what is wrong; changes nothing',
    load: async () => (await import('./commands/status.ts')).statusCommand,
  },
  {
    name: 'doctor',
    group: 'Look, and change nothing:',
    usage: OPTIONS,
    about: 'what would make the next failover fail, with the command that mends it; changes nothing',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  {
    name: 'reconcile',
    group: 'Change:',
    usage: OPTIONS,
    about: 'prove what was promoted, and make pg_dist_node right on every copy at once',
    load: async () => (await import('./commands/reconcile.ts')).reconcileCommand,
  },
  {
    name: 'event',
    group: 'For the tool that promotes:',
    usage: '',
    about: 'called by an HA tool: reconcile the group it promoted a node of',
    load: async () => (await import('./commands/event.ts')).eventCommand,
  },
  {
    name: 'switchover',
    group: 'Change:',
    usage: OPTIONS,
    about: 'swap a group’s primary and standby on purpose: writes wait, reads go on',
    load: async () => (await import('./commands/switchover.ts')).switchoverCommand,
  },
  {
    name: 'pause',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'keep watch from changing anything by itself, in the whole cluster or one group',
    load: async () => (await import('./commands/pause.ts')).pauseCommand,
  },
  {
    name: 'resume',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'end a pause: of the whole cluster, or of one group',
    load: async () => (await import('./commands/pause.ts')).resumeCommand,
  },
  {
    name: 'fence',
    group: 'For the tool that promotes:',
    usage: OPTIONS,
    about: 'let the writes to a group wait while its primary is changed',
    load: async () => (await import('./commands/fence.ts')).fenceCommand,
  },
  {
    name: 'release',
    group: 'For the tool that promotes:',
    usage: OPTIONS,
    about: 'let the writes to a fenced group go on',
    load: async () => (await import('./commands/fence.ts')).releaseCommand,
  },
  {
    name: 'watch',
    group: 'Watch:',
    usage: OPTIONS,
    about: 'notice promotions by whomever, and reconcile at once; any number of instances may run',
    load: async () => (await import('./commands/watch.ts')).watchCommand,
  },
  {
    name: 'recover',
    group: 'Change:',
    usage: OPTIONS,
    about: 'resolve what an interrupted change left prepared: committed if it was decided, else rolled back',
    load: async () => (await import('./commands/recover.ts')).recoverCommand,
  },
  {
    name: 'forget',
    group: 'Change:',
    usage: '[options] <host:port>',
    about: 'remove a secondary from pg_dist_node on every copy, and what is remembered of its address',
    load: async () => (await import('./commands/forget.ts')).forgetCommand,
  },
  {
    name: 'relearn',
    group: 'Change:',
    usage: OPTIONS,
    about: 'take the registered primaries for what they are now (as a superuser; after pg_upgrade)',
    load: async () => (await import('./commands/relearn.ts')).relearnCommand,
  },
  {
    name: 'uninstall',
    group: 'Set up:',
    usage: OPTIONS,
    about: 'remove the schema citus_ha and its role from every node (as a superuser)',
    load: async () => (await import('./commands/uninstall.ts')).uninstallCommand,
  },
  {
    name: 'history',
    group: 'Look, and change nothing:',
    usage: OPTIONS,
    about: 'the changes that were decided, newest first',
    load: async () => (await import('./commands/history.ts')).historyCommand,
  },
  {
    name: 'config',
    group: 'Set up:',
    usage: '',
    about: 'check a configuration file, or make an example of one; asks no server',
    load: async () => (await import('./commands/config.ts')).configCommand,
  },
  {
    name: 'version',
    group: 'Look, and change nothing:',
    usage: OPTIONS,
    about: 'this program: its version and commit, the schema it needs, its Node.js; asks no server',
    load: async () => (await import('./commands/version.ts')).versionCommand,
  },
  {
    name: 'rules',
    group: 'Look, and change nothing:',
    usage: OPTIONS,
    about: 'the rules by which a group is diagnosed, in order; the first that applies decides',
    load: async () => (await import('./commands/rules.ts')).rulesCommand,
  },
  {
    name: 'completion',
    group: 'Set up:',
    usage: '[options] <shell>',
    about: 'a script for bash, zsh or fish that completes what is typed',
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
  {
    name: 'demo',
    group: 'Set up:',
    usage: OPTIONS,
    about: 'a local cluster whose worker fails: what is wrong then, and reconcile mending it',
    load: async () => (await import('./commands/demo.ts')).demoCommand,
  },
]
