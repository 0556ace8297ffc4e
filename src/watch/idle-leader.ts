import { CitusHaError } from '../model/failure.ts'
import { type Pause, pausedBy } from '../model/pause.ts'
import type { Intent } from './intent.ts'

/** How many intervals something may stand undone before a follower complains of whoever leads. */
const INTERVALS = 30

/** A follower's eye on whoever leads: a lead that does nothing, while something has to be done, is a failure. */
export class IdleLeader {
  readonly #limitMs: number
  readonly #since = new Map<number, { readonly would: string; readonly at: number }>()

  /** @param cooldownMs for which a leader leaves a group alone that it has just changed */
  constructor(intervalMs: number, cooldownMs: number) {
    this.#limitMs = Math.max(INTERVALS * intervalMs, 2 * cooldownMs)
  }

  /**
   * To be told of each look.
   * @param now `performance.now()`
   * @param leader who leads, as far as that is known
   * @returns what is wrong; null where nothing is
   */
  see({ held }: Intent, pauses: readonly Pause[], now: number, leader: string | null): CitusHaError | null {
    const left = held.filter(({ group, why }) => why === 'following' && pausedBy(pauses, group) === null)
    for (const group of this.#since.keys())
      if (!left.some((each) => each.group === group)) this.#since.delete(group)
    for (const { group, would } of left) {
      const text = would.join('; ')
      if (this.#since.get(group)?.would !== text) this.#since.set(group, { would: text, at: now })
    }
    const overdue = [...this.#since].filter(([, { at }]) => now - at >= this.#limitMs)
    if (overdue.length === 0) return null
    const what = overdue.map(([group, { would }]) => `group ${group}: ${would}`).join('; ')
    const seconds = Math.round(this.#limitMs / 1000)
    return new CitusHaError(
      'blocked',
      `another instance leads${leader === null ? '' : ` (${leader})`} and has not acted for ${seconds} s, although a change is due (${what}): read its log; if it is stopped, this instance takes over`,
    )
  }
}
