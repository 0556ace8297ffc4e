import { messageOf } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import { runCommand } from './command.ts'
import type { Side } from './side.ts'
import type { Stage } from './stage.ts'

const COMMAND_MS = 60_000

/**
 * Old primaries as they were, and the record of it gone. Never throws.
 * @param undoCommand what only a command can undo; run for each
 * @returns what is left to be done, a line each
 */
export async function undoSides(
  stage: Stage,
  sides: readonly Side[],
  undoCommand: string | null,
): Promise<string[]> {
  // Whoever finds it half undone is to undo the rest, whatever had been written down before.
  if (stage.began !== null) await stage.intend('quiescing', sides).catch(() => undefined)
  const undone = await Promise.allSettled(sides.map((side) => undo(stage, side, undoCommand)))
  const left = undone.flatMap((result, n) => {
    const at = formatAddress(sides[n]?.move.from.address ?? { host: '?', port: 0 })
    return result.status === 'rejected' ? [`${at}: ${messageOf(result.reason)}; any later run undoes it`] : []
  })
  const over = sides.filter((_, n) => undone[n]?.status === 'fulfilled').map(({ move }) => move.group)
  await stage.forget(over).catch((cause: unknown) => {
    left.push(`the record of it (citus_ha.intent) is still there: ${messageOf(cause)}`)
  })
  return left
}

async function undo({ stopped }: Stage, side: Side, undoCommand: string | null): Promise<void> {
  if (stopped && undoCommand === null)
    throw new Error('it was stopped, and there is no --undo-command: start it again')
  if (undoCommand !== null) await runCommand(undoCommand, side.move, COMMAND_MS)
  if (stopped) await side.reopen()
  await side.undo()
}
