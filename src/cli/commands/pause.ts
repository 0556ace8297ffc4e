import type { Command } from 'commander'
import { describePause, scopeOf, sinceOf } from '../../model/pause.ts'
import { type PausedIn, type PauseOrder, pauseEverywhere } from '../../walk/pause.ts'
import { addClusterOptions, type ClusterOptions, databasesOf, requestOf, withCluster } from '../cluster.ts'
import { type Io, plain, printJson } from '../io.ts'
import { groupOption } from '../options.ts'

interface ResumeOptions extends ClusterOptions {
  readonly group?: number
  readonly json?: boolean
}

interface PauseOptions extends ResumeOptions {
  readonly reason?: string
}

const PAUSE_HELP = `
Every watch stops changing anything at once, keeps watching, and logs what it would do, until citus-ha resume. The command
citus-ha reconcile still works.

Examples:
  citus-ha pause --config citus-ha.yaml --reason 'disks of worker 1 are moved'
  citus-ha pause --config citus-ha.yaml --group 1`

const RESUME_HELP = `
Without --group it ends the pause of the whole cluster; groups that were paused with --group stay paused.

Examples:
  citus-ha resume --config citus-ha.yaml
  citus-ha resume --config citus-ha.yaml --group 1`

export function pauseCommand(command: Command, io: Io): void {
  addClusterOptions(command)
    .option('--group <n>', 'this group only', groupOption)
    .option('--reason <text>', 'the reason, shown by citus-ha status')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', PAUSE_HELP)
    .action(async (options: PauseOptions) => {
      const why = options.reason?.replace(/\s+/g, ' ').trim() || null
      await carryOut({ kind: 'pause', group: options.group ?? null, why }, options, io)
    })
}

export function resumeCommand(command: Command, io: Io): void {
  addClusterOptions(command)
    .option('--group <n>', 'this group only', groupOption)
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', RESUME_HELP)
    .action(async (options: ResumeOptions) => {
      await carryOut({ kind: 'resume', group: options.group ?? null }, options, io)
    })
}

async function carryOut(order: PauseOrder, options: ResumeOptions, io: Io): Promise<void> {
  const done = await withCluster(options, io, async (session) => {
    const databases = await databasesOf(session)
    const requests = databases.map((database) => requestOf({ ...session, database }, io))
    return await pauseEverywhere(session.access, requests, order)
  })
  if (options.json) printJson(io, { databases: done })
  else for (const each of done) io.stdout.write(`${linesOf(order, each).map(plain).join('\n')}\n`)
}

function linesOf(order: PauseOrder, { database, changed, pause, pauses }: PausedIn): string[] {
  const scope = scopeOf(order.group)
  const others = pauses.filter((each) => each.group !== order.group)
  // Every group is under the cluster's pause; of another group's nothing is said to whoever asked about one.
  const left = others.filter((each) => each.group === null || order.group === null)
  const still = left.map((each) => `  still paused in ${database}: ${describePause(each)}`)
  const what = `${scope} in ${database}`
  if (pause === null) return [`${scope} was not paused in ${database}`, ...still]
  if (order.kind === 'resume') return [`resumed ${what}, paused ${sinceOf(pause)}`, ...still]
  if (changed) return [`paused ${what}: ${sinceOf(pause)}`]
  return [`${scope} was already paused in ${database}: ${sinceOf(pause)}`]
}
