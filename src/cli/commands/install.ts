import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import { proofText } from '../../apply/decision.ts'
import { codeOf, messageOf, willPass } from '../../db/sqlstate.ts'
import { badRole, SWITCHOVER_GRANTS } from '../../install/grants.ts'
import type { Prepared } from '../../install/install.ts'
import { type InstallOrder, type Step, sentence } from '../../install/plan.ts'
import { type Part, scriptOf } from '../../install/script.ts'
import { CitusHaError } from '../../model/failure.ts'
import { formatAddress } from '../../model/node.ts'
import type { Answered } from '../../model/observation.ts'
import { Clock } from '../../walk/clock.ts'
import { eachDatabase } from '../../walk/each-database.ts'
import { allowedOf, installOne, ownNodes, recordProofs } from '../../walk/install.ts'
import { installHere } from '../../walk/install-here.ts'
import { observe, type View, view } from '../../walk/look.ts'
import { nextOfRefusal } from '../../walk/next-step.ts'
import { unlistedStandbys } from '../../walk/unlisted.ts'
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
import { inDatabase, localOption, stillLines, stillTo, withLocal } from '../local.ts'
import { addLoginOptions, type Login } from '../login.ts'
import { packageVersion } from '../version.ts'

interface InstallOptions extends ClusterOptions, Login {
  readonly role: string
  readonly switchover?: boolean
  readonly dryRun?: boolean
  readonly printSql?: boolean
  readonly local?: boolean
  readonly json?: boolean
}

const HELP = `
Exit codes: 0 done, or nothing to do; 3 a group was left out (the output says why).

--local is for servers where a superuser can log in on the machine itself only. Run it on each primary in turn. Afterwards
citus-ha reconcile, as the role citus_ha, records identity and timeline history of the groups.

Examples:
  citus-ha install --coordinator postgres://postgres@cn1.example/app
  citus-ha install --config citus-ha.yaml --user postgres
  citus-ha install --config citus-ha.yaml --user postgres --dry-run
  sudo -u postgres citus-ha install --local        # on each node
  citus-ha install --config citus-ha.yaml --print-sql > citus-ha.sql   # then, on each node:
  sudo -u postgres psql -X -v ON_ERROR_STOP=1 -1 -d app -f - < citus-ha.sql`

export function installCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addLoginOptions(addClusterOptions(command))
    .addOption(roleOptionOf('the role that every other command runs as'))
    .option('--switchover', 'also grant the role what citus-ha switchover needs, and list it')
    .option('--dry-run', 'show what would be done on each node; change nothing')
    .addOption(
      new Option('--print-sql', 'print SQL that does the same, to run with psql on each node').conflicts([
        'dryRun',
        'json',
      ]),
    )
    .addOption(localOption('printSql'))
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (options: InstallOptions) => {
      if (options.local) return exit(await installLocally(options, io))
      const found = await withCluster({ ...options, login: options }, io, async (session) => {
        const done: Done[] = []
        for (const database of await databasesOf(session))
          done.push(await installDatabase({ ...session, database }, options, io))
        return done
      })
      const exitCode = found.every(({ left }) => left.length === 0) ? 0 : 3
      exit(exitCode)
      if (options.printSql)
        io.stdout.write(
          scriptOf(
            found.flatMap(({ parts }) => parts),
            packageVersion(),
          ),
        )
      if (options.json) printJson(io, { exitCode, databases: found.map(documentOf) })
    })
}

/** @param about of which role */
export function roleOptionOf(about: string): Option {
  return new Option('--role <name>', about).default('citus_ha').argParser((text: string) => {
    const why = badRole(text)
    if (why !== null) throw new InvalidArgumentError(`${why}.`)
    return text
  })
}

/** What was done in one database, or would be. */
interface Done {
  readonly database: string
  readonly parts: readonly Part[]
  /** Whether it was only looked at. */
  readonly dryRun: boolean
  /** Groups whose line was recorded. */
  readonly recorded: readonly number[]
  readonly left: readonly { group: number; summary: string; evidence: readonly string[]; next: string }[]
  readonly warnings: readonly string[]
}

function documentOf({ database, parts, dryRun, recorded, left, warnings }: Done): object {
  const nodes = parts.map(({ node, steps }) => ({
    node: formatAddress(node.address),
    group: node.citus?.localGroup ?? null,
    steps: steps.map((step) => ({
      kind: step.kind,
      summary: sentence(step, dryRun ? 'conditional' : 'past'),
    })),
  }))
  const changed = recorded.length > 0 || parts.some(({ steps }) => steps.length > 0)
  const outcome = changed ? (dryRun ? 'planned' : 'installed') : 'up to date'
  return { database, outcome, nodes, recorded, left, warnings }
}

