import { formatAddress } from '../model/node.ts'
import type { Observation, Survey, Testimony } from '../model/observation.ts'
import type { Silence } from '../observe/silence.ts'
import type { PulseState } from './state.ts'

/**
 * Who is known to hang: a promotion elsewhere does not wait for them once more. Their pulses know it, which go on trying, also
 * where no survey is due.
 */
export class Silences {
  readonly #tries: number
  #testimony: readonly Testimony[] = []
  #isUrgent = false
  #hurry: () => void = () => undefined
  #told: readonly string[] = []

  /** @param tries so many in a row have to have had no answer */
  constructor(tries: number) {
    this.#tries = tries
  }

  /** A promotion was noticed: the survey that is under way, and the next one, do without them. */
  hurry(): void {
    this.#isUrgent = true
    this.#hurry()
  }

  /** What the next survey is told. */
  next(pulses: readonly PulseState[]): Silence {
    const hurry = this.#isUrgent
      ? Promise.resolve()
      : new Promise<void>((resolve) => {
          this.#hurry = resolve
        })
    this.#isUrgent = false
    return { nodes: this.#known(pulses), testimony: this.#testimony, hurry }
  }

  /** What was said of them by others is kept for the next survey. */
  see({ testimony }: Survey): void {
    this.#testimony = testimony
  }

  /** Who is known to hang since this was asked last, a line each. */
  news(pulses: readonly PulseState[]): string[] {
    const known = this.#known(pulses).map(({ address }) => formatAddress(address))
    const news = known.filter((at) => !this.#told.includes(at))
    this.#told = known
    return news.map((at) => `${at} does not answer: changes no longer wait for it`)
  }

  #known(pulses: readonly PulseState[]): Observation[] {
    return pulses.flatMap(({ address, state, silence }): Observation[] => {
      if (state !== 'down' || silence === null || silence.tries < this.#tries) return []
      return [{ kind: 'unreachable', address, cause: 'timeout', detail: silence.detail }]
    })
  }
}
