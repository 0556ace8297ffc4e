import { messageOf } from '../db/sqlstate.ts'
import { runCommand, Unended } from './command.ts'
import type { Side } from './side.ts'

/** How long a promotion that was asked for is waited for. */
export const PROMOTION_MS = 30_000

/** A promotion that was refused, or whose command failed: it does not come any more. */
export class NotAskedFor extends Error {
  override readonly name = 'NotAskedFor'
}

/**
 * Promotes the target and waits until it takes writes.
 * @param command null: `pg_promote()`
 * @throws NotAskedFor where it surely does not come; anything else where it may still
 */
export async function promoteOne({ target, move }: Side, command: string | null): Promise<void> {
  if (command === null) {
    await target.askForPromotion().catch((error: unknown) => {
      throw new NotAskedFor(messageOf(error), { cause: error })
    })
  } else {
    target.commanded()
    await runCommand(command, move, PROMOTION_MS).catch(async (error: unknown) => {
      if (await target.isPromoted()) return
      throw error instanceof Unended ? error : new NotAskedFor(messageOf(error), { cause: error })
    })
  }
  await target.promoted(command === null ? 'pg_promote' : 'command', performance.now() + PROMOTION_MS)
}
