import type { Diagnosis } from './diagnosis.ts'
import { formatAddress } from './node.ts'
import type { Answered, Survey } from './observation.ts'

/**
 * What a switchover sets on the old primary, by ALTER SYSTEM, before anything is promoted. All take effect at a reload.
 * Citus's 2PC recovery there would roll back what the new primary prepares on others; an old coordinator also drops shards
 * and runs background jobs by what it knew.
 */
export const HELD_SETTINGS = [
  { name: 'default_transaction_read_only', value: 'on', of: 'every group' },
  { name: 'citus.recover_2pc_interval', value: '-1', of: 'every group' },
  { name: 'citus.defer_shard_delete_interval', value: '-1', of: 'the coordinator' },
  { name: 'citus.background_task_queue_interval', value: '-1', of: 'the coordinator' },
] as const

/** A retired server's own group id, less its group: none is that high (`citus_ha.retire`). */
const RETIRED_GROUPS = 1_000_000_000

/** What `pg_dist_local_group` says. */
export function readLocalGroup(groupid: number): { readonly group: number; readonly retired: boolean } {
  return { group: groupid % RETIRED_GROUPS, retired: groupid >= RETIRED_GROUPS }
}

/** An old primary that a switchover left running, read-only, and the primary that has taken its place. */
export interface Retired {
  readonly group: number
  readonly node: Answered
  readonly primary: Answered
}

export function retiredIn(survey: Survey, diagnoses: readonly Diagnosis[]): Retired[] {
  return diagnoses.flatMap(({ group, primary }) => {
    if (!primary) return []
    const old = survey.nodes
      .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
      .filter((node) => node.readOnly || node.retired)
      .filter(
        (node) => node.citus?.localGroup === group && node.systemIdentifier === primary.systemIdentifier,
      )
      .filter((node) => node.instance !== primary.instance)
    const distinct = old.filter(
      (node, n) => old.findIndex(({ instance }) => instance === node.instance) === n,
    )
    return distinct.map((node) => ({ group, node, primary }))
  })
}

/** What makes a standby of it, run where it lives. */
export function rejoinCommand({ primary }: Retired, database: string): string {
  const { host, port } = primary.address
  return `pg_ctl stop -m fast -D DATA_DIRECTORY && pg_rewind -D DATA_DIRECTORY -R --source-server="host=${host} port=${port} dbname=${database}" && pg_ctl start -D DATA_DIRECTORY`
}

export function describeRetired(retired: Retired, database: string): string {
  const { group, node } = retired
  return `group ${group}: ${formatAddress(node.address)}, an old primary, runs on read-only: ${rejoinCommand(retired, database)}   # or rebuild it by pg_basebackup`
}
