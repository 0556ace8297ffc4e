import type { Target } from '../db/target.ts'
import type { HostPort } from '../model/node.ts'
import type { Prober } from '../observe/survey.ts'

/** How a walk reaches the cluster. */
export interface Access {
  /** Probes for one database; the same object for the same name. */
  prober(database: string): Prober
  /** How to open a session of its own to a node. */
  connect(address: HostPort, database: string): Promise<Target>
  /** The migration of the schema `citus_ha` that this program brings. */
  readonly migration: number
  /** Closes every connection; never throws. */
  close(): Promise<void>
}
