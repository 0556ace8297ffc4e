import { type Command, Option } from 'commander'
import { formatDuration } from '../../config/duration.ts'
import { LOG_LEVELS } from '../../config/log-level.ts'
import { withService } from '../../config/service.ts'
import { readMonitor } from '../../integrate/auto-failover.ts'
import { askMonitor } from '../../integrate/monitor.ts'
import { type Vouching, within } from '../../integrate/obey.ts'
import { readPatroni } from '../../integrate/patroni.ts'
import { readPgpool } from '../../integrate/pgpool.ts'
import { readPromoted } from '../../integrate/promoted.ts'
import { readRepmgr } from '../../integrate/repmgr.ts'
import { nodeOf, type Word } from '../../integrate/word.ts'
import type { HostPort } from '../../model/node.ts'
import type { Report } from '../../model/outcome.ts'
import { timeLimit } from '../../time-limit.ts'
import type { EachDatabase } from '../../walk/each-database.ts'
import { documentOf, exitCodeOfAll } from '../../walk/order.ts'
import { walk } from '../../walk/walk.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  databasesOf,
  databasesSeen,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { handOver } from '../handover.ts'
import { type Io, plain, printJson } from '../io.ts'
import { type Log, type LogOptions, openLog } from '../log.ts'
import { onlookersOf } from '../onlookers.ts'
import {
  addressOption,
  durationOption,
  durationWithDefault,
  groupOption,
  logFormatOption,
} from '../options.ts'
import { renderReport, withTyped } from '../render-report.ts'
import { tellWarning } from '../tell.ts'

interface EventOptions extends ClusterOptions, LogOptions {
  readonly node?: HostPort
  readonly group?: number
  readonly wait?: number
  readonly timeout: number
  readonly json?: boolean
  readonly monitor?: string
  readonly formation?: string
}

/** What it takes to close and to say what happened. */
const CLOSING_MS = 300

type Exit = (code: number) => void

const HELP = `
For repmgr and pgpool, options come before the arguments of the tool. An event names a promoted node as reconcile --promoted
does, but it never overrides the timeline history: events may come twice, late and out of order. docs/ has a page for each tool.

Examples:
  patroni.yml      on_role_change: citus-ha event patroni --config F --node w1b.example:5432
  repmgr.conf      event_notification_command = 'citus-ha event repmgr --config F --node w1b.example:5432 %n %e %s "%t" "%d"'
  pgpool.conf      failover_command = 'promote.sh %d %P "%H" "%R" && citus-ha event pgpool --config F failover %d "%h" %p "%D" %m "%H" %M %P "%r" "%R" "%N" "%S"'
  anything else    citus-ha event promoted --config F w1b.example:5432`

/** `citus-ha event TOOL`: what an HA tool calls when it has promoted. */
export function eventCommand(event: Command, io: Io, exit: Exit): void {
  event.enablePositionalOptions().addHelpText('after', HELP)
  const tool = (
    name: string,
    args: string,
    about: string,
    read: (args: readonly string[]) => Word,
    dashes = false,
  ) =>
    addEventOptions(event.command(`${name} ${args}`).description(about))
      // Words of these tools may begin with a dash, as the port -1 of a node that there is not.
      .passThroughOptions(dashes)
      .action((words: readonly string[], options: EventOptions) =>
        answer(name, async () => [read(words)], options, io, exit),
      )
  tool('patroni', '<args...>', 'callback of Patroni: ACTION ROLE SCOPE', readPatroni)
  tool('repmgr', '<args...>', 'event_notification_command of repmgr: %n %e %s %t %d', readRepmgr, true)
  tool(
    'pgpool',
    '<args...>',
    'failover or follow_primary of Pgpool-II, and its twelve placeholders',
    readPgpool,
    true,
  )
  tool('promoted', '<node...>', 'any other tool or script: HOST:PORT has become a primary', readPromoted)
  addEventOptions(
    event
      .command('pg_auto_failover')
      .description('ask a pg_auto_failover monitor once which nodes are primaries'),
  )
    .requiredOption('--monitor <url>', 'URL of the monitor, as pg_autoctl show uri --monitor prints it')
    .option('--formation <name>', 'this formation only')
    .action((options: EventOptions) =>
      answer('pg_auto_failover', () => heardFromMonitor(options, io), options, io, exit),
    )
}

function addEventOptions(command: Command): Command {
  return addClusterOptions(command)
    .option('--node <host:port>', 'the node of the event, as pg_dist_node has it', addressOption)
    .option('--group <n>', 'its group, if the node is not in pg_dist_node', groupOption)
    .option(
      '--wait <duration>',
      'wait this long for a promotion that is still running (default: until --timeout)',
      durationOption,
    )
    .addOption(durationWithDefault('--timeout <duration>', 'answer within this time', 10_000))
    .addOption(new Option('--log-level <level>', 'log lines on stderr').choices(LOG_LEVELS).default('silent'))
    .addOption(logFormatOption())
    .option('--json', 'one JSON document on stdout')
}

async function heardFromMonitor(options: EventOptions, io: Io): Promise<Word[]> {
  const { env } = await withService(io.env)
  const nodes = await askMonitor(
    options.monitor ?? '',
    env,
    Math.min(5000, options.timeout / 2),
    (text) => tellWarning(io, text),
    onlookersOf(io),
  )
  const words = readMonitor(nodes.filter(({ formation }) => formation === (options.formation ?? formation)))
  return words.length > 0 ? words : [{ kind: 'unconcerned', says: 'pg_auto_failover: no node is primary' }]
}