async function installDatabase(session: Session, options: InstallOptions, io: Io): Promise<Done> {
  const request = requestOf(session, io)
  const { access, database } = session
  const dryRun = (options.dryRun || options.printSql) === true
  const say =
    options.json || options.printSql
      ? () => undefined
      : (line: string) => void io.stdout.write(`${plain(line)}\n`)
  const clock = new Clock()
  const before = view(await observe(access, request, clock), access, request)
  const nodes = ownNodes(before)
  const order: InstallOrder = {
    role: options.role,
    switchover: options.switchover ? 'grant' : 'leave',
    allowed: allowedOf(request, before.coordinator),
  }
  if (!dryRun) requireSuperusers(nodes)
  const parts: Part[] = []
  for (const node of nodes) {
    const prepared = await prepareOne(session, node, order, dryRun)
    const proofs = node === before.coordinator && dryRun ? before.plan.proofs.map(proofText) : []
    parts.push({ node, database, proofs, ...prepared })
    const where = `${formatAddress(node.address)}, database ${database}`
    for (const line of linesOf(prepared, options, dryRun)) say(`${where}: ${line}`)
  }
  const after = dryRun ? before : view(await observe(access, request, clock), access, request)
  const { proofs } = after.plan
  if (proofs.length > 0 && !dryRun) await recordProofs(access, request, after, clock)
  const recorded = proofs.map(({ group }) => group)
  if (recorded.length > 0) {
    const step = { what: `identity and timeline history of group ${recorded.join(', ')}`, done: 'recorded' }
    const where = `${formatAddress(after.coordinator.address)}, database ${database}`
    say(`${where}: ${sentence(step, dryRun ? 'conditional' : 'past')}`)
  }
  const left = leftOut(after)
  for (const { group, summary, evidence, next } of left) {
    say(`group ${group}: left out, nothing was recorded: ${summary}`)
    for (const line of evidence) say(`  ${line}`)
    say(`  next: ${asTyped(options)(next)}   # then citus-ha install again`)
  }
  const warnings = await unlistedStandbys(access, request, after)
  for (const line of warnings) say(`warning: ${line}`)
  return { database, parts, dryRun, recorded, left, warnings }
}

/** On the one server at the socket; nothing is known of the others but their rows. @returns the exit code */
async function installLocally(options: InstallOptions, io: Io): Promise<number> {
  const dryRun = options.dryRun === true
  const order = { role: options.role, switchover: options.switchover ? 'grant' : 'leave' } as const
  const { done, failed, exitCode } = await withLocal(options, io, async ({ config, access, look }) => {
    const tell = (_: string, line: string) => void io.stderr.write(`citus-ha: ${plain(line)}\n`)
    return await eachDatabase({ all: await look(), signal: io.signal, failed: tell }, async (each) => {
      const { node, database } = each
      const request = requestOf({ config, access, database }, io)
      const installing = installHere(access, each, request, order, dryRun ? 'rehearse' : 'install')
      const prepared = await inDatabase(
        database,
        installing.catch((error: unknown) => {
          throw refusedBy(formatAddress(node.address), error)
        }),
      )
      const parts = [{ node, database, proofs: [], ...prepared }]
      const others = stillTo(each)
      const warnings = node.retired ? [RETIRED] : []
      const where = `${formatAddress(node.address)}, database ${database}`
      if (!options.json)
        for (const line of [...linesOf(prepared, options, dryRun), ...stillLines(others), ...warnings])
          io.stdout.write(`${plain(`${where}: ${line}`)}\n`)
      return { ...documentOf({ database, parts, dryRun, recorded: [], left: [], warnings }), others }
    })
  })
  if (options.json) printJson(io, { exitCode, databases: [...done, ...failed] })
  return exitCode
}

const RETIRED =
  'another server has replaced this one as its group’s primary: run the same command on the machine of that one (SELECT * FROM citus_ha.retired names it)'

function leftOut(seen: View): Done['left'] {
  return seen.diagnoses
    .filter(({ standing }) => standing === 'refused')
    .map((each) => {
      const { group, summary, evidence } = each
      return { group, summary, evidence, next: nextOfRefusal(each, seen) }
    })
}

/** Before anything is changed on any of them. @throws CitusHaError */
function requireSuperusers(nodes: readonly Answered[]): void {
  const [node] = nodes.filter(({ superuser }) => !superuser)
  if (!node) return
  throw new CitusHaError(
    'configuration',
    `${formatAddress(node.address)}: install needs a superuser: citus-ha install --user postgres`,
  )
}

async function prepareOne(
  { access, database }: Session,
  node: Answered,
  order: InstallOrder,
  dryRun: boolean,
): Promise<Prepared> {
  try {
    return await installOne(access, database, node, order, dryRun ? 'rehearse' : 'install')
  } catch (error) {
    throw refusedBy(formatAddress(node.address), error)
  }
}

function linesOf({ steps }: Prepared, { role, switchover }: InstallOptions, dryRun: boolean): string[] {
  const told = steps.map((step: Step) => sentence(step, dryRun ? 'conditional' : 'past'))
  return [
    ...(told.length > 0 ? told : ['up to date']),
    ...(switchover && !dryRun ? SWITCHOVER_GRANTS.map((grant) => `${role} may ${grant}`) : []),
  ]
}

/** What a server says against it, such as an event trigger of somebody's that refuses DDL: which server, and its code. */
function refusedBy(address: string, error: unknown): unknown {
  const code = codeOf(error)
  if (error instanceof CitusHaError || code === undefined) return error
  const why = `${address}: the schema citus_ha was not installed there: ${messageOf(error)} (${code})`
  return new CitusHaError(willPass(code) ? 'blocked' : 'configuration', why, { cause: error })
}
