import type { Command } from 'commander'
import { z } from 'zod'
import { describeBlocker } from '../../apply/blockers.ts'
import type { Blocker } from '../../model/blocker.ts'
import { CitusHaError } from '../../model/failure.ts'
import { callWatcher } from '../call-watcher.ts'
import { addClusterOptions, type ClusterOptions, loadCluster, tellOrigin } from '../cluster.ts'
import { type Io, printJson } from '../io.ts'
import { durationWithDefault, groupOption } from '../options.ts'

interface ReleaseOptions extends ClusterOptions {
  readonly group: number
  readonly database?: string
  readonly json?: boolean
}

interface FenceOptions extends ReleaseOptions {
  readonly ttl: number
}

const FENCE_HELP = `
For an HA tool with a hook that runs before it stops the primary or promotes. Writes to the group are held on every node; reads
continue. The running watch holds the fence (control: in the configuration), so this command returns at once. The change that
follows uses the fence. The fence ends with that change, with citus-ha release, or when its time is over. Run the command again
to hold it longer: the time starts again.

Examples:
  citus-ha fence --config citus-ha.yaml --group 1 --ttl 30s
  citus-ha release --config citus-ha.yaml --group 1`

export function fenceCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .requiredOption('--group <n>', 'the group', groupOption)
    .addOption(durationWithDefault('--ttl <duration>', 'the fence ends by itself after this time', 30_000))
    .option('--database <name>', 'in this database only')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', FENCE_HELP)
    .action(async (options: FenceOptions) => {
      const { group, ttl } = options
      const { exitCode, document } = await order(options, io, `/v1/groups/${group}/fence`, {
        ttl: `${ttl}ms`,
      })
      exit(exitCode)
      if (options.json) printJson(io, document)
      else io.stdout.write(fenceLines(fenceAnswer.parse(document)).join(''))
    })
}

export function releaseCommand(command: Command, io: Io): void {
  addClusterOptions(command)
    .requiredOption('--group <n>', 'the group', groupOption)
    .option('--database <name>', 'in this database only')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', FENCE_HELP)
    .action(async (options: ReleaseOptions) => {
      const { document } = await order(options, io, `/v1/groups/${options.group}/release`, {})
      if (options.json) printJson(io, document)
      else io.stdout.write(releaseLines(releaseAnswer.parse(document)).join(''))
    })
}

const answer = z.looseObject({ exitCode: z.number().int() })
const failure = z.looseObject({ error: z.string() })

/** A fence may wait for its locks as long as a change may. */
const MARGIN_MS = 10_000

/** @throws CitusHaError where no watcher answers, or it does not take the order; Error where it is interrupted */
async function order(
  options: ReleaseOptions,
  io: Io,
  path: string,
  body: object,
): Promise<{ readonly exitCode: number; readonly document: unknown }> {
  const loaded = await loadCluster(options, io)
  tellOrigin(loaded, io)
  const { config } = loaded
  const timeoutMs = config.apply.deadline + MARGIN_MS
  const asked = options.database === undefined ? body : { ...body, database: options.database }
  const given = await callWatcher(io, config, { method: 'POST', path, body: asked, timeoutMs })
  // What it was asked for may be under way there.
  if (given.kind === 'unavailable' && io.signal.aborted)
    throw new Error('interrupted, but the watcher may still carry it out. Run: citus-ha status')
  if (given.kind === 'unavailable')
    throw new CitusHaError(
      'blocked',
      `a fence needs a running "citus-ha watch" with a "control" section, and none answers: ${given.why}`,
    )
  if (given.status === 200) return { exitCode: answer.parse(given.body).exitCode, document: given.body }
  const told = failure.safeParse(given.body).data?.error ?? `HTTP status ${given.status}`
  throw new CitusHaError(given.status >= 500 ? 'blocked' : 'configuration', `the watcher refused it: ${told}`)
}

const fenceAnswer = z.looseObject({
  databases: z.array(
    z.looseObject({
      outcome: z.enum(['fenced', 'renewed', 'blocked']),
      database: z.string(),
      groups: z.array(z.number()),
      until: z.string().nullable(),
      fenced: z.array(z.string()),
      warnings: z.array(z.string()),
      blockers: z.array(z.unknown()),
      ended: z.array(z.unknown()),
      durationMs: z.number(),
    }),
  ),
})

function fenceLines({ databases }: z.output<typeof fenceAnswer>): string[] {
  return databases.flatMap(({ outcome, database, groups, until, fenced, durationMs, ...rest }) => {
    const name = `group ${groups.join(', ')} in ${database}`
    const head =
      outcome === 'blocked'
        ? `${name}: blocked: no writes are held`
        : `${name}: ${outcome} until ${until}, on ${fenced.join(', ')} (${durationMs} ms)`
    return [
      `${head}\n`,
      ...(rest.blockers as Blocker[]).map((each) => `  blocked by: ${describeBlocker(each)}\n`),
      ...(rest.ended as Blocker[]).map((each) => `  terminated: ${describeBlocker(each)}\n`),
      ...rest.warnings.map((warning) => `  warning: ${warning}\n`),
    ]
  })
}

const releaseAnswer = z.looseObject({
  databases: z.array(
    z.looseObject({
      database: z.string(),
      group: z.number(),
      released: z.boolean(),
      heldMs: z.number().nullable(),
    }),
  ),
})

function releaseLines({ databases }: z.output<typeof releaseAnswer>): string[] {
  return databases.map(({ database, group, released, heldMs }) => {
    const what = released ? `released after ${heldMs} ms` : 'no fence was held'
    return `group ${group} in ${database}: ${what}\n`
  })
}
