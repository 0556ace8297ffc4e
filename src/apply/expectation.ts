import type { Catalog } from '../model/catalog.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'

/** A copy that has to become, or to be, `expected`. */
export interface Expectation {
  readonly node: HostPort
  readonly role: string
  readonly expected: Catalog
  /** nodeids of secondaries that have to be read before others. */
  readonly firsts: readonly number[]
  readonly seen: Observation | undefined
  /** What is known against it from the start: the reason for which it took no part. */
  readonly reservation: string | null
  /** It failed its part of the change, or can't be written: that Citus's own sync fares better is not waited for. */
  readonly isAiling: boolean
  /** That was somebody's lock: Citus's own sync waits for it as well, and has the copy right when it is gone. */
  readonly isLocked: boolean
  /** Of a standby: whom it has to stream from. */
  readonly upstream: Answered | null
  /** False for a standby of which the survey showed that it does not stream from there. */
  readonly follows: boolean
}
