import type { Blocker } from '../model/blocker.ts'
import { type Client, clientOf } from './stuck.ts'

/** Something did not come in time, before the promotion. */
export class TooLate extends Error {
  override readonly name = 'TooLate'
  readonly blockers: readonly Blocker[]

  constructor(message: string, blockers: readonly Blocker[] = []) {
    super(message)
    this.blockers = blockers
  }
}

/** What was checked is not so any more: another change was quicker. Nothing was touched since. */
export class Overtaken extends Error {
  override readonly name = 'Overtaken'
}

/** Nothing comes of this round, and another one may: those who would have to be waited for wait for us, or its survey is too old. */
export class GaveWay extends TooLate {}

/** How long is waited for others, and what is done when it is long. */
export interface Patience {
  /** `performance.now()`. */
  readonly until: number
  /** As that: when they are ended; null: never. */
  readonly forceAt: number | null
  /** Whose clients wait for the fence. */
  readonly waiting: () => Promise<ReadonlySet<Client>>
}

/** @throws GaveWay */
export function giveWayTo(open: readonly Blocker[], waiting: ReadonlySet<Client>): void {
  const stuck = open.filter((each) => waiting.has(clientOf(each) ?? ''))
  if (stuck.length > 0)
    throw new GaveWay('transactions that have read the group wait for the fence to write', stuck)
}
