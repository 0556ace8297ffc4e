import { setTimeout as pause } from 'node:timers/promises'
import { dataLossAt } from '../apply/old-primary.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress } from '../model/node.ts'
import { retireNow, runsOn } from '../walk/retire.ts'
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

/** It is no old primary any more: it was made a standby, or promoted again. */
class Another extends Error {}

/**
 * Retires an old primary on a new session, in one database: the one that held its shards was lost, or could not do it. Tried for ten
 * seconds. Never throws.
 */
export async function retireAnew({ access, request }: Scope, { group, from, to }: Move): Promise<Retirement> {
  const until = performance.now() + LIMIT_MS
  const isStill = async () => {
    const now = await access.prober(request.database).probe(from.address)
    if (now.kind !== 'answered') throw new Error(`${formatAddress(from.address)} does not answer`)
    const isOld = now.systemIdentifier === from.systemIdentifier && now.timeline === from.timeline
    if (!isOld || now.inRecovery) throw new Another()
  }
  for (;;) {
    try {
      const old = { group, node: from, primary: to }
      return { failed: await retireNow(access, request, old, isStill), isGone: false }
    } catch (error) {
      if (error instanceof Another) return { failed: [], isGone: true }
      if (!(await runsOn(access, request.database, from.address))) return { failed: [], isGone: true }
      if (performance.now() >= until)
        return { failed: [dataLossAt(formatAddress(from.address), messageOf(error))], isGone: false }
    }
    await pause(PAUSE_MS)
  }
}
