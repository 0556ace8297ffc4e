import { formatAddress } from '../model/node.ts'
import type { Observation, Survey, Testimony } from '../model/observation.ts'
import { type Silence, silenceIn } from '../observe/silence.ts'
import type { Confirmation } from './belief.ts'
import type { PulseState } from './state.ts'

interface Sight {
  readonly node: Observation
  /** In how many surveys in a row, an interval apart, it was waited for in vain. */
  readonly times: number
  /** `performance.now()` */
  readonly at: number
}

/**
 * Who is known to hang: a promotion elsewhere does not wait for them once more. An absence that is believed after a number of
 * surveys is known after as many, so that none of them is counted twice.
 */
export class Silences {
  readonly #confirm: Confirmation
  #sights: ReadonlyMap<string, Sight> = new Map()
  #testimony: readonly Testimony[] = []
  #isUrgent = false
  #hurry: () => void = () => undefined

  constructor(confirm: Confirmation) {
    this.#confirm = confirm
  }

  /** Somebody was silent who is not known to be yet: the sooner he is, the fewer promotions wait for him. */
  get isUnsettled(): boolean {
    return [...this.#sights.values()].some(({ times }) => times < this.#confirm.surveys)
  }

  /** A promotion was noticed: the survey that is under way, and the next one, do without them. */
  hurry(): void {
    this.#isUrgent = true
    this.#hurry()
  }

  /** What the next survey is told. Somebody whose pulse beats is not silent. */
  next(pulses: readonly PulseState[]): Silence {
    const beats = new Set(
      pulses.filter(({ state }) => state !== 'down').map(({ address }) => formatAddress(address)),
    )
    const known = [...this.#sights].filter(
      ([key, { times }]) => times >= this.#confirm.surveys && !beats.has(key),
    )
    const hurry = this.#isUrgent
      ? Promise.resolve()
      : new Promise<void>((resolve) => {
          this.#hurry = resolve
        })
    this.#isUrgent = false
    return { nodes: known.map(([, { node }]) => node), testimony: this.#testimony, hurry }
  }

  /** @param at when the survey began, `performance.now()` */
  see(survey: Survey, at: number): void {
    const { nodes, testimony } = silenceIn(survey, Promise.resolve())
    this.#testimony = testimony
    this.#sights = new Map(
      nodes.map((node) => {
        const key = formatAddress(node.address)
        return [key, this.#again(this.#sights.get(key), node, at)]
      }),
    )
  }

  #again(known: Sight | undefined, node: Observation, at: number): Sight {
    if (!known) return { node, times: 1, at }
    // The very same was not waited for again.
    if (known.node === node || at - known.at < this.#confirm.apartMs) return known
    return { node, times: known.times + 1, at }
  }
}
