import { isLock, patienceWith, SqlState } from '../db/sqlstate.ts'
import type { Ailing } from '../model/ailing.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Plan } from '../model/plan.ts'

/** So many rounds a copy may be in the way by what passes as a rule: a lock that does not come, a copy that has changed. */
const ROUNDS = 3
/** So many where a lock there does not come, and a group can't be written until the change is made. */
const ROUNDS_IN_AN_OUTAGE = 1

/** What a round was like. */
export interface Round {
  readonly plan: Plan
  readonly ailing: readonly Ailing[]
  /** Whether somebody was seen in the way there, or could not be asked for: else a lock was late by itself. */
  readonly isInTheWay: (node: HostPort) => boolean
  /** There is no time for another one: what would be tried again is left out for it. */
  readonly isLast: boolean
  /** Whoever is in the way of a lock has still to be ended (`apply.force`). */
  readonly mayForce: boolean
}

/** Which copies failed their part in the rounds of one walk, and which of them the next round is made without. */
export class Ailments {
  readonly #rounds = new Map<string, number>()
  #out: readonly Ailing[]

  /** @param known left out from the start */
  constructor(known: readonly Ailing[]) {
    this.#out = known
  }

  get out(): readonly Ailing[] {
    return this.#out
  }

  /** Takes in what failed. @returns those that are left out from now on, and were not before */
  note({ plan, ailing, isInTheWay, isLast, mayForce }: Round): readonly Ailing[] {
    const dispensable = ailing.filter((each) => isDispensable(each, plan))
    for (const { node, code } of dispensable) {
      // A busy machine is late everywhere: that keeps nobody out.
      if (code !== SqlState.lockNotAvailable || isInTheWay(node))
        this.#rounds.set(formatAddress(node), this.#roundsOf(node) + 1)
    }
    const isOver = ({ node, code }: Ailing) => {
      const patience = patienceWith(code)
      if (patience === 'some rounds')
        return isLast || (this.#roundsOf(node) >= roundsFor(code, plan) && !mayForce)
      return patience === 'none'
    }
    const news = dispensable.filter(isOver)
    this.#out = [...this.#out, ...news]
    return news
  }

  #roundsOf(node: HostPort): number {
    return this.#rounds.get(formatAddress(node)) ?? 0
  }
}

/**
 * Whoever waits for a lock gains nothing by it where the old primary is gone: through that copy writes to its group fail either
 * way, and through all others as long as it is waited for. Where the old primary lives, they wait meanwhile, and would be
 * refused by it once the copy is left out.
 */
function roundsFor(code: string | null, { changes, oldPrimaries }: Plan): number {
  const isOutage = changes.some(
    ({ kind, group }) => kind === 'primary-moved' && !oldPrimaries.some((old) => old.group === group),
  )
  return isOutage && isLock(code) ? ROUNDS_IN_AN_OUTAGE : ROUNDS
}

/**
 * A change needs the coordinator, and of each group that was promoted the new primary; of several such groups each does
 * without the others. Everybody else can follow later.
 */
export function isDispensable({ node }: Ailing, { copies, changes }: Plan): boolean {
  const copy = copies.find((each) => sameAddress(each.node, node))
  if (!copy || copy.role === 'coordinator') return false
  if (copy.role !== 'promoted') return true
  const own = groupOf(node, copies)
  return changes.some(({ group, kind }) => kind === 'primary-moved' && group !== own)
}

/** Whose primary it is, once the plan is carried out. */
function groupOf(node: HostPort, [coordinator]: Plan['copies']): number | undefined {
  return coordinator?.after.find((row) => row.role === 'primary' && sameAddress(row.address, node))?.group
}

/** What an essential node is to a plan, for people. */
export function partOf({ node }: Ailing, { copies, oldPrimaries }: Plan): string {
  const old = oldPrimaries.find((each) => sameAddress(each.node, node))
  if (old) return `the old primary of group ${old.group}, which is running and has to be closed`
  const copy = copies.find((each) => sameAddress(each.node, node))
  if (copy?.role !== 'promoted') return copy ? `a ${copy.role}` : 'a node'
  return `the new primary of group ${groupOf(node, copies) ?? '?'}`
}
