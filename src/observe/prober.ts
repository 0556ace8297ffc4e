import type { Catalog } from '../model/catalog.ts'
import type { HostPort } from '../model/node.ts'
import type { Observation, Testimony } from '../model/observation.ts'
import type { ReceiverHistory } from './receiver-history.ts'

/** How the survey reaches nodes. One implementation speaks PostgreSQL; it never throws for a node's sake. */
export interface Prober {
  probe(address: HostPort): Promise<Observation>
  /** Asks `witness` through Citus whether it reaches `about`; `control` is a node that is known to live. */
  ask(witness: HostPort, about: HostPort, control: HostPort): Promise<Testimony>
  /** The rows of its copy, and nothing else; or what it is, where it does not give them. */
  rows?(address: HostPort): Promise<Catalog | Observation>
  /** Takes in who was silent for a whole limit just now: the next question of that node need not wait as long again. */
  spare?(silent: Observation): void
  /** What earlier surveys saw of WAL receivers; none where it is the only one. */
  readonly receivers?: ReceiverHistory
  /** Why a standby holds back what it has received, for people; null: it does not, or can't be asked. */
  held(address: HostPort): Promise<string | null>
}
