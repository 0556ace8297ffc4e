import { setTimeout as pause } from 'node:timers/promises'
import { dataLossAt } from '../apply/old-primary.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import { NotOld, retireNow, runsOn } from '../walk/retire.ts'
import type { Move } from './check.ts'
import type { Scope } from './scope.ts'

/** A server that has crashed is back in less. */
const LIMIT_MS = 10_000
const PAUSE_MS = 100

/** What became of an old primary in one database. */
export interface Retirement {
  /** Why it is not known to be retired, a line each. */
  readonly failed: readonly string[]
  /** It does not run any more, or was promoted again since, and has not been retired. */
  readonly isGone: boolean
}

/**
 * Retires an old primary on a new session, in one database: the one that held its shards was lost, or could not do it. Tried for ten
 * seconds. Never throws.
 */
export async function retireAnew({ access, request }: Scope, { group, from, to }: Move): Promise<Retirement> {
  const until = performance.now() + LIMIT_MS
  for (;;) {
    try {
      return { failed: await retireNow(access, request, { group, node: from, primary: to }), isGone: false }
    } catch (error) {
      if (error instanceof NotOld) return { failed: [], isGone: true }
      if (!(await runsOn(access, request.database, from.address))) return { failed: [], isGone: true }
      if (performance.now() >= until)
        return { failed: [dataLossAt(formatAddress(from.address), messageOf(error))], isGone: false }
    }
    await pause(PAUSE_MS)
  }
}
