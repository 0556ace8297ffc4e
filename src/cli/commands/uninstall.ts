import type { Command } from 'commander'
import { sentence } from '../../install/plan.ts'
import type { UninstallOrder } from '../../install/uninstall.ts'
import { CitusHaError } from '../../model/failure.ts'
import { formatAddress } from '../../model/node.ts'
import { shellWord } from '../../model/shell.ts'
import type { Access } from '../../walk/access.ts'
import { Clock } from '../../walk/clock.ts'
import {
  lookToUninstall,
  lookToUninstallHere,
  type Stays,
  type Uninstallation,
  type Uninstalled,
  uninstallEverywhere,
} from '../../walk/uninstall.ts'
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
import { inDatabase, type LocalSession, localOption, stillLines, stillTo, withLocal } from '../local.ts'
import { addLoginOptions, type Login } from '../login.ts'
import { roleOptionOf } from './install.ts'

interface UninstallOptions extends ClusterOptions, Login {
  readonly role: string
  readonly keepRole?: boolean
  readonly local?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

const HELP = `
Refused while a watcher runs, a change or a switchover is running or unresolved, a fence is held, or only the schema has the
original of a row. It removes nothing that citus-ha did not make: no other schema of that name, no role that owns objects. It
works on the databases that the file names (databases:), or else on all that have Citus, not only on that of the URL: --dry-run
lists them.
--local is for servers where a superuser can log in on the machine itself only: run it on each primary in turn, on the coordinator last.
Exit codes: 0 removed, or nothing to remove; 3 refused; 4 not confirmed, or blocked: nothing was removed; 5 something was not
removed (the output names it with its node): run the same command again.

Examples:
  citus-ha uninstall --config citus-ha.yaml --user postgres --dry-run
  citus-ha uninstall --config citus-ha.yaml --user postgres`

export function uninstallCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addLoginOptions(addClusterOptions(command))
    .addOption(roleOptionOf('the role that was installed, to be removed as well'))
    .option('--keep-role', 'keep the role, but revoke what install granted it')
    .option('--dry-run', 'show what would be removed; change nothing')
    .option('--yes', 'do not ask')
    .addOption(localOption())
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (options: UninstallOptions) => {
      if (!(options.yes || options.dryRun || io.ask))
        throw new CitusHaError('usage', 'there is no terminal to ask for confirmation: give --yes')
      const result = options.local
        ? await withLocal(options, io, (session) => here(session, options, io))
        : await withCluster(
            { ...options, login: options },
            io,
            (session) => everywhere(session, options, io),
            'person',
          )
      const exitCode = exitCodeOf(result)
      exit(exitCode)
      if (options.json) printJson(io, { exitCode, ...documentOf(withTyped(result, options)) })
      else io.stdout.write(render(result, options))
    })
}

interface Result extends Uninstalled {
  readonly outcome: 'removed' | 'planned' | 'nothing to remove' | 'refused' | 'not confirmed'
  readonly refusals: readonly string[]
  /** Where the same is to be run still, of one that was done on one server. */
  readonly others?: readonly string[]
}

function exitCodeOf({ outcome, done, stays, failure }: Result): number {
  if (outcome === 'refused') return 3
  if (outcome === 'not confirmed' || (failure !== null && done.length === 0)) return 4
  if (outcome === 'planned') return 0
  return failure !== null || stays.length > 0 ? 5 : 0
}

async function everywhere(session: Session, options: UninstallOptions, io: Io): Promise<Result> {
  const databases = await databasesOf(session)
  const order = orderOf(options, databases)
  const look = async (ownPids: readonly number[] = []): Promise<Uninstallation[]> => {
    const found: Uninstallation[] = []
    for (const database of databases) {
      const request = requestOf({ ...session, database }, io)
      const clock = new Clock(request.deadlineMs)
      found.push(await lookToUninstall(session.access, request, order, clock, ownPids))
    }
    return found
  }
  return await removed(session.access, order, look, options, io)
}

/** On the one server at the socket. */
async function here(
  { config, access, look: lookHere }: LocalSession,
  options: UninstallOptions,
  io: Io,
): Promise<Result> {
  const first = await lookHere()
  const order = orderOf(
    options,
    first.map(({ database }) => database),
  )
  const look = async (ownPids: readonly number[] = []): Promise<Uninstallation[]> => {
    const found: Uninstallation[] = []
    for (const { node, database } of await lookHere())
      found.push(
        await inDatabase(
          database,
          lookToUninstallHere(access, requestOf({ config, access, database }, io), node, order, ownPids),
        ),
      )
    return found
  }
  const others = [...new Set(first.flatMap(stillTo))]
  return { ...(await removed(access, order, look, options, io)), others }
}

