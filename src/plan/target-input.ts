import type { Catalog } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { HostPort } from '../model/node.ts'
import type { Remedy, Testimony } from '../model/observation.ts'
import type { AliasOf } from './alias.ts'
import type { Conditions } from './conditions.ts'

/** What is to be done about nodes that are down (`routing` of the configuration). */
export interface Routing {
  /**
   * `auto`: the row is set inactive, and with no secondary left it carries another name of the primary; `deactivate`: only
   * the first; `leave`: neither.
   */
  readonly secondaryDown: 'auto' | 'deactivate' | 'leave'
  /** `secondary`: reads go to a secondary until something is promoted. */
  readonly primaryDown: 'leave' | 'secondary'
  /**
   * Whom it is done for: `assumed`, every cluster that has a registered secondary, since nobody sees a reader that has
   * citus.use_secondary_nodes among the options of its connection; `seen`, clusters of expand coordinators that answered.
   */
  readonly readers: 'assumed' | 'seen'
  /** Bytes of WAL that a secondary that is back may be behind. */
  readonly maxLag: number
}

/** What the target of a change is made from. */
export interface TargetInput {
  /** Where it is, and the database, for a command that somebody types. */
  readonly coordinator: HostPort
  readonly database: string
  /** The coordinator's copy as it is. */
  readonly catalog: Catalog
  readonly diagnoses: readonly Diagnosis[]
  readonly remedies: readonly Remedy[]
  /** Whether somebody reads, or is assumed to, through the secondaries of this `nodecluster`. */
  readonly isRead: (cluster: string) => boolean
  readonly aliases: readonly AliasOf[]
  /** What was seen of other names that a row may be given, among other things. */
  readonly heard: readonly Testimony[]
  readonly routing: Routing
  /** As in `PlanOptions`. */
  readonly following: readonly HostPort[]
  readonly conditions: Conditions
}
