import type { Command } from 'commander'
import { codeOf, messageOf, willPass } from '../../db/sqlstate.ts'
import { SWITCHOVER_GRANTS } from '../../install/install.ts'
import { CitusHaError } from '../../model/failure.ts'
import { formatAddress } from '../../model/node.ts'
import { Clock } from '../../walk/clock.ts'
import { allowedOf, installOne, ownNodes, recordProofs } from '../../walk/install.ts'
import { observe, view } from '../../walk/look.ts'
import { unlistedStandbys } from '../../walk/unlisted.ts'
import {
  addClusterOptions,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, plain } from '../io.ts'

interface InstallOptions extends ClusterOptions {
  readonly role: string
  readonly switchover?: boolean
}

export function installCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--role <name>', 'the role that every other command runs as', 'citus_ha')
    .option('--switchover', 'grant the role what citus-ha switchover needs as well, and say what')
    .addHelpText('after', '\nExample:\n  citus-ha install --coordinator postgres://postgres@cn1.example/app')
    .action(async (options: InstallOptions) => {
      const isWhole = await withCluster(options, io, async (session) => {
        const whole: boolean[] = []
        for (const database of await databasesOf(session))
          whole.push(await installDatabase({ ...session, database }, options, io))
        return whole.every(Boolean)
      })
      exit(isWhole ? 0 : 3)
    })
}

/** @returns whether no group was left out */
async function installDatabase(
  session: Session,
  { role, switchover }: InstallOptions,
  io: Io,
): Promise<boolean> {
  const request = requestOf(session, io)
  const { access, database } = session
  const clock = new Clock()
  const before = view(await observe(access, request, clock), access, request)
  const allowed = allowedOf(request, before)
  for (const node of ownNodes(before)) {
    const address = formatAddress(node.address)
    if (!node.superuser) {
      throw new CitusHaError(
        'configuration',
        `${address}: installing takes a superuser; connect as one, for example postgres`,
      )
    }
    const { applied, mended } = await installOne(access, database, node, {
      role,
      switchover: switchover ? 'grant' : 'leave',
      allowed,
    }).catch((error: unknown) => {
      throw refusedBy(address, error)
    })
    const what =
      applied.length > 0
        ? `migrations ${applied.join(', ')}`
        : mended.length > 0
          ? `functions made anew: ${mended.join(', ')}`
          : 'up to date'
    io.stdout.write(`${address}, database ${database}: ${what}\n`)
    for (const grant of switchover ? SWITCHOVER_GRANTS : [])
      io.stdout.write(`${address}, database ${database}: ${role} may ${grant}\n`)
  }
  const after = view(await observe(access, request, clock), access, request)
  if (after.plan.proofs.length > 0) await recordProofs(access, request, after, clock)
  const left = after.diagnoses.filter((each) => each.standing === 'refused')
  for (const { group, summary, evidence } of left) {
    const lines = [`group ${group}: left out, nothing is recorded of it: ${summary}`, ...evidence]
    io.stdout.write(lines.map((line, n) => `${n === 0 ? '' : '  '}${plain(line)}\n`).join(''))
  }
  for (const line of await unlistedStandbys(access, request, after))
    io.stdout.write(`warning: ${plain(line)}\n`)
  return left.length === 0
}

/** What a server says against it, such as an event trigger of somebody's that refuses DDL: which server, and its code. */
function refusedBy(address: string, error: unknown): unknown {
  const code = codeOf(error)
  if (error instanceof CitusHaError || code === undefined) return error
  const why = `${address}: the schema citus_ha was not installed there: ${messageOf(error)} (${code})`
  return new CitusHaError(willPass(code) ? 'blocked' : 'configuration', why, { cause: error })
}