function orderOf({ role, keepRole }: UninstallOptions, databases: readonly string[]): UninstallOrder {
  return { role, keepRole: keepRole === true, databases }
}

async function removed(
  access: Access,
  order: UninstallOrder,
  look: (ownPids?: readonly number[]) => Promise<Uninstallation[]>,
  options: UninstallOptions,
  io: Io,
): Promise<Result> {
  const found = await look()
  const planned = plannedOf(found)
  const refusals = found.flatMap((each) => each.refusals)
  const stays = found.flatMap((each) => each.stays)
  const outcome = (word: Result['outcome']): Result => ({
    outcome: word,
    done: planned,
    stays,
    failure: null,
    refusals,
  })
  if (refusals.length > 0) return { ...outcome('refused'), done: [] }
  if (planned.length === 0) return outcome('nothing to remove')
  if (options.dryRun) return outcome('planned')
  if (!options.yes && !(await isAgreed(outcome('planned'), options, io)))
    return { ...outcome('not confirmed'), done: [] }
  const done = await uninstallEverywhere(access, found, order, look)
  return { outcome: 'removed', refusals, ...done }
}

/** Roles once each server, as they are removed. */
function plannedOf(found: readonly Uninstallation[]): Uninstalled['done'] {
  const seen = new Set<string>()
  const inDatabases = found.flatMap(({ request: { database }, targets }) =>
    targets.flatMap(({ node, removal }) =>
      removal.steps.map((step) => ({ node: formatAddress(node.address), database, step })),
    ),
  )
  const roles = found.flatMap(({ request: { database }, targets }) =>
    targets.flatMap(({ node, removal }) => {
      if (seen.has(node.instance)) return []
      seen.add(node.instance)
      return removal.roleSteps.map((step) => ({ node: formatAddress(node.address), database, step }))
    }),
  )
  return [...inDatabases, ...roles]
}

async function isAgreed(planned: Result, options: UninstallOptions, io: Io): Promise<boolean> {
  io.stderr.write(render(planned, options, 'this would be removed:'))
  return (await io.ask?.(`Remove citus-ha from this ${options.local ? 'node' : 'cluster'}? [y/N] `)) ?? false
}

function documentOf({ outcome, done, stays, failure, refusals, others }: Result): object {
  const steps = done.map(({ node, database, step }) => ({
    node,
    database,
    kind: step.kind,
    summary: sentence(step, outcome === 'removed' ? 'past' : 'conditional'),
  }))
  return { outcome, steps, stays, failure, refusals, ...(others && { others }) }
}

const SAYS: Readonly<Record<Result['outcome'], string | null>> = {
  removed: null,
  planned: 'dry run: this would be removed; nothing was changed',
  'nothing to remove': 'there is nothing to remove',
  refused: 'refused; nothing was changed',
  'not confirmed': 'not confirmed; nothing was changed',
}

/** Commands in a text as the person typed this one: with the cluster's options, and as the same superuser. */
function typedAs(options: UninstallOptions): (text: string) => string {
  const typed = asTyped(options)
  const login = [
    ...(options.local ? ['--local'] : []),
    ...(options.user === undefined ? [] : [`--user ${shellWord(options.user)}`]),
  ]
  const added = login.map((each) => ` ${each}`).join('')
  return (text) => typed(text.replace(/\bcitus-ha uninstall\b(?! --user)/g, (found) => `${found}${added}`))
}

function withTyped(result: Result, options: UninstallOptions): Result {
  const typed = typedAs(options)
  return {
    ...result,
    stays: result.stays.map((each) => ({ ...each, what: typed(each.what) })),
    refusals: result.refusals.map(typed),
  }
}

/** @param said instead of what the outcome says */
function render(result: Result, options: UninstallOptions, said = SAYS[result.outcome]): string {
  const { outcome, done, stays, failure, refusals, others = [] } = withTyped(result, options)
  const when = outcome === 'removed' ? 'past' : 'conditional'
  const lines = [
    ...(said === null ? [] : [said]),
    ...done.map(({ node, database, step }) => `${node}, database ${database}: ${sentence(step, when)}`),
    ...(outcome === 'refused'
      ? [
          ...refusals,
          `next: ${typedAs(options)('citus-ha uninstall --dry-run')}   # again, once none of these is left`,
        ]
      : stays.map(staysLine)),
    ...stillLines(others),
    ...(failure === null ? [] : [`not completed: ${failure}; run the same command again`]),
  ]
  return lines.map((line) => `${plain(line)}\n`).join('')
}

function staysLine({ node, database, what }: Stays): string {
  return `stays: ${node}, database ${database}: ${what}`
}
