import type { Report } from '../../model/outcome.ts'
import type { EachDatabase } from '../../walk/each-database.ts'
import type { ChangeIn } from '../../walk/history.ts'
import type { Order } from '../../walk/order.ts'
import type { PausedIn, PauseOrder } from '../../walk/pause.ts'
import type { Asked } from '../../watch/orders.ts'

/** Which group's writes are to stand still, and for how long at most. */
export interface FenceOrder {
  /** null: of the only database that is watched. */
  readonly database: string | null
  readonly group: number
  readonly ttlMs: number
}

export type ReleaseOrder = Omit<FenceOrder, 'ttlMs'>

/**
 * What can be asked of a watcher over HTTP.
 * Each throws CitusHaError where the order can't be carried out, and an AbortError where the watch ends meanwhile.
 */
export interface ControlActions {
  reconcile(order: Order, asked: Asked): Promise<EachDatabase<Report>>
  pause(order: PauseOrder, asked: Asked): Promise<readonly PausedIn[]>
  history(limit: number, asked: Asked): Promise<readonly ChangeIn[]>
  /** null where this watcher holds no fences. */
  readonly fence: ((order: FenceOrder, asked: Asked) => Promise<object>) | null
  readonly release: ((order: ReleaseOrder, asked: Asked) => Promise<object>) | null
}
