import { type Command, Option } from 'commander'
import { LOG_LEVELS } from '../../config/log-level.ts'
import type { HostPort } from '../../model/node.ts'
import type { Report } from '../../model/outcome.ts'
import type { EachDatabase } from '../../walk/each-database.ts'
import { DEFAULT_WAIT_MS, documentOf, exitCodeOfAll, type Order, orderedWalk } from '../../walk/order.ts'
import { walk } from '../../walk/walk.ts'
import type { WalkRequest } from '../../walk/walk-request.ts'
import {
  addClusterOptions,
  asTyped,
  audienceOf,
  type ClusterOptions,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { type Io, printJson } from '../io.ts'
import { type LogOptions, openLog } from '../log.ts'
import {
  addressOption,
  durationOption,
  durationWithDefault,
  groupOption,
  logFormatOption,
} from '../options.ts'
import { renderReport, withTyped } from '../render-report.ts'

interface ReconcileOptions extends ClusterOptions, LogOptions {
  readonly group?: number
  readonly promoted?: HostPort
  readonly wait: number
  readonly timeout?: number
  readonly forceAfter?: number
  readonly dryRun?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  citus-ha reconcile --coordinator postgres://citus_ha@cn1.example/app
  citus-ha reconcile --config citus-ha.yaml --dry-run
  citus-ha reconcile --config citus-ha.yaml --promoted worker-1b.example:5432 --wait 30s`

export function reconcileCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--group <n>', 'this group only', groupOption)
    .option(
      '--promoted <host:port>',
      'this node was promoted on purpose; overrides the timeline history',
      addressOption,
    )
    .addOption(
      durationWithDefault(
        '--wait <duration>',
        'wait this long for HOST:PORT to finish its promotion',
        DEFAULT_WAIT_MS,
      ),
    )
    .option(
      '--timeout <duration>',
      'keep trying this long while locks or nodes block the change (default: apply.deadline, 30s)',
      durationOption,
    )
    .option(
      '--force-after <duration>',
      'terminate blocking sessions after this time (default: apply.force, never)',
      durationOption,
    )
    .option('--dry-run', 'show the diagnosis and the exact SQL; change nothing, lock nothing')
    .addOption(new Option('--log-level <level>', 'log lines on stderr').choices(LOG_LEVELS).default('silent'))
    .addOption(logFormatOption())
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', EXAMPLES)
    .action(async (options: ReconcileOptions) => {
      const ran = await withCluster(
        options,
        io,
        (session) => reconcileAll(session, options, io),
        audienceOf(options),
      )
      exit(exitCodeOfAll(ran))
      const typed = { ...ran, done: ran.done.map((report) => withTyped(report, asTyped(options))) }
      if (options.json) printJson(io, documentOf(typed))
      else for (const report of typed.done) io.stdout.write(renderReport(report, io))
    })
}

async function reconcileAll(
  session: Session,
  options: ReconcileOptions,
  io: Io,
): Promise<EachDatabase<Report>> {
  const log = await openLog(options, io)
  return await eachDatabase(session, io, async (one) => {
    const request = { ...requestFor(one, options, io), progress: log.progress }
    const report = await walk(session.access, request)
    log.report(report)
    return report
  })
}

function requestFor(session: Session, options: ReconcileOptions, io: Io): WalkRequest {
  const request = requestOf(session, io)
  const { group, promoted, wait, timeout, forceAfter, dryRun } = options
  const order: Order = {
    group: group ?? null,
    promoted: promoted ?? null,
    waitMs: wait,
    timeoutMs: timeout ?? null,
    mode: dryRun ? 'dry-run' : 'apply',
  }
  return { ...orderedWalk(request, order), forceAfterMs: forceAfter ?? request.forceAfterMs }
}
