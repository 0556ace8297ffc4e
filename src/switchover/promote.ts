import { SessionLost } from '../db/pg.ts'
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
export async function promoteOne(side: Side, command: string | null): Promise<void> {
  if (command === null) {
    await side.askForPromotion().catch((error: unknown) => {
      throw error instanceof SessionLost ? error : new NotAskedFor(messageOf(error), { cause: error })
    })
  } else {
    await runCommand(command, side.move, PROMOTION_MS).catch(async (error: unknown) => {
      if (await side.isPromoted()) return
      throw error instanceof Unended ? error : new NotAskedFor(messageOf(error), { cause: error })
    })
  }
  await side.promoted(performance.now() + PROMOTION_MS)
}
