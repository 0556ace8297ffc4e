import type { Command } from 'commander'
import { CitusHaError } from '../../model/failure.ts'
import type { HostPort } from '../../model/node.ts'
import { exitCodeOfSwitchover } from '../../model/switchover.ts'
import type { SwitchoverOrder } from '../../switchover/order.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  databasesOf,
  requestOf,
  withCluster,
} from '../cluster.ts'
import { type Io, plain, printJson } from '../io.ts'
import { addressOption, durationOption, durationWithDefault, groupsOption } from '../options.ts'
import { renderSwitchover } from '../render-switchover.ts'

interface SwitchoverOptions extends ClusterOptions {
  readonly group?: readonly number[]
  readonly node?: string
  readonly to?: HostPort
  readonly promoteCommand?: string
  readonly demoteCommand?: string
  readonly demoteFirst?: boolean
  readonly undoCommand?: string
  readonly totalLimit: number
  readonly allowUnreachable?: boolean
  readonly allowSlotLoss?: boolean
  readonly forceAfter?: number
  readonly timeout?: number
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

const HELP = `
Commands are run by /bin/sh, once per group, with CITUS_HA_GROUP, CITUS_HA_OLD_HOST, CITUS_HA_OLD_PORT, CITUS_HA_NEW_HOST
and CITUS_HA_NEW_PORT in their environment. The role needs what citus-ha install --switchover grants.

Examples:
  citus-ha switchover --config citus-ha.yaml --group 1 --dry-run
  citus-ha switchover --config citus-ha.yaml --group 1 --to worker-1b.example:5432 --yes
  citus-ha switchover --config citus-ha.yaml --node worker-1a.example --demote-command 'ssh $CITUS_HA_OLD_HOST pg_ctl stop -m fast -D /data'`

export function switchoverCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--group <n,…>', 'the group, or several at once; 0 is the coordinator', groupsOption)
    .option('--node <host>', 'every group whose primary is on this machine')
    .option('--to <host:port>', 'the new primary (default: the standby with the least lag)', addressOption)
    .option('--promote-command <command>', 'a command that promotes (default: pg_promote())')
    .option(
      '--demote-command <command>',
      'a command that stops the old primary, once every copy is verified (default: it is left running, read-only)',
    )
    .option('--demote-first', 'stop the old primary before the promotion: reads fail meanwhile')
    .option(
      '--undo-command <command>',
      'a command that is run if the switchover fails, for what only a command can undo',
    )
    .addOption(durationWithDefault('--total-limit <duration>', 'hold writes no longer than this', 10_000))
    .option(
      '--timeout <duration>',
      'keep trying this long while locks block it (default: apply.deadline, 30s)',
      durationOption,
    )
    .option(
      '--force-after <duration>',
      'terminate blocking sessions after this time (default: apply.force, never)',
      durationOption,
    )
    .option('--allow-unreachable', 'continue although a copy cannot be fenced; the output names it')
    .option(
      '--allow-slot-loss',
      'continue although the new primary lacks a logical replication slot of the old one',
    )
    .option('--dry-run', 'check, and show the plan; change nothing, lock nothing')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (options: SwitchoverOptions) => {
      const order = orderOf(options, io)
      // Loaded here: no other command should wait for it.
      const { switchover } = await import('../../switchover/switchover.ts')
      const found = await withCluster(
        options,
        io,
        async (session) => {
          const databases = await databasesOf(session)
          const requests = databases.map((database) => ({
            ...requestOf({ ...session, database }, io),
            ...(options.timeout !== undefined && { deadlineMs: options.timeout }),
            ...(options.forceAfter !== undefined && { forceAfterMs: options.forceAfter }),
          }))
          return await switchover(session.access, requests, {
            ...order,
            maxLag: session.config.routing.maxLag,
          })
        },
        'person',
      )
      const report = { ...found, refusals: found.refusals.map(asTyped(options)) }
      exit(exitCodeOfSwitchover(report))
      if (options.json) printJson(io, { exitCode: exitCodeOfSwitchover(report), ...report })
      else io.stdout.write(renderSwitchover(report, io))
    })
}

/** @throws CitusHaError for flags that do not go together */
function orderOf(options: SwitchoverOptions, io: Io): Omit<SwitchoverOrder, 'maxLag'> {
  const { group, node, demoteFirst, demoteCommand, dryRun, yes } = options
  if (group === undefined && node === undefined)
    throw new CitusHaError('usage', 'switchover needs --group N or --node HOST')
  if (group !== undefined && node !== undefined)
    throw new CitusHaError('usage', '--group and --node exclude each other')
  if (demoteFirst && demoteCommand === undefined)
    throw new CitusHaError('usage', '--demote-first needs --demote-command')
  const { ask } = io
  if (!(yes || dryRun || ask))
    throw new CitusHaError('usage', 'there is no terminal to ask for confirmation: give --yes')
  const confirm = async (lines: readonly string[]) => {
    if (yes || !ask) return true
    io.stderr.write(`${lines.map(plain).join('\n')}\n`)
    return await ask('Continue? [y/N] ')
  }
  return {
    groups: group ?? [],
    host: node ?? null,
    to: options.to ?? null,
    promoteCommand: options.promoteCommand ?? null,
    demoteCommand: demoteCommand ?? null,
    demote: demoteFirst ? 'first' : 'last',
    undoCommand: options.undoCommand ?? null,
    totalLimitMs: options.totalLimit,
    unreachable: options.allowUnreachable ? 'allow' : 'refuse',
    slotLoss: options.allowSlotLoss ? 'allow' : 'refuse',
    mode: dryRun ? 'dry-run' : 'apply',
    confirm,
  }
}
