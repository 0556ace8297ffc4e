import type { SessionLike } from '../db/pg.ts'
import type { Fence } from './fence.ts'
import type { ChangeHooks } from './hooks.ts'
import type { LockWaits } from './within-round.ts'

/** What the steps of one change share. */
export interface ChangeContext extends LockWaits {
  readonly hooks: ChangeHooks
  /** gids that may be prepared somewhere by now and are not resolved, for whoever ends the process in the middle. */
  readonly inFlight: Set<string>
  /** The fence inside which the change happens; null: it takes its locks itself. */
  readonly fence: Fence | null
  /** A new session to the coordinator, to look a decision up or to end a wait. */
  readonly reconnect: () => Promise<SessionLike>
}
