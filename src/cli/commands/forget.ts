import type { Command } from 'commander'
import { CitusHaError } from '../../model/failure.ts'
import { formatAddress, type HostPort } from '../../model/node.ts'
import { areProved, type CopyReport, everyCopy } from '../../model/outcome.ts'
import { Clock } from '../../walk/clock.ts'
import { describeError } from '../../walk/describe-error.ts'
import { type ForgetOrder, type Forgettable, findForgettable, forget } from '../../walk/forget.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, printJson } from '../io.ts'
import { addressOption, groupOption } from '../options.ts'

interface ForgetOptions extends ClusterOptions {
  readonly group?: number
  readonly dryRun?: boolean
  readonly force?: boolean
  readonly json?: boolean
}

const HELP = `
Removes the row of a secondary, never of a primary: first on the coordinator, then Citus’s metadata sync removes it on the other
nodes, and the command waits for that. Without --force it keeps the last secondary from which an expand coordinator can read in
the group (exit code 3).

Examples:
  citus-ha forget worker-1c.example:5432 --config citus-ha.yaml --dry-run
  citus-ha forget worker-1c.example:5432 --config citus-ha.yaml`

export function forgetCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .argument('<host:port>', 'as pg_dist_node has it', addressOption)
    .option('--group <n>', 'only if it belongs to this group', groupOption)
    .option('--force', 'also remove the last secondary that reads of its group can use')
    .option('--dry-run', 'show what would be done; change nothing')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (address: HostPort, options: ForgetOptions) => {
      const order = { address, group: options.group ?? null }
      const lines = await withCluster(options, io, (session) => everywhere(session, order, options, io))
      exit(Math.max(...lines.map(exitCodeOf)))
      if (options.json) printJson(io, { exitCode: Math.max(...lines.map(exitCodeOf)), databases: lines })
      else for (const line of lines) io.stdout.write(render(line, asTyped(options)))
    })
}

interface Line {
  readonly database: string
  readonly address: string
  readonly group: number
  readonly nodeid: number
  readonly cluster: string
  readonly outcome: 'forgotten' | 'planned' | 'refused' | 'failed' | 'unproved'
  /** Who would have nobody left to read from. */
  readonly bereft: readonly string[]
  readonly copies: readonly CopyReport[]
  readonly warnings: readonly string[]
}

/** In every database that has the row or, where one of them does not allow it, in none. */
async function everywhere(
  session: Session,
  order: ForgetOrder,
  options: ForgetOptions,
  io: Io,
): Promise<Line[]> {
  const found: Forgettable[] = []
  const databases = await databasesOf(session)
  for (const database of databases) {
    const request = requestOf({ ...session, database }, io)
    const each = await findForgettable(session.access, request, order, new Clock(request.deadlineMs))
    if (each) found.push(each)
  }
  if (found.length === 0) {
    const where = databases.join(', ')
    throw new CitusHaError(
      'usage',
      `${formatAddress(order.address)} is not in pg_dist_node (${where}); the nodes that are: citus-ha status`,
    )
  }
  if (found.some(({ bereft }) => bereft.length > 0) && !options.force)
    return found.map((each) => lineOf(each, 'refused', []))
  if (options.dryRun) return found.map((each) => lineOf(each, 'planned', []))
  const done: Line[] = []
  for (const each of found) {
    const line = await forgetOne(session, each, order).catch((error: unknown) => {
      // What was done in the others is told all the same.
      if (found.length === 1 || io.signal.aborted) throw error
      return { ...lineOf(each, 'failed', []), warnings: [describeError(error).line] }
    })
    done.push(line)
  }
  return done
}

async function forgetOne(session: Session, each: Forgettable, order: ForgetOrder): Promise<Line> {
  const { copies } = await forget(session.access, each, order, new Clock(each.request.deadlineMs))
  return lineOf(each, areProved(copies) ? 'forgotten' : 'unproved', copies)
}

function lineOf(
  { request, row, bereft, warnings }: Forgettable,
  outcome: Line['outcome'],
  copies: Line['copies'],
): Line {
  const { nodeid, group, cluster, address } = row
  const { database } = request
  return {
    database,
    address: formatAddress(address),
    group,
    nodeid,
    cluster,
    outcome,
    bereft,
    copies,
    warnings,
  }
}

function exitCodeOf({ outcome }: Line): number {
  switch (outcome) {
    case 'forgotten':
    case 'planned':
      return 0
    case 'refused':
      return 3
    case 'failed':
      return 4
    case 'unproved':
      return 5
  }
}

const SAYS: Readonly<Record<Line['outcome'], string>> = {
  forgotten: 'forgotten on',
  planned: 'would be forgotten; nothing was changed',
  refused: 'not forgotten: reads would have no secondary left in its group',
  failed: 'not forgotten',
  unproved: 'removed on the coordinator, but not yet verified on every node',
}

function render(
  { database, address, group, nodeid, outcome, bereft, copies, warnings }: Line,
  typed: (text: string) => string,
): string {
  const open = copies.filter(({ state }) => state !== 'right')
  const lines = [
    `${database}: ${address} (group ${group}, node ${nodeid}): ${SAYS[outcome]}${outcome === 'forgotten' ? ` ${everyCopy(copies)}` : ''}`,
    ...bereft.map((name) => `  reads of ${name} would fail`),
    ...open.map(
      ({ node, role, state, detail }) => `  ${node} (${role}): ${state}${detail ? `: ${detail}` : ''}`,
    ),
    ...warnings.map((warning) => `  warning: ${warning}`),
    ...(outcome === 'refused'
      ? [`  next: ${typed(`citus-ha forget ${address} --force`)}   # removes it nevertheless`]
      : []),
  ]
  return `${lines.join('\n')}\n`
}
