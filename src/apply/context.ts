import type { SessionLike } from '../db/pg.ts'
import type { Watch } from './blockers.ts'
import type { Fence } from './fence.ts'
import type { ChangeLimits } from './participants.ts'

/** Told while a change runs. The tests end the process, or a server, at these points. */
export interface ChangeHooks {
  /** Points in order: `opened`, `locked`, `prepared:<n>`, `all-prepared`, `decided`, `committed:<n>`. */
  reached(point: string): Promise<void>
}

export const NO_HOOKS: ChangeHooks = { reached: async () => undefined }

/** What the steps of one change share. */
export interface ChangeContext {
  readonly limits: ChangeLimits
  readonly hooks: ChangeHooks
  readonly watch: Watch
  /** gids that may be prepared somewhere by now and are not resolved, for whoever ends the process in the middle. */
  readonly inFlight: Set<string>
  /** The fence inside which the change happens; null: it takes its locks itself. */
  readonly fence: Fence | null
  /** A new session to the coordinator, to look a decision up or to end a wait. */
  readonly reconnect: () => Promise<SessionLike>
}
