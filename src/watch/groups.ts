import type { Diagnosis } from '../model/diagnosis.ts'
import type { Plan } from '../model/plan.ts'
import type { Attempt } from './attempt.ts'
import {
  afterFailure,
  afterSuccess,
  type Belief,
  believe,
  believedDown,
  type Confirmation,
  isUnsettled,
  withFreshHope,
} from './belief.ts'
import { type Circumstances, type Intent, intentOf } from './intent.ts'

/** How long housekeeping that failed is left alone, in milliseconds: nobody waits for it. */
const HOUSEKEEPING_REST_MS = 10_000

/** What is believed of all groups, and how the tries to change them went. Times are `performance.now()`. */
export class Groups {
  readonly #confirm: Confirmation
  readonly #cooldownMs: number
  #beliefs: Belief[] = []
  #housekeeping = { failures: 0, restUntil: 0 }

  constructor(confirm: Confirmation, cooldownMs: number) {
    this.#confirm = confirm
    this.#cooldownMs = cooldownMs
  }

  get beliefs(): readonly Belief[] {
    return this.#beliefs
  }

  /** An absence that is not believed yet. */
  get isUnsettled(): boolean {
    return isUnsettled(this.#beliefs)
  }

  /** Secondaries, by nodeid, that are believed to be down. */
  get down(): readonly number[] {
    return believedDown(this.#beliefs)
  }

  /** A group for which nothing may be done, and a person should know. */
  get isAiling(): boolean {
    return this.#beliefs.some(
      ({ diagnosis }) =>
        diagnosis?.standing === 'refused' ||
        diagnosis?.code === 'secondary-down' ||
        diagnosis?.code === 'old-primary-writes' ||
        diagnosis?.code === 'read-only',
    )
  }

  see(diagnoses: readonly Diagnosis[], at: number): void {
    this.#beliefs = believe(this.#beliefs, diagnoses, this.#confirm, at)
  }

  /** A promotion was noticed: what failed before is tried again at once. */
  hope(): void {
    this.#beliefs = withFreshHope(this.#beliefs)
  }

  intend(plan: Plan, given: Omit<Circumstances, 'housekeepingRestUntil'>): Intent {
    return intentOf(plan, this.#beliefs, { ...given, housekeepingRestUntil: this.#housekeeping.restUntil })
  }

  /** When the row of tries that failed began, `now` if there is none: patience with what is in the way counts from it. */
  tryingSince(groups: readonly number[], now: number): number {
    const tried = this.#beliefs.filter((belief) => groups.includes(belief.group))
    return Math.min(now, ...tried.map((belief) => belief.failingSince ?? now))
  }

  /** Takes in how a try went. @returns how many in a row have failed, and how many had before */
  tried(intent: Intent, { failed, changed }: Attempt, now: number): { failures: number; before: number } {
    const before = this.#failures(intent)
    const failures = failed ? before + 1 : 0
    if (intent.kind !== 'change') {
      this.#housekeeping = { failures, restUntil: failed ? now + HOUSEKEEPING_REST_MS : 0 }
    } else if (failed) this.#beliefs = afterFailure(this.#beliefs, intent.groups, now)
    else this.#beliefs = afterSuccess(this.#beliefs, changed, intent.groups, now + this.#cooldownMs)
    return { failures, before }
  }

  #failures({ kind, groups }: Intent): number {
    if (kind !== 'change') return this.#housekeeping.failures
    const tried = this.#beliefs.filter((belief) => groups.includes(belief.group))
    return Math.max(0, ...tried.map((belief) => belief.failures))
  }
}
