import type { WalkRequest } from '../walk/walk-request.ts'
import type { SpareSessions } from '../watch/spares.ts'
import type { Checked } from './check.ts'

/** One database of the servers that change places. */
export interface Scope {
  readonly request: WalkRequest
  readonly access: SpareSessions
  readonly checked: Checked
}