/** What is said is understood first: what concerns nobody needs no configuration and no connection. */
async function answer(
  tool: string,
  hear: () => Promise<readonly Word[]>,
  options: EventOptions,
  io: Io,
  exit: Exit,
): Promise<void> {
  const began = performance.now()
  const words = await hear()
  const promoted = words.filter((word) => word.kind === 'promoted')
  const [first] = words
  if (promoted.length === 0) {
    const says = first?.says ?? 'nothing'
    if (options.json) printJson(io, { outcome: 'unconcerned', exitCode: 0, says })
    else io.stdout.write(`nothing to do: ${says}\n`)
    return
  }
  const leftMs = began + options.timeout - CLOSING_MS - performance.now()
  const limit = timeLimit(Math.max(0, Math.ceil(leftMs)))
  const late = limit.signal
  const begun = { decided: false, inFlight: io.inFlight ?? new Set<string>() }
  const limited = withDecisions({ ...io, signal: AbortSignal.any([io.signal, late]) }, begun)
  try {
    const ran = await withCluster(options, limited, async (session) => {
      cutWhen(late, session, begun)
      const orders = promoted.map((word) => orderOf(word, options, session, began))
      return await obeyAll(session, orders, tool, await openLog(options, io), limited)
    })
    exit(exitCodeOfAll(ran))
    const typed = { ...ran, done: ran.done.map((report) => withTyped(report, asTyped(options))) }
    if (options.json) printJson(io, documentOf(typed))
    else for (const report of typed.done) io.stdout.write(renderReport(report, io))
  } catch (error) {
    if (!late.aborted || io.signal.aborted) throw error
    const { outcome, exitCode, says } = outOfTime(begun, options.timeout)
    exit(exitCode)
    if (options.json) printJson(io, { outcome, exitCode, says, inDoubt: [...begun.inFlight] })
    else io.stderr.write(`citus-ha: ${plain(says)}\n`)
  } finally {
    limit.clear()
  }
}

/** What is known when `--timeout`, in milliseconds, is over before there is an outcome. */
function outOfTime({ decided, inFlight }: Begun, timeoutMs: number) {
  const within = `no outcome within ${formatDuration(timeoutMs)}`
  if (decided) {
    const says = `${within}: the change is committed, but not yet verified on every node. Run: citus-ha status`
    return { outcome: 'unproved', exitCode: 5, says } as const
  }
  if (inFlight.size > 0) {
    const says = `${within}: it is not known whether the change was committed (prepared: ${[...inFlight].join(', ')}). Run: citus-ha recover`
    return { outcome: 'unproved', exitCode: 5, says } as const
  }
  return { outcome: 'blocked', exitCode: 4, says: `${within}: nothing was changed` } as const
}

/** How far changes got, for whoever is cut off before it is told what became of them. */
interface Begun {
  decided: boolean
  readonly inFlight: Set<string>
}

function withDecisions(io: Io, begun: Begun): Io {
  const reached = async (point: string) => {
    if (point === 'decided') begun.decided = true
    await io.hooks?.reached(point)
  }
  return { ...io, hooks: { reached }, inFlight: begun.inFlight }
}

/** When time is up, silent nodes are waited for no longer, unless a change has begun that has to come to its end. */
function cutWhen(late: AbortSignal, { access }: Session, begun: Begun): void {
  const cut = () => {
    if (!begun.decided && begun.inFlight.size === 0) void access.close()
  }
  if (late.aborted) cut()
  else late.addEventListener('abort', cut, { once: true })
}

function orderOf(
  word: Extract<Word, { kind: 'promoted' }>,
  { node, group, wait, timeout }: EventOptions,
  { config }: Session,
  began: number,
): Vouching {
  return {
    node: nodeOf(word, node, config.integrations.nodes),
    group: group ?? null,
    waitUntil: began + (wait ?? timeout),
    answerBy: began + timeout,
  }
}

/** By a running watcher where one answers, and by ourselves otherwise. */
async function obeyAll(
  session: Session,
  orders: readonly Vouching[],
  tool: string,
  log: Log,
  io: Io,
): Promise<EachDatabase<Report>> {
  const parts: EachDatabase<Report>[] = []
  const own: Vouching[] = []
  for (const order of orders) {
    const done = await handOver(session, order, tool, io, log.warn)
    if (done) parts.push(done)
    else own.push(order)
  }
  return joined(own.length === 0 ? parts : [...parts, await walkAll(session, own, tool, log, io)])
}

async function walkAll(
  session: Session,
  orders: readonly Vouching[],
  tool: string,
  log: Log,
  io: Io,
): Promise<EachDatabase<Report>> {
  const obey = async (one: Session) => {
    const reports: Report[] = []
    for (const order of orders) {
      const { madeBy, ...request } = requestOf(one, io)
      const by = madeBy.replace('citus-ha', `citus-ha event ${tool}`)
      const report = await walk(one.access, within({ ...request, progress: log.progress, madeBy: by }, order))
      log.report(report)
      reports.push(report)
    }
    return reports
  }
  const names = await databasesSeen(session)
  const ran = await eachDatabase(session, io, obey, names ?? [session.database])
  // While a coordinator is being promoted, nobody can say which others there are.
  const others = names === null ? (await databasesOf(session)).slice(1) : []
  const rest = await eachDatabase(session, io, obey, others)
  return joined([ran, rest].map((each) => ({ ...each, done: each.done.flat() })))
}

function joined(parts: readonly EachDatabase<Report>[]): EachDatabase<Report> {
  return {
    done: parts.flatMap((each) => each.done),
    failed: parts.flatMap((each) => each.failed),
    exitCode: Math.max(0, ...parts.map((each) => each.exitCode)),
  }
}
