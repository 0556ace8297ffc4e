import type { Cluster } from './cluster.ts'
import type { Server } from './server.ts'

/** The servers that have a part in the story. */
export interface Cast {
  readonly coordinator: Server
  /** Worker 2: another metadata node. */
  readonly otherWorker: Server
  readonly otherHeir: Server
  /** The primary of worker 1. */
  readonly doomed: Server
  readonly heir: Server
  /** Whose pg_dist_node is looked at. */
  readonly copies: readonly Server[]
}

/** @throws Error where the cluster lacks one of them. */
export function castOf(cluster: Cluster): Cast {
  const [first, second] = cluster.workers
  const [heir, otherHeir] = [first?.standbys[0], second?.standbys[0]]
  if (!first || !second || !heir || !otherHeir)
    throw new Error('the demo needs two workers with a standby each')
  const { coordinator, coordinatorStandbys } = cluster
  const copies = [coordinator, ...coordinatorStandbys, second.primary, heir]
  return { coordinator, otherWorker: second.primary, otherHeir, doomed: first.primary, heir, copies }
}

// One statement, so that it ends with the server when the demo is interrupted.
const PROMOTE = `do $$ begin
  perform pg_promote(wait => false);
  while pg_is_in_recovery() loop perform pg_sleep(0.002); end loop;
end $$`

/** Promotes a standby and returns as soon as it is out of recovery. */
export async function promote(standby: Server): Promise<void> {
  await standby.query(PROMOTE, [], { database: 'postgres' })
}
