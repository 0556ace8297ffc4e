import type { FenceReport, ReleaseReport } from '../../model/fence.ts'
import type { Report } from '../../model/outcome.ts'
import type { EachDatabase } from '../../walk/each-database.ts'
import type { ChangeIn } from '../../walk/history.ts'
import type { Order } from '../../walk/order.ts'
import type { PausedIn, PauseOrder } from '../../walk/pause.ts'
import type { Asked } from '../../watch/orders.ts'
import type { FenceOrder } from '../../watch/service.ts'

/**
 * What can be asked of a watcher over HTTP.
 * Each throws CitusHaError where the order can't be carried out, and an AbortError where the watch ends meanwhile.
 */
export interface ControlActions {
  reconcile(order: Order, asked: Asked): Promise<EachDatabase<Report>>
  pause(order: PauseOrder, asked: Asked): Promise<readonly PausedIn[]>
  history(limit: number, asked: Asked): Promise<readonly ChangeIn[]>
  fence(order: FenceOrder): Promise<readonly FenceReport[]>
  release(order: Omit<FenceOrder, 'ttlMs'>): Promise<readonly ReleaseReport[]>
}
