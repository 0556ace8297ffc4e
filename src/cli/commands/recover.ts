import type { Command } from 'commander'
import { describeIntent } from '../../model/intent.ts'
import { intentsIn } from '../../model/intents.ts'
import { formatAddress } from '../../model/node.ts'
import type { Resolved } from '../../recover/recover.ts'
import { requireCoordinator } from '../../walk/checks.ts'
import { Clock } from '../../walk/clock.ts'
import { requireInstalled } from '../../walk/install.ts'
import { settleIntents } from '../../walk/intents.ts'
import { observe } from '../../walk/look.ts'
import { recoverNow } from '../../walk/recovery.ts'
import { addClusterOptions, type ClusterOptions, requestOf, type Session, withCluster } from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { type Io, plain, printJson } from '../io.ts'

interface RecoverOptions extends ClusterOptions {
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function recoverCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--dry-run', 'show what would be done; change nothing')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', '\nExample:\n  citus-ha recover --config citus-ha.yaml --dry-run')
    .action(async (options: RecoverOptions) => {
      const { done, exitCode } = await withCluster(options, io, (session) =>
        eachDatabase(session, io, (each) => recoverOne(each, options, io)),
      )
      const lines = done.flatMap((each) => each.lines)
      const switchovers = done.flatMap((each) => each.switchovers)
      const isLeft = lines.some((line) => line.failed !== null) || done.some((each) => each.leaves)
      exit(Math.max(exitCode, isLeft ? 4 : 0))
      if (options.json) printJson(io, { resolved: lines, switchovers })
      else render(lines, switchovers, options, io)
    })
}

interface Line {
  readonly database: string
  readonly node: string
  readonly gid: string
  readonly action: string
  readonly why: string
  readonly failed: string | null
}

interface Done {
  readonly lines: readonly Line[]
  /** What a switchover left behind, and what became of it, a line each. */
  readonly switchovers: readonly string[]
  /** Some of those could neither be undone nor carried on. */
  readonly leaves: boolean
}

async function recoverOne(session: Session, options: RecoverOptions, io: Io): Promise<Done> {
  const { access, database } = session
  const request = requestOf(session, io)
  const clock = new Clock(request.deadlineMs)
  const survey = await observe(access, request, clock)
  const view = { survey, coordinator: requireCoordinator(survey) }
  requireInstalled(view.coordinator, access.migration)
  const resolved = await recoverNow(access, request, view, options.dryRun ? 'look' : 'resolve', clock)
  const left = intentsIn(survey.nodes)
  const settled =
    left.length === 0 || options.dryRun ? [] : await settleIntents(access, request, survey, clock)
  return {
    lines: resolved.map((each) => lineOf(database, each)),
    switchovers: options.dryRun ? left.map(describeIntent) : settled.map(({ line }) => line),
    leaves: settled.some(({ what }) => what === 'left'),
  }
}

function lineOf(database: string, { node, resolution, failed }: Resolved): Line {
  return { database, node: formatAddress(node), ...resolution, failed }
}

function render(
  lines: readonly Line[],
  switchovers: readonly string[],
  { dryRun }: RecoverOptions,
  io: Io,
): void {
  if (lines.length + switchovers.length === 0) io.stdout.write('no transaction is in doubt\n')
  for (const { node, gid, action, why, failed } of lines) {
    const done = failed === null ? '' : `: failed: ${failed}`
    io.stdout.write(`${node}: ${dryRun ? 'would ' : ''}${action} ${plain(gid)}: ${plain(why)}${done}\n`)
  }
  for (const line of switchovers) io.stdout.write(`${plain(line)}\n`)
}
