import { setTimeout as pause } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import { ConfigError } from '../../config/config-error.ts'
import { CitusHaError } from '../../model/failure.ts'
import { readActivity } from '../../walk/activity.ts'
import { requireCoordinator } from '../../walk/checks.ts'
import { Clock } from '../../walk/clock.ts'
import { observe, view } from '../../walk/look.ts'
import { type Status, statusDocument, statusOf } from '../../walk/status.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { colorsFor, heightFor, type Io, plain, printJson, widthFor } from '../io.ts'
import { durationOption, groupsOption } from '../options.ts'
import { renderStatus } from '../render-status.ts'

const FORMS = ['table', 'wide', 'json'] as const

interface StatusOptions extends ClusterOptions {
  readonly json?: boolean
  readonly output?: (typeof FORMS)[number]
  readonly group?: readonly number[]
  readonly watch?: number
}

const DEFAULT_WATCH_MS = 2_000

const HELP = `
One line per node. On a terminal that is too small a healthy group takes one line, and the domain that all nodes have in common is
printed once, at the end. In a file or a pipe nothing is cut. Exit code 0 if all of it could be read and no problem was found in it:
who takes writes, who replicates, what the copies of pg_dist_node say, the schema citus_ha; else 3. What needs a closer look, citus-ha doctor checks.

Examples:
  citus-ha status --coordinator postgres://citus_ha@cn1.example/app
  citus-ha status --config citus-ha.yaml -g 1,2 -w
  citus-ha status --config citus-ha.yaml -o wide`

export function statusCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('-g, --group <n,…>', 'these groups only; repeatable', (text: string, before: number[] = []) => [
      ...before,
      ...groupsOption(text),
    ])
    .addOption(
      new Option(
        '-o, --output <form>',
        'table; wide: with kinds, upstreams, and where each kind of coordinator sends reads and writes; json',
      ).choices(FORMS),
    )
    .option('--json', 'one JSON document on stdout, as -o json')
    .addOption(
      new Option('-w, --watch [interval]', 'repeat until Ctrl-C (default interval: 2s)')
        .preset(`${DEFAULT_WATCH_MS}ms`)
        .argParser(durationOption),
    )
    .addHelpText('after', HELP)
    .action(async (options: StatusOptions) => {
      const { json, output } = options
      if (json && output !== undefined && output !== 'json')
        throw new CitusHaError('usage', `--json and --output ${output} exclude each other`)
      const form = json ? 'json' : (output ?? 'table')
      const looking = (session: Session) =>
        options.watch === undefined
          ? lookOnce(session, options, io, form)
          : lookAgain(session, options, io, form, options.watch)
      exit(await withCluster(options, io, looking, 'log', 'look'))
    })
}

/** @returns the exit code */
async function lookOnce(
  session: Session,
  options: StatusOptions,
  io: Io,
  form: (typeof FORMS)[number],
): Promise<number> {
  const { done, exitCode } = await eachDatabase(session, io, (each) => one(each, options, io))
  if (form === 'json') printJson(io, statusDocument(done))
  else for (const status of done) io.stdout.write(rendered(status, io, form))
  return Math.max(exitCode, done.every((status) => status.problems.length === 0) ? 0 : 3)
}

function rendered(status: Status, io: Io, form: 'table' | 'wide'): string {
  const { stdout, env } = io
  // What is wide is meant to be whole.
  const width = form === 'wide' ? null : widthFor(stdout, env)
  return renderStatus(status, { form, colors: colorsFor(io), width, height: heightFor(stdout, env) })
}

const CLEAR = '\u001b[H\u001b[2J\u001b[3J'

/**
 * On a terminal each look takes the place of the last one; else one stands after the other. A cluster that can't be looked at
 * may be there again the next time.
 * @returns the exit code, once nothing reads stdout any more
 * @throws what no further look would change; the signal's reason
 */
async function lookAgain(
  session: Session,
  options: StatusOptions,
  io: Io,
  form: (typeof FORMS)[number],
  intervalMs: number,
): Promise<number> {
  const { describeError } = await import('../../walk/describe-error.ts')
  const { signal, readerGone } = io
  const ends = readerGone ? AbortSignal.any([signal, readerGone]) : signal
  for (let look = 1; ; look++) {
    const said: string[] = []
    const gather = { write: (text: string) => said.push(text) }
    const stdout = { ...copyOf(io.stdout), write: gather.write, writeData: gather.write }
    const onTerminal = io.stdout.isTTY === true && form !== 'json'
    const own: Io = { ...io, stdout, ...(onTerminal && { stderr: gather }) }
    try {
      await lookOnce(session, options, own, form)
    } catch (error) {
      const { line, exitCode } = describeError(error)
      if (io.signal.aborted || exitCode < 3 || error instanceof ConfigError) throw error
      own.stderr.write(`citus-ha: ${plain(line)}\n`)
    }
    io.signal.throwIfAborted()
    const text = said.join('')
    if (form === 'json') (io.stdout.writeData ?? io.stdout.write).call(io.stdout, text)
    else if (onTerminal) io.stdout.write(`${CLEAR}${new Date().toISOString().slice(0, 19)}Z\n${text}`)
    else io.stdout.write(`${look === 1 ? '' : '\n'}${text}`)
    await pause(intervalMs, undefined, { signal: ends }).catch((error: unknown) => {
      if (signal.aborted || !readerGone?.aborted) throw error
    })
    // `citus-ha status -w | head`: that is no error.
    if (readerGone?.aborted) return 0
  }
}

/** A terminal's are properties of its prototype. */
function copyOf({ isTTY, columns, rows }: Io['stdout']) {
  return {
    ...(isTTY !== undefined && { isTTY }),
    ...(columns !== undefined && { columns }),
    ...(rows !== undefined && { rows }),
  }
}

async function one(session: Session, options: StatusOptions, io: Io): Promise<Status> {
  const { group } = options
  const { access, database } = session
  const request = { ...requestOf(session, io), mode: 'dry-run' as const, groups: group ?? null }
  const survey = await observe(access, request, new Clock())
  const coordinator = requireCoordinator(survey)
  const seen = view(survey, access, request)
  const status = statusOf(seen, await readActivity(access, coordinator, database))
  const typed = asTyped(options)
  const remarks = status.remarks.map((each) => ({ ...each, next: each.next && typed(each.next) }))
  return { ...status, remarks }
}
