import type { Command } from 'commander'
import { CitusHaError } from '../../model/failure.ts'
import { formatAddress } from '../../model/node.ts'
import type { Relearning } from '../../plan/relearn.ts'
import { Clock } from '../../walk/clock.ts'
import { lookToRelearn, relearn } from '../../walk/relearn.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, plain, printJson } from '../io.ts'
import { addLoginOptions, type Login } from '../login.ts'

interface RelearnOptions extends ClusterOptions, Login {
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

const HELP = `
For a cluster whose servers are the right ones but not those on record: after pg_upgrade, a restore of the whole cluster, or in a
clone of it. The records of the old servers are replaced, so a server that lacks WAL of the old ones is no longer refused.
Exit codes: 0 recorded, or nothing to record; 3 refused (the output says why); 4 a node blocked it.

Examples:
  citus-ha relearn --config citus-ha.yaml --user postgres --dry-run
  citus-ha relearn --config citus-ha.yaml --user postgres`

export function relearnCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addLoginOptions(addClusterOptions(command))
    .option('--dry-run', 'show what would be recorded; change nothing')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (options: RelearnOptions) => {
      if (!(options.yes || options.dryRun || io.ask))
        throw new CitusHaError('usage', 'there is no terminal to ask for confirmation: give --yes')
      const lines = await withCluster(
        { ...options, login: options },
        io,
        (session) => everywhere(session, options, io),
        'person',
      )
      const exitCode = Math.max(...lines.map(({ outcome }) => EXIT_CODES[outcome]))
      exit(exitCode)
      if (options.json) printJson(io, { exitCode, databases: lines })
      else for (const line of lines) io.stdout.write(render(line, asTyped(options)))
    })
}

interface Line {
  readonly database: string
  readonly outcome: 'learnt' | 'planned' | 'nothing to learn' | 'refused' | 'not confirmed'
  readonly nodes: readonly string[]
  readonly changes: readonly string[]
  readonly refusals: readonly string[]
}

const EXIT_CODES: Readonly<Record<Line['outcome'], 0 | 3 | 4>> = {
  learnt: 0,
  planned: 0,
  'nothing to learn': 0,
  refused: 3,
  'not confirmed': 4,
}

/** In every database, or where one of them speaks against it, in none. */
async function everywhere(session: Session, options: RelearnOptions, io: Io): Promise<Line[]> {
  const found: (readonly [string, Relearning])[] = []
  for (const database of await databasesOf(session)) {
    const request = requestOf({ ...session, database }, io)
    found.push([database, await lookToRelearn(session.access, request, new Clock(request.deadlineMs))])
  }
  const all = (outcome: Line['outcome']) => found.map(([name, each]) => lineOf(name, outcome, each))
  if (found.some(([, { refusals }]) => refusals.length > 0)) return all('refused')
  if (found.every(([, { changes }]) => changes.length === 0)) return all('nothing to learn')
  if (options.dryRun) return all('planned')
  if (!options.yes && !(await isAgreed(found, io))) return all('not confirmed')
  for (const [database, each] of found) {
    const request = requestOf({ ...session, database }, io)
    await relearn(session.access, request, each, new Clock(request.deadlineMs))
  }
  return all('learnt')
}

async function isAgreed(found: readonly (readonly [string, Relearning])[], io: Io): Promise<boolean> {
  const lines = found.flatMap(([database, { changes }]) => changes.map((change) => `${database}: ${change}`))
  io.stderr.write(`${lines.map(plain).join('\n')}\n`)
  const question = 'Record these servers as the cluster from now on? [y/N] '
  return (await io.ask?.(question)) ?? false
}

function lineOf(database: string, outcome: Line['outcome'], { nodes, changes, refusals }: Relearning): Line {
  return { database, outcome, nodes: nodes.map(({ address }) => formatAddress(address)), changes, refusals }
}

const SAYS: Readonly<Record<Line['outcome'], string>> = {
  learnt: 'recorded on',
  planned: 'dry run: would be recorded, nothing was changed, on',
  'nothing to learn': 'every server is as on record; nothing was changed',
  refused: 'refused; nothing was changed',
  'not confirmed': 'not confirmed; nothing was changed',
}

function render(
  { database, outcome, nodes, changes, refusals }: Line,
  typed: (text: string) => string,
): string {
  const where = outcome === 'learnt' || outcome === 'planned' ? ` ${nodes.join(', ')}` : ''
  const told = [...changes, ...refusals.map(typed)].map((line) => `  ${plain(line)}`)
  return `${[`${database}: ${SAYS[outcome]}${where}`, ...told].join('\n')}\n`
}
