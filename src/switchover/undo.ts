import { saidOf } from '../db/named.ts'
import { messageOf } from '../db/sqlstate.ts'
import type { Intent } from '../model/intent.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { inPlace } from './beside.ts'
import type { Move } from './check.ts'
import { runCommand } from './command.ts'
import type { Side } from './side.ts'

const COMMAND_MS = 60_000

export interface Undone {
  /** What is left to be done, a line each. */
  readonly left: readonly string[]
  /** Whether something is promoted after all, or may be: then it can only go forward. */
  readonly goesOn: boolean
  /** Of these it is not known. */
  readonly unknown: readonly Side[]
}

/** What has been done so far, and what undoes it. */
export interface Undoable {
  /** What this run is about may be written down: before that there is nothing of it to undo. */
  readonly intended: boolean
  /** Old primaries may be read-only by now. */
  readonly quiescing: boolean
  /** That a promotion is asked for may be written down: whoever reads so may ask for it. */
  readonly announced: boolean
  /** The old primaries were stopped by a command, or may have been. */
  readonly stopped: boolean
  /** A command of whoever ordered this has begun. */
  readonly commanded: boolean
  intend(phase: Intent['phase'], sides: readonly Side[]): Promise<void>
  forget(groups: readonly number[]): Promise<void>
  /** Who has been promoted beside an old primary; null: no server. */
  promotedBeside(move: Move): Promise<HostPort | null>
  /** Why an old primary that was stopped is not to take writes again; null: it may. */
  whyNotOpened(move: Move): Promise<string | null>
}

/** One in whose place another is, or may be: it is left as it is. */
class Replaced extends Error {}

/**
 * Old primaries as they were, and the record of it gone; but for those in whose place another is promoted, or may be.
 * Never throws.
 * @param undoCommand what only a command can undo; run for each
 */
export async function undoSides(
  stage: Undoable,
  sides: readonly Side[],
  undoCommand: string | null,
): Promise<Undone> {
  // Nothing was done: what is to be seen, and is written down of these groups, is another run's.
  if (!stage.intended) return { left: [], goesOn: false, unknown: [] }
  // An old primary that takes writes still is what it was, whatever others have promoted beside it.
  const states = await Promise.all(sides.map((side) => (stage.quiescing ? stateOf(side) : 'standby')))
  const [back, promoted, unknown] = (['standby', 'promoted', 'not known'] as const).map((state) =>
    sides.filter((_, n) => states[n] === state),
  ) as [Side[], Side[], Side[]]
  // Whoever finds it half undone is to undo the rest, whatever had been written down before.
  if (back.length > 0) {
    const failed = await stage.intend('quiescing', back).then(
      () => null,
      (error: unknown) => messageOf(error),
    )
    // The record says that it goes forward, or may say so, and who has read that goes on: then the old primary must not take writes.
    if (failed !== null && stage.announced) {
      const open = [...unknown, ...back]
      const why = `nothing was undone, because that could not be recorded: ${failed}`
      return {
        left: [why, ...promoted.map(describePromoted), ...open.map(describeUnknown)],
        goesOn: true,
        unknown: open,
      }
    }
  }
  const forward = [...promoted, ...unknown]
  if (forward.length > 0) await stage.intend('promoting', forward).catch(() => undefined)
  const left = [...promoted.map(describePromoted), ...unknown.map(describeUnknown)]
  return {
    left: [...left, ...(await undoEach(stage, back, undoCommand))],
    goesOn: forward.length > 0,
    unknown,
  }
}

/** One that can't be asked is what it was, as long as its promotion was not asked for. */
async function stateOf({ target }: Side): Promise<'standby' | 'promoted' | 'not known'> {
  try {
    return (await target.isPromoted()) ? 'promoted' : 'standby'
  } catch {
    return target.asked ? 'not known' : 'standby'
  }
}

function describePromoted({ move }: Side): string {
  return `${formatAddress(move.to.address)} is promoted: nothing was undone for group ${move.group}; run citus-ha reconcile to complete it`
}

export function describeUnknown({ move: { group, from, to } }: Pick<Side, 'move'>): string {
  const [was, is] = [from, to].map(({ address }) => formatAddress(address))
  return `group ${group}: it is not known whether ${is} is promoted; ${was} stays as it is, and the group takes no writes until then: run citus-ha reconcile, which completes it`
}

async function undoEach(
  stage: Undoable,
  sides: readonly Side[],
  undoCommand: string | null,
): Promise<string[]> {
  const undone = await Promise.allSettled(sides.map((side) => undo(stage, side, undoCommand)))
  const left = undone.flatMap((result, n) => {
    const node = sides[n]?.move.from.address ?? { host: '?', port: 0 }
    if (result.status === 'fulfilled') return []
    return [
      `${saidOf(node, messageOf(result.reason))}${result.reason instanceof Replaced ? '' : '; run citus-ha reconcile to undo it'}`,
    ]
  })
  const over = sides.filter((_, n) => undone[n]?.status === 'fulfilled').map(({ move }) => move.group)
  await stage.forget(over).catch((cause: unknown) => {
    left.push(`the record of it (citus_ha.intent) is still there: ${messageOf(cause)}`)
  })
  return left
}

async function undo(stage: Undoable, side: Side, undoCommand: string | null): Promise<void> {
  const { stopped, commanded } = stage
  // Before any command of his has run there is nothing for it to undo: it may start what others have replaced meanwhile.
  if (commanded) {
    // While it was down others may have put another in its place: asked before it is started, and before it takes writes.
    if (stopped) await requireUnreplaced(stage, side)
    if (stopped && undoCommand === null)
      throw new Error('it was stopped, and no --undo-command was given: start it again')
    if (undoCommand !== null) await runCommand(undoCommand, side.move, COMMAND_MS)
    if (stopped) {
      await side.reopen()
      await requireUnreplaced(stage, side)
    }
  }
  if (!stopped) await requireNobodyBeside(stage, side)
  await side.undo()
}

/** @throws Replaced */
async function requireNobodyBeside(stage: Undoable, { move }: Side): Promise<void> {
  const promoted = await stage.promotedBeside(move)
  if (promoted === null) return
  const [at, other] = [move.from.address, promoted].map(formatAddress)
  throw new Replaced(
    `${inPlace(promoted, move)}; nothing was undone, and ${at} stays read-only. You must decide which of the two is the primary. If it is ${other}: citus-ha reconcile --promoted ${other}. If it is ${at}: stop ${other}; then run on ${at}: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); citus-ha doctor shows what else is left`,
  )
}

/** @throws Replaced */
async function requireUnreplaced(stage: Undoable, { move }: Side): Promise<void> {
  const why = await stage.whyNotOpened(move)
  if (why === null) return
  const at = formatAddress(move.from.address)
  throw new Replaced(
    `${why}; nothing was undone, so that ${at} takes no writes beside it: find the primary of group ${move.group} (citus-ha status). If it is still ${at}, start it and run citus-ha reconcile, which makes it writable`,
  )
}
