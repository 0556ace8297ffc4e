import type { SessionLike } from '../db/pg.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import type { HostPort } from '../model/node.ts'
import type { Prober } from '../observe/prober.ts'

/** How a walk reaches the cluster. */
export interface Access {
  /** Probes for one database; the same object for the same name. */
  prober(database: string): Prober
  /** Who keeps a session of ours from its lock, asked on another connection; or ends them, and says whom. */
  blockers(node: HostPort, database: string, pid: number, what: 'ask' | 'end'): Promise<Blocker[]>
  /** Opens a session of its own to a node. @throws what the driver or the server says */
  open(address: HostPort, database: string): Promise<SessionLike>
  /** Whether texts of clients are taken over: for whoever reads blockers on a session that was opened here. */
  readonly clientTexts: ClientTexts
  /** The migration of the schema `citus_ha` that this program brings. */
  readonly migration: number
  /** Closes every connection; never throws. */
  close(): Promise<void>
}
